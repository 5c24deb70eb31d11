"""What is wrong with a value, and where in the message it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Undecodable(ValueError):
    """The bytes are not a message at all."""


class FieldError(ValueError):
    """One field's value does not fit; the text names the field by its path, such as C{address.zip} or C{items[2].name}.

    @ivar path: from the message down; a list's place is C{[2]}, a map's key C{["a"]}.
    """

    def __init__(self, problem: str, *path: str) -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def within(self, name: str) -> FieldError:
        """The same, seen from one level up."""
        return FieldError(self.problem, name, *self.path)

    def __str__(self) -> str:
        if not self.path:
            return f"the message {self.problem}"
        return f'field "{_joined(self.path)}" {self.problem}'


def wants(expected: str, value: object) -> FieldError:
    """The fault of a value of the wrong type."""
    return FieldError(f"wants {expected}, got {described(value)}")


def described(value: object) -> str:
    """What a value is, in the words of JSON where it has them."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a number"
        case dict():
            return "an object"
        case list():
            return "a list"
    return an(type(value).__name__)


def an(name: str) -> str:
    """A class's name with its article."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _joined(path: tuple[str, ...]) -> str:
    return "".join(part if part[:1] == "[" else f".{part}" for part in path).removeprefix(".")


def located(name: str, convert: Callable[[Any], Any], value: object) -> Any:
    """Convert the value of the field C{.name}, so that a fault in it says where it was."""
    try:
        return convert(value)
    except FieldError as fault:
        raise fault.within(name) from None
