"""A peer driven by hand: it speaks HTTP/2 by the octet to a protocol over memory, and tells what came back.

It is used from either end: a hostile client of a server's protocol, or a hostile server of a client's. The sentences of
its `expect_` methods are RFC 9113's: a *connection error* is a GOAWAY with the code and a closed connection (5.4.1), a
*stream error* a RST_STREAM with the code on a connection that goes on (5.4.2), *tolerance* neither of them.
"""

from collections.abc import Callable, Iterable
from typing import Any

from hpack import Decoder
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Fields, Flag, Frame, Kind

_HEADER = 9


class PeerTransport(StringTransport):
    """The wire under the protocol: what it writes is kept until the peer reads it.

    Like a real transport it pauses its producer within the very write that fills it, and resumes it once it is empty.

    @ivar reads: whether the peer reads at all.
    """

    bufferSize = 64 * 1024

    def __init__(self) -> None:
        super().__init__(lenient=True)
        self.reads = True
        self._full = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Memory has no delay."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Memory does not die."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self._check_full()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        super().writeSequence(data)
        self._check_full()

    def _check_full(self) -> None:
        if self.producer is not None and not self._full and self.io.tell() > self.bufferSize:
            self._full = True
            self.producer.pauseProducing()

    def take(self) -> bytes:
        """What was written since the last time, if the peer reads."""
        if not self.reads:
            return b""
        written: bytes = self.io.getvalue()
        self.clear()
        if self._full:
            self._full = False
            if self.producer is not None:
                self.producer.resumeProducing()
        return written


class FrameReader:
    """Cuts what the other side wrote into frames and decodes its field blocks, which must all pass through here."""

    def __init__(self) -> None:
        self.decoder = Decoder(max_header_list_size=2**24)
        self.preface = b""
        self._rest = b""
        self._fragments: list[bytes] = []

    def feed(self, written: bytes) -> list[Frame]:
        self._rest += written
        if self._rest.startswith(h2.PREFACE):
            self.preface, self._rest = h2.PREFACE, self._rest[len(h2.PREFACE) :]
        frames: list[Frame] = []
        octets, at = self._rest, 0
        while len(octets) - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(octets[at : at + 3], "big")
            if len(octets) < end:
                break
            stream = int.from_bytes(octets[at + 5 : at + 9], "big")
            frames.append(self._frame(octets[at + 3], octets[at + 4], stream, octets[at + _HEADER : end]))
            at = end
        self._rest = octets[at:]
        return frames

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame:
        fields: Fields | None = None
        if kind in (Kind.HEADERS, Kind.CONTINUATION):
            fragment = payload[5:] if kind == Kind.HEADERS and flags & Flag.PRIORITY else payload
            self._fragments.append(fragment)
            if flags & Flag.END_HEADERS:
                lines = self.decoder.decode(b"".join(self._fragments), raw=True)
                fields = tuple((bytes(name), bytes(value)) for name, value in lines)
                self._fragments.clear()
        return Frame(kind, flags, stream, payload, fields)


class Peer:
    """The far end of the protocol's connection; `frames` is all that the protocol has said so far."""

    def __init__(self, protocol: IProtocol, clock: Clock) -> None:
        self.protocol = protocol
        self.clock = clock
        self.transport = PeerTransport()
        self.reader = FrameReader()
        self.frames: list[Frame] = []
        self.closed = False
        self._pings = 0
        protocol.makeConnection(self.transport)
        self.settle()

    def send(self, *chunks: bytes) -> None:
        """Deliver the chunks one after another."""
        for chunk in chunks:
            self.deliver(chunk)

    def deliver(self, octets: bytes) -> None:
        """Deliver the octets in one piece, unless the connection is closed."""
        if not self.closed and octets:
            self.protocol.dataReceived(octets)
        self.settle()

    def settle(self) -> None:
        """Let everything happen that is due now, and read what came back."""
        for _ in range(4):
            self.clock.advance(0)
        while written := self.transport.take():
            self.frames += self.reader.feed(written)
        if self.transport.disconnecting and not self.closed:
            self.hang_up()

    def hang_up(self) -> None:
        """The connection is gone."""
        self.closed = True
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass."""
        while seconds > 0 and not self.closed:
            self.clock.advance(min(step, seconds))
            self.settle()
            seconds -= step

    # What came back.

    def of(self, kind: Kind, stream: int | None = None) -> list[Frame]:
        """The frames of this kind, of one stream if it is given."""
        return [f for f in self.frames if f.kind == kind and stream in (None, f.stream)]

    def goaways(self) -> list[int]:
        return [f.code for f in self.of(Kind.GOAWAY)]

    def resets(self, stream: int) -> list[int]:
        return [f.code for f in self.of(Kind.RST_STREAM, stream)]

    def body(self, stream: int) -> bytes:
        """The DATA of a stream (nobody here pads)."""
        return b"".join(f.payload for f in self.of(Kind.DATA, stream))

    def field_sections(self, stream: int) -> list[Fields]:
        """The header and trailer sections of a stream."""
        return [f.fields for f in self.frames if f.stream == stream and f.fields is not None]

    def granted(self, stream: int) -> int:
        """What the WINDOW_UPDATEs for the stream (0: the connection) add up to."""
        return sum(f.increment for f in self.of(Kind.WINDOW_UPDATE, stream))

    def announced(self) -> dict[int, int]:
        """The settings in force."""
        merged: dict[int, int] = {}
        for f in self.of(Kind.SETTINGS):
            merged |= f.settings
        return merged

    # What the RFC asks for.

    def expect_connection_error(self, *codes: Code) -> None:
        """GOAWAY with (one of) the codes, then the end of the connection."""
        errors = [code for code in self.goaways() if code != Code.NO_ERROR]
        self._claim(bool(errors) and errors[0] in codes, f"GOAWAY with {_names(codes)}")
        self._claim(self.closed, "a closed connection after GOAWAY")

    def expect_stream_error(self, stream: int, *codes: Code) -> None:
        """RST_STREAM with (one of) the codes on that stream alone, while the connection goes on."""
        resets = self.resets(stream)
        self._claim(bool(resets) and resets[0] in codes, f"RST_STREAM of {stream} with {_names(codes)}")
        self._claim(len(resets) == 1, f"no more than one RST_STREAM of {stream}")
        self.expect_alive()

    def expect_stream_or_connection_error(self, stream: int, *codes: Code) -> None:
        """Either, where the RFC leaves the choice."""
        if self.closed:
            self.expect_connection_error(*codes)
        else:
            self.expect_stream_error(stream, *codes)

    def expect_alive(self) -> None:
        """The connection was not ended: a PING is answered."""
        self._claim(not self.goaways() and not self.closed, "a connection that goes on")
        self._pings += 1
        payload = self._pings.to_bytes(8, "big")
        self.send(h2.ping(payload))
        answers = [f for f in self.of(Kind.PING) if f.is_ack and f.payload == payload]
        self._claim(len(answers) == 1, "a PING answered")

    def expect_tolerance(self, *streams: int) -> None:
        """Nothing of it was an error, neither for the connection nor for these streams."""
        self.expect_alive()
        for stream in streams:
            self._claim(not self.resets(stream), f"no RST_STREAM of {stream}")

    def _claim(self, holds: bool, expected: str) -> None:
        if not holds:
            state = "closed" if self.closed else "open"
            said = "\n  ".join(_tell(f) for f in self.frames[-12:]) or "nothing"
            raise AssertionError(f"expected {expected}; the connection is {state}, and said last:\n  {said}")


class Handshake:
    """How a connection begins, for both roles."""

    @staticmethod
    def client(*pairs: tuple[int, int]) -> bytes:
        """The client's preface, with the acknowledgement of the server's settings."""
        return h2.PREFACE + h2.settings(*pairs) + h2.settings_ack()

    @staticmethod
    def server(*pairs: tuple[int, int]) -> bytes:
        """The server's preface, with the acknowledgement of the client's settings."""
        return h2.settings(*pairs) + h2.settings_ack()


def _names(codes: tuple[Code, ...]) -> str:
    return " or ".join(code.name for code in codes)


def _tell(f: Frame) -> str:
    name = Kind(f.kind).name if f.kind in set(Kind) else hex(f.kind)
    rest: Any = f.fields
    if f.kind in (Kind.RST_STREAM, Kind.GOAWAY):
        rest = Code(f.code).name if f.code in set(Code) else f.code
        rest = f"{rest} {f.payload[8:]!r}" if f.kind == Kind.GOAWAY else rest
    return f"{name} stream={f.stream} flags={f.flags:#x} {f.payload[:40]!r}" + (f" {rest}" if rest else "")


PeerFactory = Callable[..., Peer]
"""Makes a peer of the protocol under test; the keywords are the fixture's."""
