"""The health service (C{grpc.health.v1}): what a server says when it is asked how it is.

A server merges L{Health.methods} into its own::

    health = Health()
    health.set("greeter.Greeter", SERVING)
    GrpcServer({**methods, **health.methods()}, clock=reactor)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from twisted.internet.defer import Deferred

from microd.txgrpc.call import ServerCall
from microd.txgrpc.method import Method
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.wire.health_pb2 import HealthCheckRequest, HealthCheckResponse

Status = HealthCheckResponse.ServingStatus
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN

SERVICE = "grpc.health.v1.Health"
#: The name that stands for the server as a whole.
WHOLE = ""


class Health:
    """The statuses of a server's services, and who watches them; the server as a whole begins as SERVING."""

    def __init__(self) -> None:
        self._statuses: dict[str, Status] = {WHOLE: SERVING}
        self._waiting: dict[str, set[Deferred[None]]] = {}
        self._closing = False

    def set(self, service: str, status: Status) -> None:
        """Say how a service is from now on; without effect once the server is closing."""
        if not self._closing:
            self._note(service, status)

    def close(self) -> None:
        """Say NOT_SERVING of everything, for good: the server is going away."""
        self._closing = True
        for service in self._statuses:
            self._note(service, NOT_SERVING)

    @property
    def watchers(self) -> int:
        """How many calls wait for a change."""
        return sum(map(len, self._waiting.values()))

    def methods(self) -> Mapping[str, Method]:
        """What a server adds to its methods to answer for its health."""
        codec = (HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString)
        return {
            f"/{SERVICE}/Check": Method("unary_unary", self._check, *codec),
            f"/{SERVICE}/Watch": Method("unary_stream", self._watch, *codec, endless=True),
        }

    def _note(self, service: str, status: Status) -> None:
        self._statuses[service] = status
        for waiting in self._waiting.pop(service, ()):
            waiting.callback(None)

    async def _check(self, request: HealthCheckRequest, call: ServerCall) -> HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            raise RpcError(StatusCode.NOT_FOUND, f"unknown service {request.service}")
        return HealthCheckResponse(status=status)

    async def _watch(
        self, request: HealthCheckRequest, call: ServerCall
    ) -> AsyncIterator[HealthCheckResponse]:
        told: Status | None = None
        while True:
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != told:
                # A reader who is slow misses what was true only meanwhile, never what is true.
                told = status
                yield HealthCheckResponse(status=status)
            else:
                await self._change(request.service)

    async def _change(self, service: str) -> None:
        changed: Deferred[None] = Deferred()
        self._waiting.setdefault(service, set()).add(changed)
        try:
            await changed
        finally:
            left = self._waiting.get(service)
            if left is not None:
                left.discard(changed)
                if not left:
                    del self._waiting[service]
