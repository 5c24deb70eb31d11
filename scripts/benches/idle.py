"""Connections which made one call and then stay open, doing nothing."""

from __future__ import annotations

import resource
import socket
import struct

from hpack import Encoder

from benches.contender import framed
from benches.echo import REQUEST, UNARY

_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _opening(port: int) -> bytes:
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", UNARY),
        (":authority", f"127.0.0.1:{port}"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "idle-bench"),
        ("x-request-id", "5e3c0d1a-0000-4000-8000-000000000000"),
    ]
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0)
        + _frame(_SETTINGS, _ACK, 0)
        + _frame(_HEADERS, _END_HEADERS, 1, Encoder().encode(headers))
        + _frame(_DATA, _END_STREAM, 1, framed(REQUEST.SerializeToString()))
    )


def _read_until_done(connection: socket.socket) -> None:
    """Read whole frames until the trailers of stream 1 have come."""
    stream = connection.makefile("rb")
    while True:
        head = stream.read(9)
        assert len(head) == 9, "the server hung up"
        stream.read(int.from_bytes(head[:3], "big"))
        if head[3] == _HEADERS and head[4] & _END_STREAM:
            return


def idle_connections(port: int, count: int) -> list[socket.socket]:
    """Open connections, make one call on each; they stay open as long as the sockets are kept."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    opening = _opening(port)
    made = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(opening)
        _read_until_done(connection)
        made.append(connection)
    return made
