"""Trees of configuration, one over the other. Pure.

A tree is a dict whose keys hold no dots; its leaves are what JSON is made of, and L{Text} from the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]


class Text(str):
    """A value that came as text, and says nothing of its type."""

    __slots__ = ()


def path_from(text: str) -> Path:
    """The keys of a dotted path; none of the empty one.

    @raise ValueError: a key is empty.
    """
    keys = tuple(text.split(".")) if text else ()
    if "" in keys:
        raise ValueError(f"the path {text!r} has an empty key: write keys with one dot between them")
    return keys


def spread(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """A tree whose dotted keys are taken apart, and whose absent values are left out."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = spread(value) if isinstance(value, Mapping) else value
        if inner is None:
            continue
        for key in reversed(path_from(str(name))):
            inner = {key: inner}
        found = merged(found, inner)
    return found


def at(node: Any, path: Path) -> Any:
    """What is at a path; None where nothing is."""
    for key in path:
        if not isinstance(node, dict):
            return None
        node = node.get(key)
    return node


def merged(under: Any, over: Any) -> Any:
    """C{over} laid over C{under}."""
    if over is None:
        return under
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}


def placed(node: Any, path: Path, value: Any) -> Any:
    """The tree with a value at a path, whatever was on the way."""
    if not path:
        return value
    kept = node if isinstance(node, dict) else {}
    return {**kept, path[0]: placed(kept.get(path[0]), path[1:], value)}


def leaves(node: Any, path: Path = ()) -> Iterator[Path]:
    """Where the values are."""
    if not isinstance(node, dict):
        if node is not None:
            yield path
        return
    for key, value in node.items():
        yield from leaves(value, (*path, key))
