"""The door for clients of NATS: who may come in, who has to go, and how many there are.

::

    accepted ──INFO, TLS──▶ stranger ──CONNECT──▶ known ──▶ gone
                 │              │                   ├─ tokens void: 'User Authentication Revoked'
                 │              │                   ├─ token ended: 'User Authentication Expired'
                 │              │                   └─ the daemon stops: INFO with ldm, then closed, a few at a time
                 │              └─ no good: 'Authorization Violation'; too slow: 'Authentication Timeout'
                 └─ too many: 'maximum connections exceeded'

No connection costs a timer here: those whose token ends are looked at together, when the first of them does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from microd.gateways.nats.chores import Chores
from microd.gateways.nats.connection import FULL, NatsConnection, Refusal
from microd.gateways.nats.credentials import Accounts, Identity, identify, rights
from microd.gateways.nats.info import Info
from microd.gateways.nats.leaving import Leaving
from microd.gateways.nats.model import Admitted, Connect, Limits
from microd.gateways.nats.roll import Roll
from microd.gateways.nats.session import Exchange
from microd.gateways.nats.strangers import Strangers
from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import Forbidden, MicroError
from microd.kernel.health import Figure, Sample, counter, gauge
from microd.services.broker.service import Broker
from microd.services.events.interface import IEvents

REVOKED = "User Authentication Revoked"
EXPIRED = "User Authentication Expired"


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections there may be.

    @ivar all: together.
    @ivar namespace: of one namespace's accounts.
    @ivar strangers: of which it is not known yet whose they are.
    """

    all: int = 65_536
    namespace: int = 16_384
    strangers: int = 1024


@dataclass(frozen=True, slots=True)
class Tls:
    """How the door turns to TLS behind its INFO.

    @ivar options: a context factory of pyOpenSSL's.
    @ivar required: nobody comes in without.
    @ivar verify: clients show a certificate.
    """

    options: Any
    required: bool = True
    verify: bool = False


class NatsDoor(ServerFactory):
    """Makes connections, and knows whose they are.

    @param secure: the listener does TLS by itself, before INFO.
    @param stay: seconds for which connections may stay when the daemon stops.
    @param every: log who comes in and who does not.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        accounts: Accounts,
        broker: Broker,
        clock: IReactorTime,
        *,
        limits: Limits | None = None,
        room: Room | None = None,
        tls: Tls | None = None,
        secure: bool = False,
        events: IEvents | None = None,
        stay: float = 20.0,
        every: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self.exchange = Exchange(broker)
        self.events = events
        self.tls = tls
        self.clock = clock
        self.room = room or Room()
        self.leaving = False
        self.accepted = 0
        self.refused = {"credentials": 0, "full": 0}
        mode = "required" if secure or (tls is not None and tls.required) else "available" if tls else ""
        self.info = Info(self.limits.payload, tls=mode, verify=tls is not None and tls.verify)
        self._accounts = accounts
        self._stay = stay
        self._every = every
        self._numbers = count(1)
        self._connections: dict[NatsConnection, None] = {}
        self._roll: Roll[NatsConnection] = Roll(clock, partial(self._close, text=EXPIRED))
        self._strangers: Strangers[NatsConnection] = Strangers(self.room.strangers)
        self._chores = Chores(clock)
        self._emptied: Deferred[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A client has connected."""
        number = next(self._numbers)
        if len(self._connections) >= self.room.all:
            self.refused["full"] += 1
            return Refusal(self, number)
        return NatsConnection(self, number)

    def figures(self) -> Iterator[Figure]:
        """Who is there, who was refused, and what they sent."""
        yield gauge("microd_connections", "Clients that are connected.", self.connections, door="nats")
        strangers = "Clients of NATS that have not said yet who they are."
        yield gauge("microd_nats_strangers", strangers, len(self._strangers))
        yield Figure(
            "microd_nats_connections_total",
            "Clients of NATS that came in, or were refused.",
            "counter",
            [({"outcome": "accepted"}, self.accepted), *self._refusals()],
        )
        counts = self.exchange.counts
        yield gauge("microd_nats_subscriptions", "Subscriptions of clients of NATS.", counts.subscriptions)
        messages: list[Sample] = [
            ({"direction": "in"}, counts.in_messages),
            ({"direction": "out"}, counts.out_messages),
        ]
        yield Figure(
            "microd_nats_messages_total", "Messages from and to clients of NATS.", "counter", messages
        )
        size: list[Sample] = [
            ({"direction": "in"}, counts.in_bytes),
            ({"direction": "out"}, counts.out_bytes),
        ]
        yield Figure("microd_nats_bytes_total", "What they took.", "counter", size)
        lost = "Messages lost because a client of NATS was too slow."
        yield counter("microd_nats_dropped_total", lost, counts.lost)
        yield counter(
            "microd_nats_slow_total", "Clients of NATS cut off because they were too slow.", counts.slow
        )

    # -- what auth tells

    def revoked(self, namespace: str, id: str) -> None:
        """Whatever was issued to an account is void."""
        self._close(self._roll.of_account(namespace, id), REVOKED)

    def ruled(self, namespace: str) -> None:
        """The rules of a namespace have changed; the platform's are those for the broker."""
        if namespace == DEFAULT_NAMESPACE:
            self._chores.add(partial(self._ask_again, each) for each in self._roll)

    # -- what connections tell

    def came(self, connection: NatsConnection) -> None:
        """Somebody has connected."""
        self._connections[connection] = None
        eldest = self._strangers.add(connection.host, connection)
        if eldest is not None:
            self.refused["full"] += 1
            eldest.session.close(FULL)

    async def admit(self, connection: NatsConnection, connect: Connect) -> Admitted:
        """Let somebody in, who shows what a CONNECT has in it.

        @raise MicroError: they may not come in.
        """
        try:
            identity = await identify(self._accounts, connect, connection.session.peer)
            self._require_room(identity.account)
        except MicroError as error:
            self.refused["credentials"] += 1
            if self._every:
                self.log.info(
                    "{peer} may not come in: {reason}", peer=connection.session.peer, reason=error.detail
                )
            raise
        return self._let_in(connection, identity)

    def ended(self, connection: NatsConnection) -> None:
        """A connection's session takes nothing any more."""
        self._strangers.discard(connection.host, connection)
        self._roll.discard(connection)

    def gone(self, connection: NatsConnection) -> None:
        """A connection is closed."""
        self._connections.pop(connection, None)
        if not self._connections and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    # -- the end

    async def drain(self, timeout: float) -> None:
        """Tell clients to go elsewhere, and close all connections within C{timeout} seconds."""
        self.leaving = True
        if self._connections:
            self._emptied = emptied = Deferred[None]()
            late = self.clock.callLater(timeout, self._cut)
            known = [each.session for each in self._roll]
            leaving = Leaving(self.clock, known, min(timeout, self._stay))
            leaving.begin()
            # They have nothing to wait for; one in the middle of a TLS handshake would take its time.
            self._chores.add(each.session.abort for each in self._strangers)
            await emptied
            leaving.stop()
            if late.active():
                late.cancel()
        self._chores.stop()
        self._roll.stop()

    # -- the rest

    def _refusals(self) -> list[Sample]:
        return [({"outcome": f"refused_{reason}"}, number) for reason, number in self.refused.items()]

    def _require_room(self, account: Account) -> None:
        namespace = account.issuer
        if self._roll.of_namespace(namespace) >= self.room.namespace:
            self.log.warn(
                "{namespace} has {count} connections of NATS, and may have no more (nats.max_namespace_connections)",
                namespace=namespace,
                count=self.room.namespace,
            )
            raise Forbidden("maximum account active connections exceeded")

    def _let_in(self, connection: NatsConnection, identity: Identity) -> Admitted:
        self._strangers.discard(connection.host, connection)
        account = identity.account
        self._roll.add(connection, identity)
        self.accepted += 1
        if self._every:
            peer = connection.session.peer
            self.log.info(
                "{peer} came in as {id} of {namespace}", peer=peer, id=account.id, namespace=account.issuer
            )
        return Admitted(account, *rights(self._accounts, account))

    def _close(self, connections: Iterable[NatsConnection], text: str) -> None:
        self._chores.add(partial(each.session.close, text) for each in list(connections))

    def _ask_again(self, connection: NatsConnection) -> None:
        account = self._roll.account(connection)
        if account is not None:
            found = rights(self._accounts, account)
            connection.session.permit(**found._asdict())

    def _cut(self) -> None:
        for each in list(self._connections):
            each.session.abort()
