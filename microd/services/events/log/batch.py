"""What goes into one commit of a topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError
from microd.services.events import codec
from microd.services.events.codec import Block
from microd.services.events.interface import Receipt
from microd.services.events.log.meta import Edge
from microd.services.events.model import Event
from microd.services.store.model import Act, Check

#: A commit takes no more when it has so many bytes, with what each event is counted for besides its own.
MOST_BYTES = 4 << 20

#: What is to be done together with an append: acts, or what says them at the moment at which the store gets them.
Acts = Sequence[Act] | Callable[[], Sequence[Act]]

#: Payload, packed metadata, Unix milliseconds (0: now), and who is told of it with what.
Row = tuple[bytes, bytes, int, Receipt, object]


class _Nobody:
    """Is not told of single events."""

    def stored(self, token: object, topic: str, offset: int) -> None:
        pass

    def refused(self, token: object, error: MicroError) -> None:
        pass


_NOBODY = _Nobody()


@dataclass(frozen=True, slots=True)
class Part:
    """Events of a batch which somebody waits for together.

    @ivar begin: which row is the first of C{count}.
    """

    begin: int
    count: int
    waiter: Deferred[Sequence[Event]]


class Batch:
    """Events that are committed together, and what is done along with them.

    @ivar size: the bytes they are counted for while they wait.
    @ivar most: with so many it takes no more.
    """

    __slots__ = ("acts", "most", "parts", "rows", "size")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.parts: list[Part] = []
        self.acts: list[Acts] = []
        self.size = 0
        self.most = MOST_BYTES

    def join(self, rows: Sequence[tuple[bytes, bytes, int]], acts: Acts) -> Deferred[Sequence[Event]]:
        """Take events which somebody waits for together; fires with them."""
        # Who waits no more changes nothing for the others.
        waiter: Deferred[Sequence[Event]] = Deferred()
        self.parts.append(Part(len(self.rows), len(rows), waiter))
        self.rows += [(*row, _NOBODY, None) for row in rows]
        if acts:
            self.acts.append(acts)
        return waiter

    def blocks(self, edge: Edge, now: int) -> list[tuple[Block, bytes]]:
        """What is to be written behind C{edge}."""
        payloads, metas, stamps, _, _ = zip(*self.rows, strict=True)
        first, before, newest = edge.next, edge.total, edge.newest
        stored = max(now, edge.stored)
        if now < stored:
            # The clock went back. Blocks stay in the order of their times; the events say the time that it is.
            stamps = tuple(stamp or now for stamp in stamps)
        if len(payloads) <= codec.MOST_EVENTS and self.size <= codec.MOST_BYTES:
            return [codec.encode(first, before, stored, newest, payloads, metas, stamps)]
        made = []
        for begin, end in _cuts(payloads, metas):
            block, data = codec.encode(
                first, before, stored, newest, payloads[begin:end], metas[begin:end], stamps[begin:end]
            )
            made.append((block, data))
            first, before, newest = block.end, before + block.size, block.newest
        return made

    def all_acts(self) -> list[Act]:
        """What is done along with it, as of now."""
        return [act for acts in self.acts for act in (acts() if callable(acts) else acts)]


def has_conditions(acts: Acts) -> bool:
    """Whether acts may be refused for what is in the store, and all that is committed with them."""
    return not callable(acts) and any(isinstance(act, Check) or act.if_version is not None for act in acts)


def _cuts(payloads: Sequence[bytes], metas: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where blocks begin and end."""
    cuts, begin, size = [], 0, 0
    for number, (payload, meta) in enumerate(zip(payloads, metas, strict=True)):
        each = len(payload) + len(meta)
        if number > begin and (size + each > codec.MOST_BYTES or number - begin == codec.MOST_EVENTS):
            cuts.append((begin, number))
            begin, size = number, 0
        size += each
    return [*cuts, (begin, len(payloads))]
