"""Whole numbers on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Whole = click.ParamType[int]
else:
    # Generic since click 8.2 only.
    _Whole = click.ParamType

#: The largest that travels.
_MOST = (1 << 63) - 1


class Count(_Whole):
    """A whole number within limits, which the error names; C{IntRange} shows them, even endless ones, in every help."""

    name = "number"

    def __init__(self, least: int = 0, most: int = _MOST) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it; a default is a number already."""
        try:
            found = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if found < self._least:
            self.fail(f"{found} is too small: it must be at least {self._least}", param, ctx)
        if found > self._most:
            self.fail(f"{found} is too large: it may be at most {self._most}", param, ctx)
        return found
