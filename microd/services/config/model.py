"""What config speaks of. All values are frozen: a change makes a new tree, which shares what it did not touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: The keys on the way from the document's root; the root itself is the empty path.
Path = tuple[str, ...]

#: What is shown in place of a secret.
MASK = "[secret]"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value which is not an object.

    @ivar text: JSON in its canonical form; of a secret, the sealed form of that.
    """

    text: str
    secret: bool = False


Tree = Mapping[str, "Node"]
Node = Leaf | Tree


@dataclass(frozen=True, slots=True)
class Document:
    """A namespace's configuration.

    @ivar version: 0 for one which was never written.
    @ivar oldest: the number of the oldest version in the history; 0: there is none.
    @ivar history: bytes of the history.
    @ivar size: bytes of the document as it is kept.
    """

    version: int
    root: Tree
    oldest: int = 0
    history: int = 0
    size: int = 0


#: What every namespace has before the first write.
NOTHING = Document(0, {})


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where two documents differ; None: nothing is there."""

    path: Path
    before: Node | None
    after: Node | None


@dataclass(frozen=True, slots=True)
class Version:
    """What one write did to a document.

    @ivar time: Unix seconds.
    @ivar account: the id of who wrote.
    @ivar issuer: the namespace of that account.
    @ivar action: C{set}, C{delete} or C{rollback}.
    @ivar target: which version a rollback went back to.
    """

    number: int
    time: int
    account: str
    issuer: str
    action: str
    path: Path
    differences: Sequence[Difference]
    target: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """What a write is going to do.

    @ivar account: the id of who writes; see L{Version} for the rest.
    @ivar keys: ids of the keys with which secrets in it were sealed just now.
    """

    root: Tree
    account: str
    issuer: str
    action: str
    path: Path
    target: int = 0
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A value, as somebody may see it.

    @ivar text: JSON.
    @ivar masked: some of it is secret, and stands there as L{MASK}.
    """

    text: str
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things may be: bytes of UTF-8, or a number of them.

    @ivar depth: keys in a path, and arrays in each other.
    @ivar value: one leaf.
    @ivar document: a whole document, as it is kept.
    @ivar history: versions which are kept for each namespace...
    @ivar history_bytes: ...unless they are larger than this together; the newest is kept always.
    @ivar differences: places which are told apart in one version; beyond, it is the whole document which changed.
    @ivar backlog: changes which a watcher may be behind.
    @ivar waiting: writes to one namespace which wait for those before them.
    @ivar remembered: documents in memory, where they take some ten times as much.
    """

    path: int = 1024
    depth: int = 32
    value: int = 256 << 10
    document: int = 1 << 20
    history: int = 500
    history_bytes: int = 16 << 20
    differences: int = 256
    backlog: int = 256
    watchers: int = 4096
    waiting: int = 1000
    remembered: int = 16 << 20
