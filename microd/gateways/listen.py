"""A listener with a name, whose failure tells what to change."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint


class CannotListen(Exception):
    """A listener could not be bound; the sentence names it, its address and the setting."""


class Listener(Service):
    """Binds a factory to an endpoint, and drains it before it lets go.

    Started, it is bound, so that a taken address is found out before anything else is begun; whoever connects waits in
    the kernel's queue. It takes them in from the start of its L{opening} on, until that is stopped.

    @param name: what the operator calls it, such as C{api}.
    @param wanted: the address as it was configured.
    @param remedy: how to change it.
    @param drain: finishes what is in flight; called once nothing new is accepted.
    @param secure: how addresses begin where it does TLS, for who is told of them.
    """

    def __init__(
        self,
        name: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        *,
        wanted: str,
        remedy: str,
        drain: Callable[[], Awaitable[object]],
        secure: str = "https://",
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._factory = factory
        self._wanted = wanted
        self._remedy = remedy
        self._drain = drain
        self._secure = secure
        # A listening port of Twisted's, which IListeningPort does not quite describe: it can pause.
        self._port: Any = None
        self._opened = False

    def ill(self) -> str | None:
        """Why nobody can come in who should (a L{microd.kernel.health.Reason}); before and after it is open, nobody should."""
        if self._opened and (self._port is None or not self._port.connected):
            return f"the listener on {self._wanted} is lost: restart the daemon"
        return None

    @property
    def address(self) -> str:
        """Where it listens now: C{host:port}, or C{unix:path}."""
        if self._port is None:
            return self._wanted
        bound = self._port.getHost()
        if isinstance(bound, IPv4Address):
            return f"{bound.host}:{bound.port}"
        if isinstance(bound, IPv6Address):
            return f"[{bound.host}]:{bound.port}"
        if isinstance(bound, UNIXAddress):
            return f"unix:{os.path.abspath(os.fsdecode(bound.name or b''))}"
        return self._wanted

    @property
    def reachable(self) -> str:
        """The address for callers on this host: loopback where it listens on every interface; C{https://}, or as above, with TLS."""
        scheme = self._secure if self._wanted.startswith(("tls:", "ssl:")) else ""
        return scheme + self.address.replace("0.0.0.0:", "127.0.0.1:", 1).replace("[::]:", "[::1]:", 1)

    @property
    def opening(self) -> Service:
        """The part of the daemon whose start opens the door, and whose stop drains and closes it."""
        return _Opening(self)

    def startService(self) -> Deferred[None]:
        """Bind, and take nobody in yet.

        @raise CannotListen: the address is taken, not ours, or not allowed.
        """
        super().startService()
        return Deferred.fromCoroutine(self._bind())

    def stopService(self) -> Deferred[None]:
        """Let go, of a door that never opened too."""
        super().stopService()
        return Deferred.fromCoroutine(self._let_go())

    def open(self) -> None:
        """Take in whoever connects, those who already wait first."""
        if self._port is not None:
            self._port.startReading()
            self._opened = True

    async def close(self) -> None:
        """Accept nothing more, then finish what is in flight."""
        await self._let_go()
        await self._drain()

    async def _bind(self) -> None:
        try:
            self._port = await self._endpoint.listen(self._factory)
            self._port.stopReading()
        except CannotListenError as problem:
            reason = getattr(problem.socketError, "strerror", None) or str(problem.socketError)
            raise CannotListen(
                f"{self.name} cannot listen on {self._wanted}: {reason}; {self._remedy}"
            ) from problem
        except OSError as problem:
            raise CannotListen(
                f"{self.name} cannot listen on {self._wanted}: {problem.strerror}; {self._remedy}"
            ) from problem

    async def _let_go(self) -> None:
        self._opened = False
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)


class _Opening(Service):
    """An open door."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def startService(self) -> None:
        super().startService()
        self._listener.open()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._listener.close())
