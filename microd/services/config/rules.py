"""What paths, merging, deleting and going back mean (spec micro-v3-server 6.4). Pure.

A path is split at every dot; nothing escapes one. An object is merged into what is there, key by key, and everything else
is a leaf, which takes the place of what was there. The later write wins: a key under a leaf takes the leaf's place too, so
that no value hides another. (In the reference both stayed, and the leaf hid the others.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from microd.kernel.errors import BadRequest, TooLarge
from microd.kernel.names import require_text
from microd.services.config import jsontext
from microd.services.config.model import Difference, Leaf, Limits, Node, Path, Tree


def path_from(text: str, limits: Limits) -> Path:
    """The keys of a dotted path; none of the empty one.

    @raise BadRequest: a key is empty, or something is over its limit.
    """
    if not text:
        return ()
    require_text("the path", text, limits.path)
    keys = tuple(text.split("."))
    if len(keys) > limits.depth:
        raise BadRequest(f"the path has {len(keys)} keys; it may have {limits.depth}")
    if "" in keys:
        raise BadRequest(f"the path {text!r} has an empty key: write keys with one dot between them")
    return keys


def value_from(data: str, path: Path, limits: Limits) -> Any:
    """Read what is to be set at a path: a L{Leaf}, or a tree of dicts whose keys hold no dots.

    @raise BadRequest: it is no JSON, or a key in it is no key; at the root, it is no object.
    @raise TooLarge: something is over its limit.
    """
    if jsontext.size(data) > limits.document:
        raise TooLarge(f"the value is longer than {limits.document} bytes")
    value = jsontext.parse(data)
    if isinstance(value, dict):
        return _spread(value, path, limits)
    if not path:
        raise BadRequest("the path is missing: only an object can be merged into the whole document")
    return _leaf_from(value, path, limits)


def _spread(value: Mapping[str, Any], path: Path, limits: Limits) -> dict[str, Any]:
    """An object with its dotted keys taken apart; where two name one place, the later wins."""
    found: dict[str, Any] = {}
    longest = limits.path - len(".".join(path).encode()) - 1 if len(path) < limits.depth else 0
    for name, inner in value.items():
        # Most keys are plain, and many; they need not be looked at twice.
        plain = name.isascii() and name.isprintable() and "." not in name and 0 < len(name) <= longest
        keys = (*path, name) if plain else _keys_from(path, name, limits)
        made = _spread(inner, keys, limits) if isinstance(inner, dict) else _leaf_from(inner, keys, limits)
        if plain and name not in found:
            found[name] = made
        else:
            _graft(found, keys[len(path) :], made)
    return found


def _keys_from(path: Path, name: str, limits: Limits) -> Path:
    jsontext.size(name)
    if not name:
        raise BadRequest(f"an object at {'.'.join(path) or 'the root'} has an empty key")
    return path_from(".".join((*path, name)), limits)


def _graft(tree: dict[str, Any], keys: Path, value: Any) -> None:
    for key in keys[:-1]:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            inner = tree[key] = {}
        tree = inner
    last = keys[-1]
    if isinstance(value, dict) and isinstance(tree.get(last), dict):
        for key, inner in value.items():
            _graft(tree[last], (key,), inner)
    else:
        tree[last] = value


def _leaf_from(value: Any, path: Path, limits: Limits) -> Leaf:
    if isinstance(value, (dict, list)) and jsontext.deeper(value, limits.depth):
        raise BadRequest(f"the value at {'.'.join(path)} is nested more than {limits.depth} deep")
    text = jsontext.dump(value)
    if jsontext.size(text) > limits.value:
        raise TooLarge(f"the value at {'.'.join(path)} is longer than {limits.value} bytes")
    return Leaf(text)


def at(node: Node | None, path: Path) -> Node | None:
    """What is at a path; None where nothing is."""
    for key in path:
        if node is None or isinstance(node, Leaf):
            return None
        node = node.get(key)
    return node


def secretive(node: Node | None) -> bool:
    """Whether something is secret in what is at a place."""
    if node is None or isinstance(node, Leaf):
        return node is not None and node.secret
    return any(secretive(inner) for inner in node.values())


def under_secret(node: Node | None, path: Path) -> bool:
    """Whether there is a secret on the way to a path, so that what is put there takes its place."""
    for key in path:
        if node is None or isinstance(node, Leaf):
            return secretive(node)
        node = node.get(key)
    return False


def merged(there: Node | None, value: Node) -> Node | None:
    """C{value} set where C{there} is. An empty object changes nothing, but that it takes the place of a leaf."""
    if isinstance(value, Leaf):
        return there if value == there else value
    kept = {} if there is None or isinstance(there, Leaf) else there
    changed = {}
    for key, inner in value.items():
        made = merged(kept.get(key), inner)
        if made is not None and made is not kept.get(key):
            changed[key] = made
    if not changed and (there is None or kept is there):
        return there
    return {**kept, **changed}


def placed(tree: Tree, path: Path, node: Node | None) -> Tree:
    """The tree with C{node} at a path, whatever was on the way; with None, the tree without what was there."""
    if not path:
        return {} if node is None or isinstance(node, Leaf) else node
    first, rest = path[0], path[1:]
    there = tree.get(first)
    if not rest:
        if node is None:
            return {key: inner for key, inner in tree.items() if key != first} if first in tree else tree
        return {**tree, first: node}
    if node is None and (there is None or isinstance(there, Leaf)):
        return tree
    inner = placed({} if there is None or isinstance(there, Leaf) else there, rest, node)
    return tree if inner is there else {**tree, first: inner}


def differences(before: Tree, after: Tree, most: int) -> Sequence[Difference]:
    """Where two documents differ; the whole of them where they do in more than C{most} places."""
    found = tuple(islice(_differences(before, after, ()), most + 1))
    return found if len(found) <= most else (Difference((), before, after),)


def _differences(before: Node | None, after: Node | None, path: Path) -> Iterator[Difference]:
    if before is after or before == after:
        return
    if before is None or after is None or isinstance(before, Leaf) or isinstance(after, Leaf):
        yield Difference(path, before, after)
        return
    for key in sorted({*before, *after}):
        yield from _differences(before.get(key), after.get(key), (*path, key))


def undone(tree: Tree, made: Sequence[Difference]) -> Tree:
    """The document before the differences were made."""
    for difference in made:
        tree = placed(tree, difference.path, difference.before)
    return tree


def touches(made: Sequence[Difference], path: Path) -> bool:
    """Whether something at C{path}, or under it, is different."""
    return any(
        each.path[: len(path)] == path
        or (
            path[: len(each.path)] == each.path
            and at(each.before, path[len(each.path) :]) != at(each.after, path[len(each.path) :])
        )
        for each in made
    )


def weight(made: Sequence[Difference]) -> int:
    """About how many characters it takes to show what is different."""
    return sum(_weight(each.before) + _weight(each.after) + sum(map(len, each.path)) for each in made)


def _weight(node: Node | None) -> int:
    if node is None:
        return 0
    if isinstance(node, Leaf):
        return len(node.text)
    return sum(len(key) + _weight(inner) for key, inner in node.items())
