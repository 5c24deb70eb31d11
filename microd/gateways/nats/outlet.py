"""What one connection is sent: gathered, bounded, and dropped where it is too much.

::

    out (pieces of this turn) ──flush──▶ transport, while it takes them
                                   └───▶ backlog (bytes), while it does not ──resumed──▶ transport

Messages are two pieces each, the line and the payload; what else is said is one. A transport that has 64 KiB unsent says so
(C{pauseProducing}); from then on what comes joins the backlog, bounded by the connection's limit and by what is left of the namespace's budget. Beyond it
the policy holds: the oldest messages go, or the new ones, or the connection. Answers to the client itself (C{PONG},
C{+OK}, C{-ERR}) are never dropped: a client who makes more of them than it reads is cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from microd.gateways.nats.model import Limits
from microd.gateways.nats.sending import sender
from microd.services.broker.subscription import Budget

#: Bytes that each piece of a backlog takes beyond its own.
OVERHEAD = 128
#: Bytes of a payload from which on it is worth a path of its own.
_LARGE = 32 << 10
#: A piece of it that a transport is given, and how much of it a transport may keep that takes no more.
_SLICE, _TAKEN = 16 << 10, 96 << 10


class Transport(Protocol):
    """What is asked of a transport of Twisted's."""

    def write(self, data: bytes) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class Counts:
    """What all connections of a door did.

    @ivar lost: messages which were dropped because their connection was too slow.
    @ivar slow: connections cut off for that.
    """

    __slots__ = (
        "in_bytes",
        "in_messages",
        "lost",
        "out_bytes",
        "out_messages",
        "slow",
        "subscriptions",
    )

    def __init__(self) -> None:
        self.subscriptions = 0
        self.in_messages = self.in_bytes = 0
        self.out_messages = self.out_bytes = 0
        self.lost = self.slow = 0


class Outlet:
    """The way out of one connection; a push producer of its transport.

    @ivar out: pieces that wait for the end of the turn; each ends with C{\\r}, and a C{\\n} comes behind it. Always the same list.
    @ivar waiting: bytes which the transport did not take; 1 where it only takes no more.
    @ivar behind: the transport takes no more.
    @ivar aloft: bytes which it was given last, and may still have, where it takes no more.
    @ivar lost: messages dropped.
    """

    __slots__ = (
        "_backlog",
        "_counts",
        "_finishing",
        "_limits",
        "_poured",
        "_pouring",
        "_said",
        "_send",
        "_shared",
        "_since",
        "_slow",
        "_touched",
        "_transport",
        "aloft",
        "behind",
        "budget",
        "held",
        "lost",
        "out",
    )

    def __init__(
        self, limits: Limits, counts: Counts, touched: list[Outlet], slow: Callable[[bool], None]
    ) -> None:
        """@param slow: told when messages are lost for the first time, and whether the connection must go."""
        self._limits = limits
        self._counts = counts
        self._touched = touched
        self._slow = slow
        self._transport: Transport | None = None
        self._send: Callable[[bytes], None] = _nowhere
        self.behind = False
        self._finishing = False
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._said = 0
        self._pouring: bytes | None = None
        self._poured = 0
        self._since = 0
        self._shared: bytes | None = None
        self.aloft = 0
        self.out: list[bytes] = []
        self.held = 0
        self.lost = 0
        self.budget: Budget | None = None

    @property
    def begun(self) -> int:
        """Bytes which the transport keeps, and those of a message of which it has a part: nothing else can be said before."""
        return self.aloft + (0 if self._pouring is None else len(self._pouring) - self._poured)

    @property
    def waiting(self) -> int:
        return self.held + self.behind

    def open(self, transport: Transport) -> None:
        """Begin to send."""
        self._transport = transport
        self._send = sender(transport)
        transport.registerProducer(self, True)

    def touch(self) -> None:
        """Something is about to be put into C{out}, which is empty: have it sent when the turn ends."""
        self._touched.append(self)

    def put(self, head: bytes, payload: bytes) -> None:
        """Send a message, with the turn's end. Both end with C{\\r}."""
        if not self.out:
            self._touched.append(self)
        self.out += (head, payload)

    def say(self, line: bytes) -> None:
        """Say something that is no message, with the turn's end."""
        if not self.out:
            self._touched.append(self)
        self.out.append(line + b"\r")
        self._said += 1

    def flush(self) -> None:
        """Send what has gathered."""
        out = self.out
        if not out:
            return
        if len(out) == 2 and len(out[1]) >= _LARGE and not self.behind and self._transport is not None:
            self._pass_on(*out)
            return
        messages = (len(out) - self._said) >> 1
        out.append(b"")
        data = b"\n".join(out)
        out.clear()
        said, self._said = self._said, 0
        if self._transport is None:
            return
        if self.behind:
            self._keep(data, messages, said)
            return
        self._counts.out_messages += messages
        self._counts.out_bytes += len(data)
        self._send(data)
        if self.behind:
            self._charge(len(data))

    def _pass_on(self, head: bytes, payload: bytes) -> None:
        """Send one large message without a copy of it, which may go to thousands."""
        assert self._transport is not None
        self.out.clear()
        self._counts.out_messages += 1
        self._counts.out_bytes += len(head) + len(payload) + 2
        self._send(head + b"\n")
        self._pouring = payload
        self._poured = 0
        self._pour()
        if self.behind:
            self._share(payload)

    def _pour(self) -> None:
        """Go on with a large message, a slice at a time, as long as the transport takes them."""
        payload = self._pouring
        if payload is None:
            return
        begun = self._poured
        while not self.behind and self._poured < len(payload):
            self._send(payload[self._poured : self._poured + _SLICE])
            self._poured += _SLICE
        if self.behind:
            self._charge(min(self._poured - begun, _TAKEN))
        if self._pouring is not None and self._poured >= len(payload):
            self._pouring = None
            self._send(b"\n")

    def _share(self, payload: bytes) -> None:
        """The rest of a large message waits: it is in memory once, however many wait for it."""
        if self._pouring is None or self.budget is None:
            return
        self._shared = payload
        pours = self.budget.shared
        key = id(payload)
        pours[key] = pours.get(key, 0) + 1
        if pours[key] == 1:
            self.budget.used += len(payload)
            self._check()

    def _unshare(self) -> None:
        payload, self._shared = self._shared, None
        if payload is None or self.budget is None:
            return
        pours = self.budget.shared
        key = id(payload)
        pours[key] -= 1
        if not pours[key]:
            del pours[key]
            self.budget.used -= len(payload)

    def _charge(self, size: int) -> None:
        """The transport was given so much that it takes no more: what it keeps counts, too.

        A message that has begun cannot be taken back: where there is no room for it the connection ends.
        """
        budget = self.budget
        if budget is None:
            return
        if not self.aloft:
            self._since = self._counts.in_messages
            budget.behind[self] = None
        self.aloft += size
        budget.used += size
        self._check()

    def _check(self) -> None:
        """Where there is no room any more, those go who have not read for longest; of those who got too much at once, the last."""
        budget = self.budget
        while budget is not None and budget.used > budget.most and self._transport is not None:
            waiting: dict[Outlet, None] = budget.behind
            first = next(iter(waiting), self)
            if first._since == self._counts.in_messages:
                first = self
            waiting.pop(first, None)
            first._overdue()
            if first is self:
                return

    def _overdue(self) -> None:
        self._counts.slow += 1
        self._lose(sum(count for _, count in self._backlog), True)
        self._release()

    def _landed(self) -> None:
        if self.budget is not None:
            self.budget.used -= self.aloft
            self.budget.behind.pop(self, None)
        self.aloft = 0

    def finish(self) -> None:
        """Hang up, once all is sent."""
        self._finishing = True
        if not self._backlog and self._pouring is None and self._transport is not None:
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def drop(self) -> None:
        """Forget what waits for a transport that takes no more, but for the rest of a message that is sent in part."""
        payload = self._pouring
        if payload is not None and self._transport is not None:
            self._transport.write(payload[self._poured :] + b"\n")
        self._release()
        self.out.clear()
        self._said = 0

    def close(self) -> None:
        """Send nothing any more; what waits is forgotten."""
        self._release()
        self.out.clear()
        self._transport = None
        self._send = _nowhere

    def pauseProducing(self) -> None:
        """The transport has enough."""
        self.behind = True

    def resumeProducing(self) -> None:
        """The transport has sent all that it had."""
        self.behind = False
        self._landed()
        self._pour()
        if self._pouring is None:
            self._unshare()
        backlog = self._backlog
        while backlog and not self.behind and self._transport is not None:
            data, messages = backlog.popleft()
            self._gone(data)
            self._counts.out_messages += messages
            self._counts.out_bytes += len(data)
            self._send(data)
            if self.behind:
                self._charge(len(data))
        if self._finishing:
            self.finish()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._release()

    def _keep(self, data: bytes, messages: int, said: int) -> None:
        """The transport takes no more."""
        policy = self._limits.slow
        if self._fits(data):
            self._hold(data, messages)
        elif said or policy == "disconnect":
            self._counts.slow += 1
            self._lose(messages + sum(count for _, count in self._backlog), True)
        elif policy == "drop-oldest" and self._make_room(data):
            self._hold(data, messages)
        else:
            self._lose(messages, False)

    def _fits(self, data: bytes) -> bool:
        """Nobody holds more than what is left for others, so that the first who stop to read do not take it all."""
        size = self.held + len(data) + OVERHEAD
        budget = self.budget
        if size > self._limits.pending:
            return False
        return budget is None or size <= budget.most - budget.used

    def _hold(self, data: bytes, messages: int) -> None:
        self._backlog.append((data, messages))
        self.held += len(data) + OVERHEAD
        if self.budget is not None:
            self.budget.used += len(data) + OVERHEAD

    def _gone(self, data: bytes) -> None:
        self.held -= len(data) + OVERHEAD
        if self.budget is not None:
            self.budget.used -= len(data) + OVERHEAD

    def _make_room(self, data: bytes) -> bool:
        while self._backlog and not self._fits(data):
            gone, messages = self._backlog.popleft()
            self._gone(gone)
            self._lose(messages, False)
        return self._fits(data)

    def _lose(self, messages: int, cut: bool) -> None:
        first = not self.lost
        self.lost += messages
        self._counts.lost += messages
        if first or cut:
            self._slow(cut)

    def _release(self) -> None:
        self._landed()
        self._unshare()
        self._pouring = None
        if self.budget is not None:
            self.budget.used -= self.held
        self.held = 0
        self._backlog.clear()


def _nowhere(_: bytes) -> None:
    """Before it is open, and once it is closed."""
