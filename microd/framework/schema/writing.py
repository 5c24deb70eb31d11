"""Writing Python functions as text, and making them real.

The conversions of a class are straight-line code with each field's name spelled out, which is several times faster than a
loop over the fields; the text is kept, so that a traceback shows it.
"""

from __future__ import annotations

import itertools
import keyword
import linecache
from collections.abc import Callable
from typing import Any

_count = itertools.count()


class Functions:
    """Functions which are written line by line and then compiled together.

    @ivar scope: what they see, and where they are once compiled.
    """

    def __init__(self, title: str) -> None:
        self._name = f"<microd {title} {next(_count)}>"
        self._lines: list[str] = []
        self.scope: dict[str, Any] = {}
        self._bound: dict[int, str] = {}

    def bind(self, value: object, hint: str) -> str:
        """Make a value known to the functions; returns the name it has there."""
        known = self._bound.get(id(value))
        if known is None:
            known = self._bound[id(value)] = f"{hint}_{len(self._bound)}"
            self.scope[known] = value
        return known

    def add(self, *lines: str) -> None:
        """Write some lines."""
        self._lines.extend(lines)

    def compiled(self, name: str) -> Callable[[Any], Any]:
        """Compile all of them, and give the one called C{name}."""
        text = "\n".join(self._lines) + "\n"
        linecache.cache[self._name] = (len(text), None, text.splitlines(keepends=True), self._name)
        exec(compile(text, self._name, "exec"), self.scope)  # our own text, made of identifiers only
        made: Callable[[Any], Any] = self.scope[name]
        return made


def attribute(owner: str, name: str) -> str:
    """The expression that reads an attribute, which may be called as a keyword is."""
    return f"getattr({owner}, {name!r})" if keyword.iskeyword(name) else f"{owner}.{name}"


def arguments(pairs: list[tuple[str, str]]) -> str:
    """A call's keyword arguments, where a keyword may be called as a Python keyword is."""
    plain = [f"{name}={value}" for name, value in pairs if not keyword.iskeyword(name)]
    odd = [f"{name!r}: {value}" for name, value in pairs if keyword.iskeyword(name)]
    return ", ".join([*plain, *(["**{" + ", ".join(odd) + "}"] if odd else [])])


def construction(kind: str, values: list[tuple[str, str, bool]]) -> str:
    """A call of a class with (attribute, value, by keyword only) triples."""
    placed = [value for _, value, by_keyword in values if not by_keyword]
    named = [f"{name}={value}" for name, value, by_keyword in values if by_keyword]
    return f"{kind}({', '.join([*placed, *named])})"
