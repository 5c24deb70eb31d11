"""Sessions of NATS over memory, on one broker: everybody is let in."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.session import Exchange, Session
from microd.kernel.caller import Account
from microd.services.broker.model import Limits as BrokerLimits
from microd.services.broker.service import Broker
from microd.services.events.interface import IEvents
from microd.testing.nats_peer import NatsPeer, NatsTransport


class MemoryDoor:
    """A door without a listener and without accounts.

    @ivar sessions: the connections which it has.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        broker: BrokerLimits | None = None,
        clock: Clock | None = None,
        events: IEvents | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.limits = limits or Limits()
        self.broker = Broker(broker)
        self.exchange = Exchange(self.broker)
        self.events = events
        self.sessions: set[Session] = set()

    def peer(self, user: str = "ada", namespace: str = "micro") -> NatsPeer:
        """A client which is connected, and will be known by this name once it has said CONNECT."""
        account = Account(user, "user", namespace)

        async def admit(said: Connect) -> Admitted:
            return Admitted(account)

        session = Session(
            self.exchange,
            self.limits,
            self.clock,
            info=lambda: b"{}",
            authenticate=admit,
            ended=self.sessions.discard,
            events=self.events,
        )
        self.sessions.add(session)
        return NatsPeer(_Wire(session), self.clock)


class _Wire:
    """A session as a peer holds it: like a protocol of Twisted's; see L{microd.testing.nats_peer.Wire}."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def makeConnection(self, transport: NatsTransport) -> None:
        self._session.connected(transport, "memory")

    def dataReceived(self, data: bytes) -> None:
        self._session.data_received(data)

    def connectionLost(self, reason: Failure) -> None:
        self._session.lost()
