"""Our connection without a shell, writing down what it is told: to be compared with what another makes of the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from microd.testing import http2_frames as wire
from microd.testing.http2_frames import Fields
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.limits import Limits
from microd.txgrpc.stream import Stream


@dataclass
class Heard:
    """What a connection told of one stream."""

    sections: list[Fields] = field(default_factory=list)
    octets: bytes = b""
    ended: bool = False
    reset: int | None = None


class Recorder(Stream):
    """A stream of ours that writes down what it is told."""

    __slots__ = ("heard",)

    def __init__(self, connection: Http2Connection, heard: Heard) -> None:
        super().__init__(connection)
        self.heard = heard

    def head_received(self, head: Any) -> None:
        self.heard.sections.append(tuple(head.fields))

    def message_received(self, message: bytes, last: bool) -> None:
        self.heard.octets += wire.message(message)
        self.heard.ended = self.heard.ended or last
        self.consumed(len(message))

    def half_closed(self) -> None:
        self.heard.ended = True

    def trailers_received(self, head: Any) -> None:
        self.heard.sections.append(tuple(head.fields))
        self.heard.ended = True

    def message_refused(self, code: int, text: str) -> None:
        raise AssertionError(text)

    def was_reset(self, error: int, text: str, delivered: bool) -> None:
        self.heard.reset = error


class Ours:
    """Our connection, with a recorder for each stream."""

    def __init__(self, *, client_side: bool, limits: Limits | None = None) -> None:
        self.heard: dict[int, Heard] = {}
        self.connection = Http2Connection(client_side, limits or Limits(), accept=self._accept)
        self.connection.start()
        self.written = b""

    def _accept(self, connection: Http2Connection, head: Any) -> Stream:
        heard = self.heard[connection.last_peer_id] = Heard([tuple(head.fields)])
        return Recorder(connection, heard)

    def open(self, block: bytes, octets: bytes = b"", *, end: bool) -> int:
        heard = Heard()
        stream = Recorder(self.connection, heard)
        self.connection.open(stream, block, octets, end=end)
        self.heard[stream.id] = heard
        return stream.id

    def take(self, octets: bytes) -> None:
        self.connection.receive(octets)
        self.written += self.connection.data_to_send()
