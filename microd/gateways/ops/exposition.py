"""Figures in the text format of Prometheus, version 0.0.4.

Written by ourselves: the format is a page long and does not change, while its client library takes a twentieth of a second to
import, and counts with locks what a reactor counts without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from microd.kernel.health import Figure, Spread

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_VALUE = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


def exposition(figures: Iterable[Figure]) -> bytes:
    """All figures; those of one name, whoever gave them, stand together as the format demands."""
    together: dict[str, Figure] = {}
    for figure in figures:
        known = together.get(figure.name)
        together[figure.name] = (
            figure if known is None else known._replace(samples=[*known.samples, *figure.samples])
        )
    lines = [line for figure in together.values() for line in _lines(figure)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _lines(figure: Figure) -> Iterator[str]:
    name = figure.name
    yield f"# HELP {name} {figure.help.translate(_HELP)}"
    yield f"# TYPE {name} {figure.kind}"
    for labels, value in figure.samples:
        if isinstance(value, Spread):
            yield from _spread(name, labels, value)
        else:
            yield f"{name}{_labels(labels)} {_number(value)}"


def _spread(name: str, labels: Mapping[str, str], spread: Spread) -> Iterator[str]:
    so_far = 0
    for bound, count in zip((*spread.bounds, float("inf")), spread.counts, strict=True):
        so_far += count
        yield f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {so_far}"
    yield f"{name}_sum{_labels(labels)} {_number(spread.total)}"
    yield f"{name}_count{_labels(labels)} {so_far}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_VALUE)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
