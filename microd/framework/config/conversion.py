"""From a value of configuration to the type that the author wants. Pure.

Text becomes what is wanted where it can be read as that, since environments know nothing else, and people quote numbers.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path as FilePath
from typing import Any, Literal, get_args, get_origin

from microd.framework.config.layers import Path, Text
from microd.framework.config.sources import ConfigError

_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf")
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SEQUENCES: dict[Any, Callable[[Any], Any]] = {
    list: list,
    Sequence: list,
    MutableSequence: list,
    set: set,
    frozenset: frozenset,
}
_MAPPINGS = (dict, Mapping, MutableMapping)


class Unfit(Exception):
    """A value is not of the type.

    @ivar path: where, under what was converted.
    """

    def __init__(self, problem: str, *path: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path


def kind_of(default: Any) -> Any:
    """The type which a default stands for; None: any."""
    return None if default is None else type(default)


def converted(path: str, value: Any, kind: Any) -> Any:
    """The value at a path, as C{kind}.

    @param kind: C{str}, C{int}, C{float}, C{bool}, C{timedelta}, C{Decimal}, C{Path}, an enum, a literal, a list or a dict of
        such, a dataclass of them, or a union; None: whatever it is.
    @raise ConfigError: it is something else; the text says where.
    """
    try:
        return _convert(value, kind)
    except Unfit as unfit:
        where = ".".join((*([path] if path else []), *unfit.path)) or "the configuration"
        raise ConfigError(f"{where}: {unfit.problem}") from None


def known_paths(kind: Any, within: tuple[type, ...] = ()) -> Iterator[Path]:
    """Where a dataclass has fields, and those in it theirs.

    @param within: dataclasses on the way, which are not gone into again.
    """
    for member in get_args(kind) if _is_union(kind) else (kind,):
        if isinstance(member, type) and is_dataclass(member) and member not in within:
            for name, hint in _hints(member).items():
                yield (name,)
                yield from ((name, *inner) for inner in known_paths(hint, (*within, member)))


def _convert(value: Any, kind: Any) -> Any:
    if kind is None or kind is Any or kind is object:
        return _untyped(value)
    if _is_union(kind):
        return _one_of(value, get_args(kind))
    origin = get_origin(kind) or kind
    if origin is Literal:
        return _listed(value, {each: each for each in get_args(kind)})
    if origin in _SEQUENCES or origin is tuple:
        return _sequence(value, origin, get_args(kind))
    if origin in _MAPPINGS:
        return _mapping(value, get_args(kind))
    if origin in _SCALARS:
        return _SCALARS[origin](value)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _listed(
            value, {**{each.name: each for each in origin}, **{each.value: each for each in origin}}
        )
    if isinstance(origin, type) and is_dataclass(origin):
        return _instance(value, origin)
    raise TypeError(f"configuration has no values of the type {kind}")


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (typing.Union, types.UnionType)


def _untyped(value: Any) -> Any:
    if isinstance(value, Text):
        try:
            return json.loads(value)
        except ValueError:
            return str(value)
    if isinstance(value, dict):
        return {key: _untyped(inner) for key, inner in value.items()}
    return value


def _one_of(value: Any, kinds: Sequence[Any]) -> Any:
    if value is None and type(None) in kinds:
        return None
    problem = Unfit("it is nothing")
    for kind in kinds:
        if kind is not type(None):
            try:
                return _convert(value, kind)
            except Unfit as unfit:
                problem = unfit
    raise problem


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise _unfit(value, "text")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise _unfit(value, "a whole number")


def _float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    raise _unfit(value, "a number")


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in (*_YES, *_NO):
        return value.strip().lower() in _YES
    raise _unfit(value, "true or false")


def _decimal(value: Any) -> Decimal:
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return Decimal(str(value))
    except InvalidOperation:
        pass
    raise _unfit(value, "a number")


def _duration(value: Any) -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if isinstance(value, str):
        text = value.replace(" ", "")
        if _NUMBER.fullmatch(text):
            return timedelta(seconds=float(text))
        if text and not _DURATION.sub("", text):
            return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text)))
    raise _unfit(value, 'seconds, or a duration such as "1m30s"')


def _listed(value: Any, choices: Mapping[Any, Any]) -> Any:
    for choice, meant in choices.items():
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return meant
    for choice, meant in choices.items():
        if isinstance(value, Text) and value == str(choice):
            return meant
    raise _unfit(value, f"one of {', '.join(map(str, choices))}")


def _sequence(value: Any, origin: Any, inner: Sequence[Any]) -> Any:
    if isinstance(value, Text):
        value = _loaded(value) if value.lstrip().startswith("[") else _words(value)
    if not isinstance(value, list):
        raise _unfit(value, "a list")
    kinds: Sequence[Any] = [inner[0] if inner else None] * len(value)
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        if len(inner) != len(value):
            raise Unfit(f"there are {len(value)} values, where {len(inner)} are wanted")
        kinds = inner
    found = [
        _inside(str(place), each, kind) for place, (each, kind) in enumerate(zip(value, kinds, strict=True))
    ]
    return tuple(found) if origin is tuple else _SEQUENCES[origin](found)


def _words(text: str) -> list[Any]:
    return [Text(word.strip()) for word in text.split(",")] if text.strip() else []


def _mapping(value: Any, inner: Sequence[Any]) -> dict[Any, Any]:
    if isinstance(value, Text):
        value = _loaded(value)
    if not isinstance(value, dict):
        raise _unfit(value, "an object")
    if not inner:
        return dict(_untyped(value))
    keys, values = inner
    return {_inside(key, Text(key), keys): _inside(key, each, values) for key, each in value.items()}


def _instance(value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    if isinstance(value, Text):
        value = _loaded(value)
    if not isinstance(value, dict):
        raise _unfit(value, "an object")
    hints = _hints(kind)
    given = {}
    for each in fields(kind):
        if not each.init:
            continue
        if each.name in value:
            given[each.name] = _inside(each.name, value[each.name], hints[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise Unfit("it is missing", each.name)
    try:
        return kind(**given)
    except (ValueError, TypeError) as problem:
        raise Unfit(str(problem)) from problem


def _inside(key: str, value: Any, kind: Any) -> Any:
    try:
        return _convert(value, kind)
    except Unfit as unfit:
        raise Unfit(unfit.problem, key, *unfit.path) from None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind) if each.init}


def _unfit(value: Any, wanted: str) -> Unfit:
    """The value itself is not told: it may be a secret, and errors go into logs."""
    return Unfit(f"{wanted} is wanted, not {_NAMES.get(type(value), 'something else')}")


_NAMES = {
    Text: "this text",
    str: "this text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "nothing",
}
_SCALARS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _integer,
    float: _float,
    bool: _switch,
    Decimal: _decimal,
    timedelta: _duration,
    FilePath: lambda value: FilePath(_text(value)),
}
