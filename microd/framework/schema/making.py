"""Writing the functions that take a dataclass apart: what the way to protobuf and the way to JSON have in common.

For each class there is a C{make_N(value)}: it looks at each attribute, passes on what is of the exact type that the field
wants, and converts, checks or refuses anything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from microd.framework.schema.containers import after, any_list, any_map, entries, items
from microd.framework.schema.faults import an, located, wants
from microd.framework.schema.shapes import Keyed, Many, Model, Part, Record, Scalar, Shape, Single
from microd.framework.schema.writing import Functions, attribute


class Making(ABC):
    """Writes the functions of one model; how a value looks on the other side is up to the subclass."""

    def __init__(self, model: Model, title: str) -> None:
        self._model = model
        self.functions = Functions(title)
        self._located = self.functions.bind(located, "located")
        self._numbers = {kind: place for place, kind in enumerate(model.records)}

    @abstractmethod
    def convert(self, shape: Single) -> Callable[[Any], Any]:
        """What converts a value that is no message, and refuses what does not fit."""

    @abstractmethod
    def convert_key(self, shape: Scalar) -> Callable[[Any], Any]:
        """The same for the key of a map."""

    @abstractmethod
    def exact(self, shape: Single) -> type | None:
        """The type whose values need no conversion, in lists and maps."""

    @abstractmethod
    def unless(self, shape: Scalar, value: str) -> str:
        """The test, in Python, that a value needs conversion; empty: it always does."""

    @abstractmethod
    def result(self, kind: type, pairs: list[tuple[str, str]]) -> str:
        """The expression of the message, of names on the wire and their values."""

    def written(self) -> Callable[[Any], Any]:
        """Write and compile; the function of the model's own class."""
        for kind, parts in self._model.records.items():
            known = self.functions.bind(kind, "Class")
            refuse = self.functions.bind(_refusal(kind), "refuse")
            lines: list[str] = []
            for place, part in enumerate(parts):
                lines.append(f"    v{place} = {attribute('o', part.attribute)}")
                lines += self.lines(part, f"v{place}")
            self.functions.add(
                f"def make_{self._numbers[kind]}(o):",
                f"    if type(o) is not {known} and not isinstance(o, {known}):",
                f"        {refuse}(o)",
                *lines,
                f"    return {self.result(kind, [(part.name, f'v{at}') for at, part in enumerate(parts)])}",
            )
        return self.functions.compiled("make_0")

    def lines(self, part: Part, value: str) -> list[str]:
        """The lines that convert C{value} in place."""
        test = self.unless(part.shape, value) if isinstance(part.shape, Scalar) else ""
        if part.optional:
            test = f"{value} is not None and ({test})" if test else f"{value} is not None"
        line = self.conversion(part, value)
        return [f"    if {test}:", f"        {line}"] if test else [f"    {line}"]

    def conversion(self, part: Part, value: str) -> str:
        """The line that converts C{value}, whatever it is."""
        return f"{value} = {self._located}({part.attribute!r}, {self._converter(part.shape)}, {value})"

    def _converter(self, shape: Shape) -> str:
        """The name of what converts a shape."""
        match shape:
            case Record(kind):
                return f"make_{self._numbers[kind]}"
            case Many(item, _):
                many = items(self._convert(item), self.exact(item))
                return self.functions.bind(after(any_list, many), "many")
            case Keyed(key, item):
                keyed = entries(self.convert_key(key), self._convert(item), self.exact(item))
                return self.functions.bind(after(any_map, keyed), "keyed")
            case single:
                return self.functions.bind(self.convert(single), "convert")

    def _convert(self, shape: Single) -> Callable[[Any], Any]:
        """What converts a shape, as a function; a class's own is looked up once it is there."""
        if isinstance(shape, Record):
            scope, name = self.functions.scope, f"make_{self._numbers[shape.kind]}"
            return lambda value: scope[name](value)
        return self.convert(shape)


def _refusal(kind: type) -> Callable[[object], None]:
    def refuse(value: object) -> None:
        raise wants(an(kind.__name__), value)

    return refuse
