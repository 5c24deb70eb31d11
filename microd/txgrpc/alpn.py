"""TLS around an endpoint, where the two sides must agree on HTTP/2 (ALPN, RFC 7301) before anything else happens.

Twisted's own TLS endpoints hand over a protocol before the handshake, so that a certificate which does not verify looks like a
connection that was lost later. Here a protocol is only made once the handshake is done and C{h2} was chosen; a client's attempt that
does not get there is a failed connect, and nothing had been sent.
"""

from __future__ import annotations

from typing import Any

from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

H2 = b"h2"
#: Seconds that a client may take to finish the handshake before a server hangs up.
HANDSHAKE_TIMEOUT = 10.0


class HandshakeFailed(ConnectError):
    """The TLS handshake did not end in a connection that can be used"""


@implementer(IHandshakeListener)
class _Doorman(Protocol):
    """Stands in for the real protocol until the handshake is done, then gives it its place."""

    _real: IProtocol | None = None
    _patience: IDelayedCall | None = None

    def __init__(self, factory: _Doormen) -> None:
        self._factory = factory

    def connectionMade(self) -> None:
        self._patience = self._factory.clock.callLater(self._factory.timeout, self._too_slow)

    def handshakeCompleted(self) -> None:
        self._stop_waiting()
        tls: Any = self.transport
        chosen = tls.negotiatedProtocol
        if chosen != H2:
            said = chosen.decode("ascii", "replace") if chosen else "nothing"
            self._give_up(
                Failure(HandshakeFailed(string=f"HTTP/2 is wanted; the TLS peer chose {said} (ALPN)"))
            )
            return
        real = self._factory.real.buildProtocol(tls.getPeer())
        if real is None:
            tls.abortConnection()
            return
        tls.wrappedProtocol = real
        real.makeConnection(tls)
        self._factory.made(real)

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:  # noqa: B008 - Twisted's own default
        self._stop_waiting()
        said = sentence(reason.value) if reason.value else "no reason was given"
        self._factory.failed(Failure(HandshakeFailed(string=f"the TLS handshake failed: {said}")))

    def _too_slow(self) -> None:
        self._patience = None
        self._give_up(Failure(HandshakeFailed(string="the TLS handshake took too long")))

    def _give_up(self, reason: Failure) -> None:
        self._factory.failed(reason)
        transport: Any = self.transport
        transport.abortConnection()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _Doormen(Factory):
    """Makes a doorman for each connection; tells C{outcome}, if there is one, what became of the first."""

    noisy = False

    def __init__(
        self,
        real: IProtocolFactory,
        clock: IReactorTime,
        timeout: float,
        outcome: Deferred[IProtocol] | None = None,
    ) -> None:
        self.real = real
        self.clock = clock
        self.timeout = timeout
        self._outcome = outcome

    def buildProtocol(self, addr: IAddress | None) -> _Doorman:
        return _Doorman(self)

    def doStart(self) -> None:
        self.real.doStart()

    def doStop(self) -> None:
        self.real.doStop()

    def made(self, protocol: IProtocol) -> None:
        """The real protocol has its place."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome.callback(protocol)

    def failed(self, reason: Failure) -> None:
        """There will be no real protocol."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            outcome.errback(reason)


def sentence(error: BaseException) -> str:
    """What went wrong: OpenSSL tells it in lists, service_identity in objects, Twisted in docstrings."""
    if isinstance(error, VerificationError):
        return "the server's certificate is not for the name that was called"
    reasons = error.args[0] if error.args else None
    if isinstance(reasons, list):
        return "; ".join(str(each[-1]) for each in reasons if each) or type(error).__name__
    return str(error) or type(error).__name__


@implementer(IStreamServerEndpoint)
class TlsServerEndpoint:
    """Listens for TLS connections which choose HTTP/2; others are hung up on."""

    def __init__(self, plain: IStreamServerEndpoint, options: Any, clock: IReactorTime) -> None:
        self._plain = plain
        self._options = options
        self._clock = clock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        doormen = _Doormen(protocolFactory, self._clock, HANDSHAKE_TIMEOUT)
        return self._plain.listen(TLSMemoryBIOFactory(self._options, False, doormen, self._clock))


@implementer(IStreamClientEndpoint)
class TlsClientEndpoint:
    """Connects, verifies the server, agrees on HTTP/2; only then there is a protocol."""

    def __init__(
        self, plain: IStreamClientEndpoint, options: Any, clock: IReactorTime, timeout: float
    ) -> None:
        self._plain = plain
        self._options = options
        self._clock = clock
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        tls: list[Any] = []

        def give_up(_: object) -> None:
            connecting.cancel()
            for connection in tls:
                connection.abortConnection()

        outcome: Deferred[IProtocol] = Deferred(give_up)
        doormen = _Doormen(protocolFactory, self._clock, self._timeout, outcome)
        connecting = self._plain.connect(TLSMemoryBIOFactory(self._options, True, doormen, self._clock))
        connecting.addCallbacks(tls.append, doormen.failed)
        return outcome
