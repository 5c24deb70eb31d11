"""A query or a form as JSON (spec 4.5): C{a.b=1}, C{a[b]=1}, C{a[]=1}.

What a value is, the endpoint's shape tells, where the registry has it: C{?name=007} stays a string for a string field.
Where nobody knows, a value is what it would be as JSON, else a string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from microd.kernel.errors import BadRequest
from microd.services.registry.model import Value

MOST_PARAMETERS = 1000
DEEPEST = 16

_KEY = re.compile(r"[^\[\].]+|\[[^\[\]]*\]|\.[^\[\].]+")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class _Leaf:
    """The values given under one name; C{several} once they were written as a list."""

    __slots__ = ("several", "values")

    def __init__(self) -> None:
        self.values: list[str] = []
        self.several = False


_Tree = dict[str, Any]


def pairs(query: bytes) -> list[tuple[str, str]]:
    """Names and values, decoded.

    @raise BadRequest: there are too many, or they are not UTF-8.
    """
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > MOST_PARAMETERS:
        raise BadRequest(f"there are more than {MOST_PARAMETERS} parameters")
    found = []
    for part in parts:
        name, _, value = part.partition(b"=")
        found.append((_text(name), _text(value)))
    return found


def fields(given: list[tuple[str, str]], shape: Value | None) -> dict[str, Any]:
    """The JSON object which names and values mean, for a message of this shape."""
    tree: _Tree = {}
    for name, value in given:
        _plant(tree, name, value)
    return {name: _grown(node, _inside(shape, name)) for name, node in tree.items()}


def merged(base: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _text(part: bytes) -> str:
    try:
        return unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise BadRequest("a parameter is not UTF-8") from None


def _plant(tree: _Tree, name: str, value: str) -> None:
    steps = _steps(name)
    several = steps[-1] == ""
    if several:
        steps.pop()
    if not steps or "" in steps or len(steps) > DEEPEST:
        raise BadRequest(f"{name}: no field has such a name")
    for step in steps[:-1]:
        tree = tree.setdefault(step, {})
        if not isinstance(tree, dict):
            raise BadRequest(f"{name}: {step} is given as a value as well")
    leaf = tree.setdefault(steps[-1], _Leaf())
    if not isinstance(leaf, _Leaf):
        raise BadRequest(f"{name}: {steps[-1]} is given as an object as well")
    leaf.values.append(value)
    leaf.several = leaf.several or several


def _steps(name: str) -> list[str]:
    found = _KEY.findall(name)
    if "".join(found) != name or name[:1] in (".", "["):
        raise BadRequest(f"{name}: no field has such a name")
    return [step[1:-1] if step[0] == "[" else step.lstrip(".") for step in found] or [""]


def _inside(shape: Value | None, name: str) -> Value | None:
    """The field of a shape, in either spelling."""
    if shape is None:
        return None
    if shape.type.startswith("map["):
        return Value(name, shape.type.partition("]")[2])
    plain = name.replace("_", "").lower()
    for value in shape.values:
        if value.name == name or value.name.replace("_", "").lower() == plain:
            return value
    return None


def _grown(node: Any, shape: Value | None) -> Any:
    if isinstance(node, Mapping):
        return {name: _grown(inner, _inside(shape, name)) for name, inner in node.items()}
    kind = shape.type if shape is not None else ""
    if kind.startswith("[]") and kind != "[]uint8":
        return [_value(each, kind[2:]) for each in node.values]
    if node.several:
        return [_value(each, kind) for each in node.values]
    return _value(node.values[-1], kind)


def _value(text: str, kind: str) -> Any:
    """What a text means for a field of this type; a text that cannot be meant stays one, and the service says so."""
    if kind in ("string", "[]uint8"):
        return text
    if kind == "bool":
        return {"": True, "1": True, "true": True, "on": True, "0": False, "false": False}.get(text, text)
    if kind.startswith(("int", "uint", "float")):
        return _number(text)
    if text[:1] in ("{", "[") or (
        not kind and (text in ("true", "false", "null") or _NUMBER.fullmatch(text))
    ):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _number(text: str) -> Any:
    if _NUMBER.fullmatch(text) is None or len(text) > 15:
        return text
    return orjson.loads(text)
