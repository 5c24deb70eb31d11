"""A gRPC door: core endpoints answered in this process, everything else relayed; one factory, several policies.

::

    request ──▶ a core path? ──yes──▶ gate ──▶ the core service
                    └──no──▶ gate ──▶ router ──▶ relay ──▶ node
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from microd.gateways.core import caller_of, core_methods, status_name
from microd.gateways.endings import Endings, Lasting
from microd.gateways.gate import Gate
from microd.gateways.proxy.relay import Relayed
from microd.gateways.proxy.verdicts import no_route
from microd.gateways.proxy.way import Way, way_of
from microd.gateways.refusals import is_ours, rpc_error
from microd.gateways.tally import Ended, Tally
from microd.kernel import trace
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Internal, MicroError
from microd.kernel.health import Figure, gauge
from microd.services.network.dialer import Dialer
from microd.services.registry.model import Node
from microd.txgrpc import GrpcServer, Limits, Method, RpcError, StatusCode, replies
from microd.txgrpc.call import ServerCall
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.protocol import Refusal, ServerProtocol
from microd.txgrpc.stream import Stream


class Routes(Protocol):
    """The part of the router which doors ask."""

    def nodes(self, namespace: str, service: str) -> Sequence[Node]:
        """The nodes of a service, the best first."""


class Door(GrpcServer):
    """Serves core endpoints, and relays calls to all other services.

    @param extra: more methods of txgrpc, such as health and reflection; they are open to everybody, and not counted.
    @param tally: counts all others.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        gate: Gate,
        routes: Routes,
        dialer: Dialer,
        *,
        clock: IReactorTime,
        limits: Limits | None = None,
        extra: Mapping[str, Method] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.tally = tally = tally or Tally("grpc", clock.seconds, status_name)
        endpoints = list(endpoints)
        core = core_methods(endpoints, gate, tally)
        super().__init__({**(extra or {}), **core}, clock=clock, limits=limits or Limits())
        self.gate = gate
        self.routes = routes
        self.dialer = dialer
        self.structs = frozenset(path.split("/")[1] for path in core)
        self.services = frozenset(struct.rpartition(".")[0] for struct in self.structs)
        self._streams = {
            each.path: each for each in endpoints if each.server_streaming or each.client_streaming
        }
        self.endings = Endings(clock, gate, self._lasting)

    def figures(self) -> Iterator[Figure]:
        """What was asked, and what is being asked."""
        door = self.tally.door
        yield from self.tally.figures()
        yield gauge("microd_connections", "Clients that are connected.", self.connections, door=door)
        yield gauge(
            "microd_requests_in_flight", "Requests that are being answered.", self.in_flight, door=door
        )

    async def drain(self, timeout: float) -> None:
        """Take no new calls, let those in flight finish, close."""
        await super().drain(timeout)
        self.endings.stop()

    def _lasting(self) -> Iterator[Lasting]:
        """The calls which were let in and go on."""
        for protocol in self._protocols:
            for call in protocol.connection.streams.values():
                if type(call) is Relayed:
                    way = call.way
                    yield Lasting(call.account, call.namespace, way.service, way.endpoint, False, call.end)
                elif type(call) is ServerCall and not call.cancelled:
                    endpoint, caller = self._streams.get(call.path), caller_of(call)
                    if endpoint is not None and caller is not None:
                        end = partial(_end, call)
                        names = endpoint.service, endpoint.name
                        yield Lasting(caller.account, caller.namespace, *names, True, end)

    def buildProtocol(self, addr: IAddress) -> ServerProtocol:
        """A client has connected."""
        return DoorProtocol(self)


class DoorProtocol(ServerProtocol):
    """A client's connection to a door."""

    #: Distinct header blocks whose way is remembered, and how long each may be.
    most_ways, longest_way = 64, 4096

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._door = door
        self._ways: dict[RequestHead, Way] = {}

    def _fall_back(self, head: RequestHead) -> Stream:
        defect: Failure | None = None
        try:
            return self._relayed(head)
        except RpcError as error:
            refusal = error
        except MicroError as error:
            refusal = rpc_error(error)
        except Exception as error:  # noqa: BLE001 - the edge
            defect = Failure(error)
            refusal = rpc_error(Internal(f"{type(error).__name__}: {error}", "proxy"))
        self._refused(head, refusal, defect)
        block = replies.failure(head, refusal.code, refusal.message, refusal.details)
        return Refusal(self.connection, block)

    def _refused(self, head: RequestHead, refusal: RpcError, defect: Failure | None) -> None:
        """Count a call that goes nowhere; there may be no such service, so its name is for the log only."""
        tally = self._door.tally
        path = head.path[1:].partition("/")
        service = path[0].rpartition(".")[0]
        took = tally.count(tally.known(service), refusal.code, self.arrived)
        ours = is_ours(refusal.code, refusal.message)
        if not ours and not tally.every:
            return
        known = trace.read(head.metadata)
        name = status_name(refusal.code)
        id = known.id if known else ""
        ended = Ended(id, service, path[2], None, "", name, took, refusal.message)
        tally.say(ended, LogLevel.warn if ours else LogLevel.info, defect)

    def _relayed(self, head: RequestHead) -> Stream:
        door = self._door
        way = self._ways.get(head) or self._way(head)
        account, namespace = door.gate.check(head.metadata, way.service, way.endpoint, peer=self.peer)
        nodes = door.routes.nodes(namespace, way.service)
        if not nodes:
            raise no_route(way.service)
        row = way.row
        if row is None:
            row = way.row = door.tally.row(way.service)
        return Relayed(self, head, way, namespace, nodes, door.dialer, door.tally, row, account)

    def _way(self, head: RequestHead) -> Way:
        way = way_of(head)
        if way.service in self._door.services:
            struct = head.path.split("/")[1]
            unknown = way.endpoint if struct in self._door.structs else way.endpoint.partition(".")[0]
            raise RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {unknown}")
        if sum(len(name) + len(value) for name, value in head.fields) <= self.longest_way:
            if len(self._ways) >= self.most_ways:
                self._ways.clear()
            self._ways[head] = way
        return way


def _end(call: ServerCall, error: MicroError) -> bool:
    call.refuse(rpc_error(error))
    return True
