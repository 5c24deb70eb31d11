"""What is asked of a field: a value, or one of the ranges here::

await users.list(age=at_least(18))
await users.list(team="red", created=between(monday, friday))
await users.list(name=starting("Ad"))
"""

from __future__ import annotations

from dataclasses import dataclass

from microd.framework.model.ordered import VALUE, Encode, component
from microd.framework.schema.faults import FieldError


@dataclass(frozen=True, slots=True)
class Range:
    """The values from C{low} to C{high}; C{None} is in no range.

    @ivar low: the least; C{None}: there is none.
    @ivar with_low: whether C{low} itself is in it; C{with_high} likewise.
    @ivar start: instead of the others, how a string begins.
    """

    low: object = None
    high: object = None
    with_low: bool = True
    with_high: bool = True
    start: str | None = None


def at_least(value: object) -> Range:
    """C{value} and everything above."""
    return Range(low=_present(value))


def above(value: object) -> Range:
    """Everything above C{value}."""
    return Range(low=_present(value), with_low=False)


def at_most(value: object) -> Range:
    """C{value} and everything below."""
    return Range(high=_present(value))


def below(value: object) -> Range:
    """Everything below C{value}."""
    return Range(high=_present(value), with_high=False)


def between(low: object, high: object) -> Range:
    """From C{low} to C{high}, both included."""
    return Range(_present(low), _present(high))


def starting(text: str) -> Range:
    """The strings that begin with C{text}."""
    if not isinstance(text, str):
        raise TypeError(f"a string begins with a string, not with {text!r}")
    return Range(start=text)


def _present(value: object) -> object:
    if value is None:
        raise TypeError("a range has a value for its end: leave the condition out, or ask for None itself")
    return value


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of components, as they are before they are cut.

    @ivar low: they are not below; C{with_low}: it may be this one. C{high} likewise; empty: there is none.
    @ivar start: how they begin.
    """

    low: str = ""
    high: str = ""
    with_low: bool = True
    with_high: bool = True
    start: str = ""

    def hold(self, found: str) -> bool:
        """Whether a component is within."""
        if not found.startswith(self.start):
            return False
        if self.low and (found < self.low or (found == self.low and not self.with_low)):
            return False
        return not self.high or found < self.high or (found == self.high and self.with_high)


#: Whatever there is.
ANYTHING = Bounds()


def bounds(form: str, encode: Encode, wanted: Range) -> Bounds:
    """A range of values as one of components.

    @param form: how values are written, as L{microd.framework.model.ordered.form} calls it.
    @raise FieldError: the range is not one of the field's type.
    """
    if wanted.start is not None:
        if form != "text":
            raise FieldError("is no string, so it begins with nothing")
        return Bounds(start=component(encode, wanted.start))
    low = VALUE if wanted.low is None else component(encode, wanted.low)
    high = "" if wanted.high is None else component(encode, wanted.high)
    return Bounds(low, high, wanted.with_low, wanted.with_high)
