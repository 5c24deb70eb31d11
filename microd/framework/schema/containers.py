"""Converting the items of lists and the entries of maps, so that a fault in one says which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from microd.framework.schema.faults import located, wants

Convert = Callable[[Any], Any]


def items(convert: Convert, exact: type | None) -> Callable[[Iterable[Any]], list[Any]]:
    """A function which converts each item; those whose type is C{exact} stay as they are."""

    def converted(values: Iterable[Any]) -> list[Any]:
        return [
            value if type(value) is exact else located(f"[{place}]", convert, value)
            for place, value in enumerate(values)
        ]

    return converted


def entries(
    convert_key: Convert, convert: Convert, exact: type | None
) -> Callable[[Mapping[Any, Any]], dict[Any, Any]]:
    """A function which converts each key, and each value unless its type is C{exact}."""

    def converted(values: Mapping[Any, Any]) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for name, value in values.items():
            place = f'["{name}"]'
            key = located(place, convert_key, name)
            made[key] = value if type(value) is exact else located(place, convert, value)
        return made

    return converted


def any_list(values: object) -> None:
    """Let what an author may put in a list field pass: anything with items, but no text and no map."""
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        raise wants("a list", values)


def any_map(values: object) -> None:
    """Let what an author may put in a map field pass."""
    if not isinstance(values, Mapping):
        raise wants("a dict", values)


def json_list(values: object) -> None:
    """Let a list from JSON pass."""
    if type(values) is not list:
        raise wants("a list", values)


def json_map(values: object) -> None:
    """Let an object from JSON pass."""
    if type(values) is not dict:
        raise wants("an object", values)


def after(check: Callable[[object], None], convert: Convert) -> Convert:
    """Check, and then convert."""

    def checked(values: Any) -> Any:
        check(values)
        return convert(values)

    return checked
