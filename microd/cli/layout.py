"""How answers are laid out: JSON with tabs, columns, ages. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def indented(text: str) -> str:
    """Lay out a JSON text with a tab for each level; numbers and strings stay as they were written."""
    made: list[str] = []
    depth = 0
    tokens = _TOKEN.findall(text)
    for place, token in enumerate(tokens):
        following = tokens[place + 1] if place + 1 < len(tokens) else ""
        if token in "{[":
            depth += 1
            made.append(token if following in ("}", "]") else token + _line(depth))
        elif token in "}]":
            depth -= 1
            empty = place > 0 and tokens[place - 1] in ("{", "[")
            made.append(token if empty else _line(depth) + token)
        elif token == ",":
            made.append("," + _line(depth))
        else:
            made.append(": " if token == ":" else token)
    return "".join(made)


def _line(depth: int) -> str:
    return "\n" + "\t" * depth


def tabbed(rows: Sequence[Sequence[str]]) -> str:
    """Columns joined by tabs, each as wide as its widest cell needs, at stops of eight (spec micro-v3-cli 1.4)."""
    widths = [(max(map(len, column)) // 8 + 1) * 8 for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join(
            cell + "\t" * (-(-(width - len(cell)) // 8))
            for cell, width in zip(row[:-1], widths, strict=False)
        )
        + row[-1]
        for row in rows
    )


def spaced(rows: Sequence[Sequence[str]], gap: int = 3) -> str:
    """Columns joined by spaces."""
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    return "\n".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)) + row[-1]
        for row in rows
    )


def bordered(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in a frame: titles in the middle of their columns, cells to the left (spec micro-v3-cli 1.5)."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    line = "+".join(("", *("-" * (width + 2) for width in widths), ""))

    def row(cells: Sequence[str], align: str) -> str:
        return "".join(f"| {cell:{align}{width}} " for cell, width in zip(cells, widths, strict=True)) + "|"

    return "\n".join([line, row(head, "^"), line, *(row(cells, "<") for cells in rows), line])


def age(seconds: float) -> str:
    """C{1h15m32s}; a larger unit forces the smaller ones to show."""
    rest = max(0, int(seconds))
    made = ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if made or rest >= length:
            made += f"{rest // length}{unit}"
            rest %= length
    return f"{made}{rest}s"
