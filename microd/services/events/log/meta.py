"""What is kept about a topic besides its events. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import orjson

from microd.services.events.codec import Damaged
from microd.services.events.model import Retention

#: The table of a namespace's database which has a record for each topic.
TOPICS = "topics"
#: How the names of the tables begin which hold a topic's blocks, and the state of its groups.
LOG, GROUPS = "log:", "groups:"


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a log ends.

    @ivar next: the offset which comes next.
    @ivar total: the bytes of all blocks ever written.
    @ivar stored: when the last one was written, and C{newest} the greatest time of any event; Unix milliseconds.
    """

    next: int = 1
    total: int = 0
    stored: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Meta:
    """A topic's record.

    @ivar uid: 16 hexadecimal digits, which no other topic ever had.
    @ivar created: Unix milliseconds.
    @ivar edge: where the log ended when its last block went; later blocks say it better.
    """

    uid: str
    created: int
    retention: Retention = field(default_factory=Retention)
    edge: Edge = Edge()

    def ending(self, edge: Edge) -> Meta:
        """The same with another edge."""
        return replace(self, edge=edge)

    def kept(self, retention: Retention) -> Meta:
        """The same with another retention."""
        return replace(self, retention=retention)

    def to_bytes(self) -> bytes:
        """As it lies in the store."""
        edge, kept = self.edge, self.retention
        return orjson.dumps(
            {
                "uid": self.uid,
                "created": self.created,
                "age": kept.age,
                "size": kept.size,
                "edge": [edge.next, edge.total, edge.stored, edge.newest],
            }
        )


def meta_from(data: bytes) -> Meta:
    """What L{Meta.to_bytes} made.

    @raise Damaged: it did not make this.
    """
    try:
        found = orjson.loads(data)
        uid = bytes.fromhex(found["uid"]).hex()
        edge = Edge(*map(int, found["edge"]))
        return Meta(uid, int(found["created"]), Retention(int(found["age"]), int(found["size"])), edge)
    except (ValueError, KeyError, TypeError) as problem:
        raise Damaged("it is no topic's record") from problem


def namer(uid: str) -> Callable[[int], str]:
    """Makes the ids of a topic's events of their offsets: UUIDs of the topic's 8 bytes and the offset's."""
    begin = f"{uid[:8]}-{uid[8:12]}-{uid[12:]}-"
    usual = begin + "0000-"

    def name(offset: int) -> str:
        if offset < 1 << 48:
            return f"{usual}{offset:012x}"
        digits = f"{offset:016x}"
        return f"{begin}{digits[:4]}-{digits[4:]}"

    return name


def offset_from(uid: str, id: str) -> int | None:
    """The offset in the id of an event of the topic; None for any other text."""
    digits = id.replace("-", "").lower()
    if len(id) != 36 or len(digits) != 32 or not digits.startswith(uid):
        return None
    try:
        return int(digits[16:], 16) or None
    except ValueError:
        return None
