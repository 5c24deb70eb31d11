"""Cuts what a client sends into lines and payloads, and carries out what is planned for each; no I/O.

This loop is the broker's hot path, and plainer than pretty. All that was read at once is split at C{\\n} by one call, so that
lines and payloads are there without a search or an index for each (180 ns for both, where C{find} and slices take 330, and a split at
C{\\r\\n} 230); a payload which has C{\\n} in it is put together again. Lines and payloads keep their C{\\r}, and go out with it. A line
that is remembered (L{microd.gateways.nats.plans}) costs one lookup, and a message two appends for each subscriber; the pieces are joined
once a turn. Everything else, C{SUB} and C{PING} too, goes to C{client.line}, and comes back as a plan if it is a publication.

Figures: see the head of C{scripts/benches/bench_broker.py}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Protocol, cast

from microd.gateways.nats.outlet import Counts
from microd.gateways.nats.parser import LONG_LINE, UNFINISHED, UNKNOWN, ProtocolError
from microd.gateways.nats.plans import Plan
from microd.services.broker.subscription import Budget

_RETURN = 13
#: What is not remembered; no payload is so long.
UNPLANNED: Plan = (-1, (), None)
#: A payload from this size on is gathered by itself, and one of which so much is here: what comes with a little more would
#: be split again each time, and it may be line ends which come one by one.
_BULK = 16 << 10
_SPLIT_AGAIN = 512
#: Larger payloads count while they are not complete; of others a connection may always have one.
_COUNTED = 64 << 10
#: Bytes kept of a client that must wait, beyond which it is against the protocol to send more.
_PATIENCE = 1 << 20
#: Messages, and other lines, that are dealt with in one turn of the reactor.
_TURN = 960
#: Any verb begins so.
_INITIALS = frozenset(b"PpHhSsUuCcIi+-")
_VERBS = (b"PUB", b"HPUB", b"SUB", b"UNSUB", b"CONNECT", b"PING", b"PONG", b"INFO", b"+OK", b"-ERR")
_LONGEST_VERB = 8


class Client(Protocol):
    """Who knows what lines mean."""

    def line(self, line: bytes) -> Plan | None:
        """Do what a line says; for a publication, plan it.

        @param line: without its C{\\n}, with the C{\\r} that it may end with.
        @raise ProtocolError: it is against the protocol.
        """

    def rest(self) -> None:
        """Halt, and go on when others have had their turn."""


class Inbound:
    """What one client sends.

    @ivar halted: nothing more is done until C{go_on}.
    @ivar budget: what large payloads that are not complete may take, for all connections of a namespace.
    """

    __slots__ = (
        "_budgeted",
        "_bulk",
        "_client",
        "_counts",
        "_known",
        "_line",
        "_line_of",
        "_longest",
        "_missing",
        "_rest",
        "budget",
        "halted",
    )

    def __init__(self, client: Client, counts: Counts, control_line: int) -> None:
        self._client = client
        self._counts = counts
        self._longest = control_line + _LONGEST_VERB
        self._rest = b""
        self._bulk = bytearray()
        self._budgeted: Budget | None = None
        self._line = b""
        self._missing = 0
        self.halted = False
        self.budget: Budget | None = None
        nothing: dict[bytes, Plan] = {}
        self._line_of: Callable[[bytes], Plan | None] = client.line
        self._known: Callable[[bytes, Plan], Plan] = nothing.get

    @property
    def held(self) -> int:
        """Bytes of what is not complete."""
        return len(self._rest) + len(self._bulk)

    def look(self, memo: Mapping[bytes, object], line: Callable[[bytes], Plan | None]) -> None:
        """Find plans there, and ask C{line} for others."""
        self._known = cast(Mapping[bytes, Plan], memo).get
        self._line_of = line

    def go_on(self) -> None:
        """Take up what was left when it was halted.

        @raise ProtocolError: as C{feed}.
        """
        self.halted = False
        rest, self._rest = self._rest, b""
        if rest:
            self.feed(rest)

    def clear(self) -> None:
        """Forget what is not complete."""
        self._rest = b""
        self._keep(-len(self._bulk))
        self._bulk = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Do what a client says.

        @raise ProtocolError: it is against the protocol.
        """
        if self.halted:
            if len(self._rest) + len(data) > _PATIENCE:
                raise ProtocolError(UNKNOWN)
            self._rest += data
            return
        if self._missing:
            data = self._gather(data)
            if not data:
                return
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        self._read(data)

    def _read(self, data: bytes) -> None:
        parts = data.split(b"\n")
        rest = parts.pop()
        pieces = iter(parts)
        known = self._known
        odd = len(parts) & 1
        count = lines = 0
        # Who says more than this at once goes on when others have had their turn.
        firsts: Iterable[bytes] = pieces if len(parts) <= 2 * _TURN else islice(pieces, _TURN)
        for line, payload in zip(firsts, pieces, strict=False):
            size, routes, more = known(line, UNPLANNED)
            if size != len(payload) or payload[-1] != _RETURN:
                # Not remembered, or no publication, or a payload with line ends in it.
                while True:
                    if size < 0:
                        plan = self._line_of(line)
                        if plan is None:
                            odd ^= 1
                            lines += 1
                            if lines >= _TURN:
                                self._client.rest()
                            if self.halted:
                                self._counts.in_messages += count
                                self._stop([payload, *pieces, rest])
                                return
                            line = payload
                            after = next(pieces, None)
                            if after is None:
                                self._counts.in_messages += count
                                self._end(line, rest)
                                return
                            payload = after
                            size, routes, more = known(line, UNPLANNED)
                            continue
                        size, routes, more = plan
                    have = len(payload)
                    if have < size:
                        joined = [payload]
                        for piece in pieces:
                            joined.append(piece)
                            have += 1 + len(piece)
                            if have >= size:
                                break
                        odd ^= len(joined) & 1 ^ 1
                        if have < size:
                            joined.append(rest)
                            self._counts.in_messages += count
                            self._end(line, b"\n".join(joined))
                            return
                        payload = b"\n".join(joined)
                    if have != size or payload[-1] != _RETURN:
                        raise ProtocolError(UNKNOWN)
                    break
            for sub, out, head in routes:
                if not out:
                    sub.outlet.touch()
                out.append(head)
                out.append(payload)
                sub.delivered += 1
            count += 1
            if more is not None:
                more(payload)
                if self.halted:
                    self._counts.in_messages += count
                    self._stop([*pieces, rest])
                    return
        self._counts.in_messages += count
        if firsts is not pieces:
            left = list(pieces)
            if left:
                self._client.rest()
                self._stop([*left, rest])
                return
        if odd:
            self._end(parts[-1], rest)
        else:
            self._leave(rest)

    def _end(self, line: bytes, rest: bytes) -> None:
        """The last complete line, and what stands behind it: the beginning of its payload, or of another line."""
        size, _, _ = self._known(line, UNPLANNED)
        if size < 0:
            plan = self._line_of(line)
            if plan is None:
                if self.halted:
                    self._rest = rest
                else:
                    self._leave(rest)
                return
            size = plan[0]
        if len(rest) >= size and not b"\r\n".startswith(rest[size - 1 :]):
            raise ProtocolError(UNKNOWN)
        if size < _BULK and len(rest) < _SPLIT_AGAIN:
            self._rest = line + b"\n" + rest
            return
        self._budgeted = self.budget if size > _COUNTED else None
        self._keep(len(rest))
        self._line = line
        self._bulk = bytearray(rest)
        self._missing = size + 1 - len(rest)

    def _gather(self, data: bytes) -> bytes:
        """Take the rest of a large payload; what is left of the data."""
        missing = self._missing
        if len(data) < missing:
            self._keep(len(data))
            self._bulk += data
            self._missing -= len(data)
            return b""
        self._keep(-len(self._bulk))
        bulk, self._bulk = self._bulk, bytearray()
        bulk += memoryview(data)[:missing]
        self._missing = 0
        if not bulk.endswith(b"\r\n"):
            raise ProtocolError(UNKNOWN)
        del bulk[-1:]
        self._one(self._line, bytes(bulk))
        rest = data[missing:]
        if self.halted:
            self._rest = rest
            return b""
        return rest

    def _keep(self, size: int) -> None:
        """So much more of a payload is kept; negative: less. Nobody keeps more than what is left for others."""
        budget = self._budgeted
        if budget is not None:
            if size > 0 and len(self._bulk) + size > budget.most - budget.used:
                raise ProtocolError(UNFINISHED)
            budget.used += size

    def _one(self, line: bytes, payload: bytes) -> None:
        """Carry out one publication by itself."""
        plan = self._line_of(line)
        assert plan is not None
        self._counts.in_messages += 1
        _, routes, more = plan
        for sub, _, head in routes:
            outlet = sub.outlet
            outlet.put(head, payload)
            sub.delivered += 1
            if len(payload) >= _BULK:
                # It may be for several subscriptions of one connection, whose bounds hold for each.
                outlet.flush()
        if more is not None:
            more(payload)

    def _stop(self, pieces: Iterable[bytes]) -> None:
        self._rest = b"\n".join(pieces)

    def _leave(self, rest: bytes) -> None:
        """Keep the beginning of a line, if it can be one."""
        if not rest:
            return
        if rest[0] not in _INITIALS:
            raise ProtocolError(UNKNOWN)
        if len(rest) > self._longest:
            raise ProtocolError(LONG_LINE if rest[:_LONGEST_VERB].upper().startswith(_VERBS) else UNKNOWN)
        self._rest = rest
