"""The account of what a peer sends: the windows that we open for it, what we hold for readers, and our patience.

One account for each stream follows its reader, so that a slow one stops its sender; the connection's window
follows what has arrived, so that a slow reader stops nobody else; and C{Limits.max_buffered} bounds what all
streams hold together. Frames that bring nothing, and calls cancelled as soon as they are made, are counted,
and forgiven with time.
"""

from __future__ import annotations

from collections.abc import Callable

from microd.txgrpc import frames, messages
from microd.txgrpc.frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEAD_NUMBER,
    WINDOW_UPDATE,
    ProtocolFault,
)
from microd.txgrpc.limits import Limits
from microd.txgrpc.outgoing import Outgoing
from microd.txgrpc.stream import REMOTE, Stream

#: What gRPC's clients take as a request to ping less often.
TOO_MANY_PINGS = "too_many_pings"


class Accounting(Outgoing):
    """What L{Outgoing} is to sending, for receiving.

    @ivar buffered: bytes held for readers on all streams, with what keeping them costs.
    @ivar initial_window: the window that a new stream of the peer's starts with.
    """

    __slots__ = (
        "_forgiven",
        "_low",
        "_noise",
        "_now",
        "_recv_window",
        "_resets",
        "buffered",
        "initial_window",
    )

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        super().__init__(limits)
        self._now = now
        self._recv_window = frames.DEFAULT_WINDOW
        self.initial_window = max(limits.stream_window, frames.DEFAULT_WINDOW)
        self._low = limits.connection_window // 2
        self._noise, self._resets = limits.max_noise, limits.max_resets
        self._forgiven = now()
        self.buffered = 0

    def _reopen_connection(self) -> None:
        if self._recv_window < 0:
            raise ProtocolFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
        # The connection's window follows what has arrived; what bounds memory is each stream's, which follows its
        # reader, and C{max_buffered}. So one slow reader never stops the others.
        more = self.limits.connection_window - self._recv_window
        if more > 0:
            self._recv_window += more
            self._out.append(HEAD_NUMBER.pack(0, 4, WINDOW_UPDATE, 0, 0, more))

    def released(self, stream: Stream) -> None:
        self.buffered -= stream.held
        stream.held = 0

    def reopen(self, stream: Stream, size: int) -> None:
        """The reader took C{size} bytes, prefix and all: reopen the stream's window, a good part at a time.

        What is owed is repaid as it is read; with nothing left to read, all at once, or a message longer than the
        window could never be completed.
        """
        if stream.unread == 0 and stream.partial is None:
            held = stream.held
        else:
            held = min(stream.held, size + messages.OVERHEAD) if size else 0
        stream.held -= held
        self.buffered -= held
        if stream.state & REMOTE:
            return
        repaid = stream.debt if stream.unread == 0 else min(stream.debt, size)
        stream.debt -= repaid
        credit = stream.credit + repaid
        if credit and credit >= self.limits.stream_window >> 1:
            self._out.append(HEAD_NUMBER.pack(0, 4, WINDOW_UPDATE, 0, stream.id, credit))
            stream.recv_window += credit
            stream.credit = 0
            self._sent()
            return
        stream.credit = credit

    def _annoy(self, text: str = "too many frames that bring nothing") -> None:
        """The peer sent something that brings nothing; there is an end to that."""
        self._noise -= 1
        if self._noise < 0:
            self._forgive()
            if self._noise < 0:
                raise ProtocolFault(ENHANCE_YOUR_CALM, text)

    def _count_reset(self) -> None:
        """The peer cancelled a call; a few are usual, a flood is an attack (CVE-2023-44487)."""
        self._resets -= 1
        if self._resets < 0:
            self._forgive()
            if self._resets < 0:
                raise ProtocolFault(ENHANCE_YOUR_CALM, "too many cancelled calls")

    def _forgive(self) -> None:
        now, limits = self._now(), self.limits
        passed = min(now - self._forgiven, 1e6)
        self._forgiven = now
        # Data that we send calls for WINDOW_UPDATEs, and for PINGs too: peers measure the bandwidth with them.
        earned = int(passed * limits.noise_rate) + 4 * self.frames_sent
        self.frames_sent = 0
        self._noise = min(limits.max_noise, self._noise + earned)
        self._resets = min(limits.max_resets, self._resets + int(passed * limits.reset_rate))
