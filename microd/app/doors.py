"""The doors that the settings ask for, built as listeners: who stands at each gate, and what is behind it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.endpoints import serverFromString

from microd import __version__
from microd.app.limits import nats_limits
from microd.app.settings import TABLE, Nats, Settings
from microd.app.sources import BadSettings
from microd.app.values import endpoint_string, is_local
from microd.gateways.api import limits as api_limits
from microd.gateways.api.blocklist import Blocklist
from microd.gateways.api.gateway import Gateway
from microd.gateways.core import status_name
from microd.gateways.door import Door
from microd.gateways.endings import Endings
from microd.gateways.gate import Gate
from microd.gateways.listen import CannotListen, Listener
from microd.gateways.nats.door import NatsDoor, Room, Tls
from microd.gateways.nats.tls import server_options
from microd.gateways.ops.pages import OpsSite
from microd.gateways.tally import Tally
from microd.kernel.endpoint import Endpoint
from microd.kernel.health import Figures, Reason
from microd.services.auth.service import Auth
from microd.services.broker.service import Broker
from microd.services.events.interface import IEvents
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.txgrpc import Limits
from microd.txgrpc.endpoints import server_endpoint
from microd.txgrpc.health import SERVICE as HEALTH
from microd.txgrpc.health import SERVING, Health
from microd.txgrpc.reflection import Reflection, service_names
from microd.wire._pool import POOL

#: How the addresses begin whose listeners do TLS by themselves.
_TLS = ("tls:", "ssl:")


@dataclass(frozen=True, slots=True)
class Doors:
    """Builds the doors.

    @ivar endpoints: what core services offer.
    @ivar unlisted: what they offer besides, and the registry does not list.
    @ivar reasons: why the daemon may not be ready, for the ops door; filled by others.
    @ivar figures: what the ops door shows; each door adds its own.
    """

    settings: Settings
    reactor: Any
    auth: Auth
    registry: Registry
    router: Router
    dialer: Dialer
    blocklist: Blocklist
    broker: Broker
    events: IEvents | None
    endpoints: Sequence[Endpoint]
    unlisted: Sequence[Endpoint]
    reasons: Mapping[str, Reason]
    figures: list[Figures]

    def listeners(self, chosen: Collection[str]) -> Mapping[str, Listener]:
        """A listener for each door that was chosen.

        @raise BadSettings: a door may not be as the settings have it.
        @raise CannotListen: an address is none.
        """
        builders = {"network": self._network, "proxy": self._proxy, "api": self._api}
        if self.settings.nats.address:
            builders["nats"] = self._nats
        if self.settings.ops.address:
            builders["ops"] = self._ops
        return {name: build() for name, build in builders.items() if name in chosen}

    def _network(self) -> Listener:
        wanted = self.settings.network
        return self._grpc("network", wanted.address, wanted.max_message, Gate(self.auth, services_door=True))

    def _proxy(self) -> Listener:
        wanted = self.settings.proxy
        return self._grpc("proxy", wanted.address, wanted.max_message, Gate(self.auth))

    def _grpc(self, name: str, address: str, max_message: int, gate: Gate) -> Listener:
        paths = [endpoint.path for endpoint in self.endpoints]
        health = Health()
        reflection = Reflection(lambda: {*service_names(paths), HEALTH}, [POOL])
        for service in service_names(paths):
            health.set(service, SERVING)
        server = Door(
            [*self.endpoints, *self.unlisted],
            gate,
            self.router,
            self.dialer,
            clock=self.reactor,
            limits=Limits(max_message=max_message),
            extra={**health.methods(), **reflection.methods()},
            tally=self._tally(name, status_name),
        )
        self.figures.append(server.figures)
        self._end_with_rights(server.endings)

        async def drain(timeout: float) -> None:
            health.close()
            await server.drain(timeout)

        return self._listener(name, server_endpoint, server, address, drain)

    def _api(self) -> Listener:
        wanted = self.settings.api
        gateway = Gateway(
            self.reactor,
            Gate(self.blocklist.guard(self.auth)),
            self.router,
            self.dialer,
            self.registry,
            [*self.endpoints, *self.unlisted],
            version=__version__,
            cors=wanted.enable_cors,
            limits=api_limits.Limits(body=wanted.max_body, call=wanted.timeout),
            tally=self._tally("api", str),
        )
        self.figures.append(gateway.figures)
        self._end_with_rights(gateway.endings)
        self.blocklist.on_listed(gateway.endings.changed)
        return self._listener("api", serverFromString, gateway.server, wanted.address, gateway.drain)

    def _nats(self) -> Listener:
        wanted = self.settings.nats
        secure = wanted.address.startswith(_TLS)
        door = NatsDoor(
            self.auth,
            self.broker,
            self.reactor,
            limits=nats_limits(wanted, self.settings.broker),
            room=Room(wanted.max_connections, wanted.max_namespace_connections),
            tls=_nats_tls(wanted),
            events=self.events,
            secure=secure,
            stay=wanted.lame_duck,
            every=self.settings.daemon.access_log,
        )
        self.figures.append(door.figures)
        self.auth.on_revoked(door.revoked)
        self.auth.on_ruled(door.ruled)
        return self._listener("nats", serverFromString, door, wanted.address, door.drain, "tls://")

    def _end_with_rights(self, endings: Endings) -> None:
        """Have a door's streams end once whoever made them may make them no more."""
        self.auth.on_revoked(endings.revoked)
        self.auth.on_ruled(endings.ruled)

    def _tally(self, door: str, name_of: Callable[[int], str]) -> Tally:
        return Tally(door, self.reactor.seconds, name_of, every=self.settings.daemon.access_log)

    def _ops(self) -> Listener:
        wanted = self.settings.ops
        if not wanted.token and not is_local(wanted.address):
            raise BadSettings(
                f"ops.address: {wanted.address} is beyond loopback, so ops.token must be set: "
                "what tools are to show to read the metrics"
            )
        site = OpsSite(self.reactor, self.reasons, self.figures, wanted.token)
        return self._listener("ops", serverFromString, site, wanted.address, _at_once)

    def _listener(
        self, name: str, parse: Any, factory: Any, address: str, drain: Any, secure: str = "https://"
    ) -> Listener:
        row = TABLE[f"{name}.address"]
        remedy = f"choose another address with --{row.option}, {row.env} or address in [{name}] of the settings file"
        try:
            endpoint = parse(self.reactor, endpoint_string(address))
        except Exception as problem:
            # Each kind of endpoint has its own errors: a missing key file, a word it does not know.
            reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            file = getattr(problem, "filename", None)
            said = f"{file}: {reason}" if file else reason
            raise CannotListen(f"{name} cannot listen on {address}: {said}; {remedy}") from problem
        return Listener(
            name,
            endpoint,
            factory,
            wanted=address,
            remedy=remedy,
            drain=partial(drain, self.settings.daemon.drain),
            secure=secure,
        )


def _nats_tls(wanted: Nats) -> Tls | None:
    """How the door for NATS turns to TLS; None where it does not.

    @raise BadSettings: it cannot.
    """
    if not wanted.tls_cert:
        for name in ("tls_key", "tls_ca"):
            if getattr(wanted, name):
                raise BadSettings(
                    f"nats.{name}: it is for the certificate in nats.tls_cert, which is not set"
                )
        return None
    if wanted.address.startswith(_TLS):
        raise BadSettings(f"nats.tls_cert: the address {wanted.address} has a certificate of its own")
    try:
        options = server_options(wanted.tls_cert, wanted.tls_key or wanted.tls_cert, wanted.tls_ca)
    except ValueError as problem:
        raise BadSettings(f"nats.tls_cert, nats.tls_key, nats.tls_ca: {problem}") from problem
    return Tls(options, required=wanted.tls_required, verify=bool(wanted.tls_ca))


async def _at_once(_: float) -> None:
    """There is nothing to drain."""
