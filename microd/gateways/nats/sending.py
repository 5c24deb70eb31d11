"""Sending at once what a socket takes.

A transport of Twisted's keeps what it is given until the reactor says that the socket takes it: two changes of what epoll looks at, and
one more turn, for each write. Nearly always the socket would have taken it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor


def sender(transport: Any) -> Callable[[bytes], None]:
    """What writes to a transport; what the socket does not take now, or a TLS connection is given, goes the usual way."""
    if not isinstance(transport, FileDescriptor):
        write: Callable[[bytes], None] = transport.write
        return write
    descriptor: Any = transport

    def send(data: bytes) -> None:
        # Both buffers are empty: nothing was written before that is still to be sent.
        if (
            descriptor.dataBuffer
            or descriptor._tempDataBuffer
            or descriptor.disconnecting
            or not descriptor.connected
            or getattr(descriptor, "TLS", False)
        ):
            descriptor.write(data)
            return
        sent = descriptor.writeSomeData(data)
        if type(sent) is not int:
            # The connection is lost; the reactor finds that out by itself.
            descriptor.write(data)
        elif sent < len(data):
            descriptor.write(data[sent:])

    return send
