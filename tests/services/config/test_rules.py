"""The rules by themselves, on any documents at all."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from microd.kernel.errors import BadRequest
from microd.services.config import jsontext, packing, rules
from microd.services.config.model import Difference, Document, Leaf, Limits, Version

KEYS = st.sampled_from(["a", "b", "c", "ü", "a b"])
LEAVES = st.builds(Leaf, st.sampled_from(["1", "2", '"x"', "null", "[1]"]), st.booleans())
NODES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
TREES = st.dictionaries(KEYS, NODES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(TREES, TREES, st.integers(0, 5))
def test_undone(before: Any, after: Any, most: int) -> None:
    """What was done can be undone, whatever it was, and however coarsely it was noted."""
    made = rules.differences(before, after, most)
    assert rules.undone(after, made) == before
    assert (made == ()) == (before == after)
    assert len(made) <= max(most, 1)


@given(TREES, TREES, PATHS)
def test_touched(before: Any, after: Any, path: Any) -> None:
    """A path is touched just if what is at it is another than before."""
    for most in (0, 1000):
        made = rules.differences(before, after, most)
        assert rules.touches(made, path) == (rules.at(before, path) != rules.at(after, path))


@given(TREES, PATHS, NODES)
def test_set(tree: Any, path: Any, value: Any) -> None:
    """What was set is there, and what is beside the path is as it was."""
    made = rules.placed(tree, path, rules.merged(rules.at(tree, path), value))
    if isinstance(value, Leaf):
        assert rules.at(made, path) == value
    for inner, leaf in _leaves(value, path):
        assert rules.at(made, inner) == leaf
    for inner, leaf in _leaves(tree, ()):
        if inner[: len(path)] != path and path[: len(inner)] != inner:
            assert rules.at(made, inner) == leaf


@given(TREES, PATHS)
def test_deleted(tree: Any, path: Any) -> None:
    """What was deleted is gone, the rest is there, and nothing is there that was not."""
    made = rules.placed(tree, path, None)
    assert rules.at(made, path) is None
    wanted = {inner: leaf for inner, leaf in _leaves(tree, ()) if inner[: len(path)] != path}
    assert dict(_leaves(made, ())) == wanted


@given(TREES, TREES)
def test_merged_twice(tree: Any, value: Any) -> None:
    """To set the same once more changes nothing."""
    once = rules.merged(tree, value)
    assert rules.merged(once, value) == once


@given(JSON)
def test_json(value: Any) -> None:
    """What JSON says is what it said before, and in one form only."""
    text = jsontext.dump(jsontext.parse(json.dumps(value)))
    assert json.loads(text) == value
    assert jsontext.dump(jsontext.parse(text)) == text


@given(TREES, TREES)
def test_packed(root: Any, other: Any) -> None:
    """What is packed is unpacked as it was."""
    document = packing.document_from(packing.document_bytes(Document(3, root, 1, 7)))
    assert (document.version, document.root, document.oldest, document.history) == (3, root, 1, 7)
    version = Version(
        9, 1, "a", "b", "set", ("x",), (Difference((), root, other), Difference(("a",), None, None)), 2
    )
    assert packing.version_from(9, packing.version_bytes(version)) == version


@given(st.dictionaries(st.sampled_from(["a", "b", "a.b", "a.b.c", "b.a"]), JSON, max_size=4))
def test_dotted(value: Any) -> None:
    """However it is written, what is set is a tree of leaves, whose keys hold no dots and are never empty."""
    text = json.dumps(value)
    try:
        made = rules.value_from(text, (), Limits())
    except BadRequest:
        return
    for keys, leaf in _leaves(made, ()):
        assert isinstance(leaf, Leaf)
        assert all(keys)
        assert not any("." in key for key in keys)


def _leaves(node: Any, path: Any) -> Any:
    if isinstance(node, Leaf):
        yield path, node
        return
    for key, inner in node.items():
        yield from _leaves(inner, (*path, key))
