"""What is sealed of a value, and what is shown of it."""

from __future__ import annotations

from collections.abc import Callable

from microd.kernel.errors import Internal
from microd.services.config import jsontext, rules
from microd.services.config.keyring import Keyring, id_of
from microd.services.config.model import MASK, Leaf, Node, Path, Shown, Tree

_MASKED = jsontext.quoted(MASK)


class Secrecy:
    """Seals and shows trees.

    @ivar current: the id of the key which seals.
    """

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self.current = ring.current

    def shown(self, namespace: str, path: Path, node: Node | None, *, secret: bool) -> Shown:
        """What somebody may see of what is at a path.

        @raise Internal: a secret does not open.
        """
        pieces: list[str] = []
        masked = self._show(namespace, path, node, secret, pieces.append)
        return Shown("".join(pieces), masked)

    def _show(
        self, namespace: str, path: Path, node: Node | None, secret: bool, write: Callable[[str], None]
    ) -> bool:
        if node is None:
            write("null")
            return False
        if isinstance(node, Leaf):
            if not node.secret:
                write(node.text)
            else:
                write(self._ring.open(namespace, path, node.text) if secret else _MASKED)
            return node.secret and not secret
        masked, between = False, "{"
        for key in sorted(node):
            inner = node[key]
            if isinstance(inner, Leaf) and not inner.secret:
                write(f"{between}{jsontext.quoted(key)}:{inner.text}")
            else:
                write(f"{between}{jsontext.quoted(key)}:")
                masked = self._show(namespace, (*path, key), inner, secret, write) or masked
            between = ","
        write("}" if node else "{}")
        return masked

    def sealed(
        self, namespace: str, path: Path, value: Node, there: Node | None, secret: bool | None
    ) -> Node:
        """What is to be kept of a value; a leaf which is there already stays the same one.

        @param there: what is at the path.
        @param secret: whether to seal the leaves; None: those which take the place of a secret.
        """
        kept = there if isinstance(there, Leaf) and there.secret else None
        if not isinstance(value, Leaf):
            inner = {} if there is None or isinstance(there, Leaf) else there
            seal = True if secret is None and kept is not None else secret
            return {
                key: self.sealed(namespace, (*path, key), each, inner.get(key), seal)
                for key, each in value.items()
            }
        if kept is not None and not secret and value.text == _MASKED:
            return kept
        if secret is False or (secret is None and not rules.secretive(there)):
            return value
        if kept is not None and self._holds(namespace, path, kept, value.text):
            return kept
        return Leaf(self._ring.seal(namespace, path, value.text), secret=True)

    def _holds(self, namespace: str, path: Path, leaf: Leaf, text: str) -> bool:
        """Whether this is what a leaf holds, under the key that seals now; one that does not open holds nothing."""
        if id_of(leaf.text) != self._ring.current:
            return False
        try:
            return self._ring.open(namespace, path, leaf.text) == text
        except Internal:
            return False

    def resealed(self, namespace: str, tree: Tree, path: Path = ()) -> Tree:
        """The same tree, with all secrets under the key that seals now, but for those whose key is lost.

        @raise Internal: one of them does not open.
        """
        changed: dict[str, Node] = {}
        for key, node in tree.items():
            at = (*path, key)
            if not isinstance(node, Leaf):
                inner = self.resealed(namespace, node, at)
                if inner is not node:
                    changed[key] = inner
            elif node.secret and id_of(node.text) != self._ring.current and id_of(node.text) in self._ring:
                text = self._ring.open(namespace, at, node.text)
                changed[key] = Leaf(self._ring.seal(namespace, at, text), secret=True)
        return {**tree, **changed} if changed else tree
