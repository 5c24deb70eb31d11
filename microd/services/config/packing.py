"""Documents and versions as bytes: JSON, in which an object is a tree and an array is a leaf. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from microd.services.config.model import Difference, Document, Leaf, Node, Tree, Version


def document_bytes(document: Document) -> bytes:
    """A document, but for its size."""
    return orjson.dumps(
        {
            "version": document.version,
            "oldest": document.oldest,
            "history": document.history,
            "root": _packed(document.root),
        }
    )


def document_from(packed: bytes) -> Document:
    """The document which L{document_bytes} wrote."""
    found = orjson.loads(packed)
    return Document(
        found["version"], _tree(found["root"]), found["oldest"], found["history"], size=len(packed)
    )


def version_bytes(version: Version) -> bytes:
    """A version, but for its number."""
    return orjson.dumps(
        {
            "time": version.time,
            "account": version.account,
            "issuer": version.issuer,
            "action": version.action,
            "path": list(version.path),
            "target": version.target,
            "differences": [
                [list(each.path), _packed(each.before), _packed(each.after)] for each in version.differences
            ],
        }
    )


def version_from(number: int, packed: bytes) -> Version:
    """The version which L{version_bytes} wrote."""
    found = orjson.loads(packed)
    return Version(
        number,
        found["time"],
        found["account"],
        found["issuer"],
        found["action"],
        tuple(found["path"]),
        tuple(
            Difference(tuple(path), _unpacked(before), _unpacked(after))
            for path, before, after in found["differences"]
        ),
        found["target"],
    )


def _packed(node: Node | None) -> Any:
    if node is None:
        return None
    if isinstance(node, Leaf):
        return [node.text, 1] if node.secret else [node.text]
    return {key: _packed(inner) for key, inner in node.items()}


def _unpacked(packed: Any) -> Node | None:
    if packed is None:
        return None
    return _tree(packed) if isinstance(packed, dict) else _leaf(packed)


def _tree(packed: dict[str, Any]) -> Tree:
    return {key: _tree(inner) if isinstance(inner, dict) else _leaf(inner) for key, inner in packed.items()}


def _leaf(packed: list[Any]) -> Leaf:
    return Leaf(packed[0], len(packed) > 1)
