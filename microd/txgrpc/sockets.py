"""A socket and an L{Http2Connection} tied together, for those who wait: no reactor, no threads.

It is not for several threads at once. Whatever waits, waits in one place, C{Wire.exchange}, so that Ctrl-C finds everything in order.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.limits import Limits
from microd.txgrpc.status import RpcError, StatusCode

if TYPE_CHECKING:
    import ssl

_CHUNK = 1 << 16
#: TCP options for connections on which nothing may come for long: a peer which vanished is missed within two minutes.
_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class Target:
    """Where a server is: C{host:port}, C{[ipv6]:port}, C{unix:path}; C{tcp:} and C{tls:} may stand before the host.

    @ivar text: as messages name it.
    @ivar path: of a unix socket, else empty.
    @ivar secure: the text asks for TLS.
    """

    __slots__ = ("host", "path", "port", "secure", "text")

    def __init__(self, text: str) -> None:
        kind, _, rest = text.partition(":")
        self.path = rest if kind == "unix" else ""
        self.secure = kind in ("tls", "ssl")
        self.text = text if self.path else (rest if kind in ("tcp", "tls", "ssl") and ":" in rest else text)
        self.host, _, port = self.text.rpartition(":")
        self.host = self.host.strip("[]")
        if not self.path and not (self.host and port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError(f"{text!r} is not an address such as 127.0.0.1:8081")
        self.port = 0 if self.path else int(port)

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket.

        @raise RpcError: UNAVAILABLE, and why.
        """
        try:
            if not self.path:
                return socket.create_connection((self.host, self.port), timeout)
            made = socket.socket(socket.AF_UNIX)
            try:
                made.settimeout(timeout)
                made.connect(self.path)
            except OSError:
                made.close()
                raise
            return made
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise unreachable(f"nothing listens at {self.text}") from error
        except socket.gaierror as error:
            raise unreachable(f"there is no host of the name {self.host}") from error
        except TimeoutError as error:
            raise unreachable(f"{self.text} does not answer") from error
        except OSError as error:
            raise unreachable(f"{self.text} cannot be reached: {error.strerror or error}") from error


def unreachable(why: str) -> RpcError:
    """No call can have been delivered."""
    return RpcError(StatusCode.UNAVAILABLE, why, delivered=False)


def tls_context(trust: Any) -> ssl.SSLContext:
    """What to verify a server with: C{True}, the system's authorities; a path, those of a PEM file; or a context as it is."""
    import ssl

    if isinstance(trust, ssl.SSLContext):
        return trust
    context = ssl.create_default_context(cafile=None if trust is True else os.fspath(trust))
    context.set_alpn_protocols(["h2"])
    return context


def secured(plain: socket.socket, target: Target, trust: Any) -> ssl.SSLSocket:
    """TLS over a connected socket, with HTTP/2 agreed upon.

    @raise RpcError: UNAVAILABLE, and why.
    """
    import ssl

    try:
        made = tls_context(trust).wrap_socket(plain, server_hostname=target.host or "localhost")
        if made.selected_alpn_protocol() != "h2":
            made.close()
            raise unreachable(f"{target.text} does not speak HTTP/2 over TLS")
        return made
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise unreachable(
            f"the certificate of {target.text} is not trusted: {error.verify_message}"
        ) from error
    except (ssl.SSLError, OSError) as error:
        plain.close()
        why = getattr(error, "reason", None) or error
        raise unreachable(f"{target.text} does not speak TLS as it should: {why}") from error


def _prepare(made: socket.socket) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Wire:
    """One connection to a server.

    @ivar connection: the protocol; calls open their streams on it.
    """

    __slots__ = ("_blocked", "_poll", "_socket", "_target", "_unsent", "connection")

    def __init__(self, target: Target, trust: Any, limits: Limits, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        made = target.connect(timeout)
        # The errors that mean "not now": TLS has its own, known only where TLS is used.
        self._blocked: tuple[type[BaseException], ...] = (BlockingIOError, InterruptedError)
        if trust or target.secure:
            import ssl

            made = secured(made, target, trust or True)
            self._blocked += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        made.setblocking(False)
        if not target.path:
            _prepare(made)
        self._socket = made
        self._target = target
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)
        self._unsent: bytes | memoryview = b""
        self.connection = Http2Connection(True, limits)
        self.connection.start()
        self._settle(deadline)

    def _settle(self, deadline: float) -> None:
        """Wait for the server's settings: whatever fails before they come has surely delivered nothing."""
        connection = self.connection
        while not connection.settled and not connection.lost:
            if time.monotonic() >= deadline:
                self.close()
                raise unreachable(f"{self._target.text} accepts the connection, but does not answer")
            self.exchange(deadline)
        if not connection.settled:
            self.close()
            raise unreachable(
                f"{self._target.text} is not a gRPC server: {connection.reason or 'it hung up'}"
            )

    def exchange(self, until: float | None) -> None:
        """Send and take in what can be at once; where that is nothing, wait for either.

        @param until: a moment of C{time.monotonic} to wait for at most; None: as long as it takes.
        """
        sent = self._send()
        if self._receive() or sent:
            return
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        # Rounded up: a wait that ends a little early would be begun again at once, many times.
        self._poll.poll(None if until is None else max(0.0, until - time.monotonic()) * 1000 + 0.999)
        self._send()
        self._receive()

    def push(self) -> None:
        """Send what can be sent, take in what has come, and wait for nothing."""
        self._send()
        while self._receive():
            self._send()

    @property
    def backlog(self) -> int:
        """Bytes that the kernel did not take yet."""
        return len(self._unsent)

    def _send(self) -> bool:
        connection = self.connection
        data = connection.data_to_send()
        if data:
            self._unsent = b"".join((self._unsent, data)) if self._unsent else data
        if not self._unsent or (connection.lost and connection.failed is None):
            return False
        try:
            sent = self._socket.send(self._unsent)
        except self._blocked:
            return False
        except OSError:
            # The reason, perhaps even an answer, is still to be read.
            self._unsent = b""
            return False
        self._unsent = memoryview(self._unsent)[sent:] if sent < len(self._unsent) else b""
        return True

    def _receive(self) -> bool:
        connection = self.connection
        if connection.lost:
            return False
        try:
            data = self._socket.recv(_CHUNK)
        except self._blocked:
            return False
        except OSError as error:
            connection.connection_lost(
                f"the connection to {self._target.text} broke: {error.strerror or error}"
            )
            return True
        if not data:
            connection.connection_lost(f"{self._target.text} closed the connection")
            return True
        connection.receive(data)
        if connection.failed is not None:
            self._send()
        return True

    def close(self) -> None:
        """Say what is left to say, and hang up."""
        connection = self.connection
        if not connection.lost:
            self._send()
            connection.connection_lost("the channel was closed")
        self._socket.close()
