"""C{/<service>.Debug/...} of the platform's own services: spec 6.9 and Appendix A."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Unauthorized
from microd.kernel.health import Reason
from microd.kernel.recent import metadata_of
from microd.services.debug.service import Debug
from microd.wire import debug_pb2 as pb

#: What a service says which is well.
WELL = "ok"


def endpoints(debug: Debug, reasons: Callable[[str], Iterable[Reason]]) -> list[Endpoint]:
    """What each of the core services answers about itself. None of it is listed among its endpoints.

    @param reasons: what may keep a service, by name, from its work.
    """
    return [each for name in debug.activities for each in _of(name, DebugWire(name, debug, reasons))]


def _of(name: str, wire: DebugWire) -> list[Endpoint]:
    path = f"/{name}.Debug/"
    return [
        Endpoint(path + "Health", pb.HealthRequest, pb.HealthResponse, wire.health),
        Endpoint(path + "Stats", pb.StatsRequest, pb.StatsResponse, wire.stats),
        Endpoint(path + "Log", pb.LogRequest, pb.LogResponse, wire.log),
        Endpoint(path + "Trace", pb.TraceRequest, pb.TraceResponse, wire.trace),
    ]


class DebugWire:
    """Answers for one service."""

    def __init__(self, name: str, debug: Debug, reasons: Callable[[str], Iterable[Reason]]) -> None:
        self._name = name
        self._debug = debug
        self._reasons = reasons

    async def health(self, request: pb.HealthRequest, caller: Caller) -> pb.HealthResponse:
        """Whether the service can do its work: ok, or what is wrong."""
        wrong = [said for reason in self._reasons(self._name) if (said := reason())]
        if wrong and caller.account is None:
            # Which disk it is is nothing to strangers.
            wrong = ["not well; its accounts are told more"]
        return pb.HealthResponse(status="; ".join(wrong) or WELL)

    async def stats(self, request: pb.StatsRequest, caller: Caller) -> pb.StatsResponse:
        """What the daemon takes, and how much was asked of the service since the daemon's start."""
        if caller.account is None:
            raise Unauthorized("an account is required")
        return pb.StatsResponse(**self._debug.statistics(self._name)._asdict())

    async def log(self, request: pb.LogRequest, caller: Caller) -> pb.LogResponse:
        """The last lines of the daemon's log which concern the service."""
        require_admin(caller, DEFAULT_NAMESPACE)
        if request.count < 0 or request.since < 0:
            raise BadRequest("count and since must not be negative; 0 means no limit")
        records = self._debug.log(self._name, request.count, request.since)
        return pb.LogResponse(
            records=[
                pb.Record(timestamp=int(each.time), metadata=metadata_of(each), message=each.message)
                for each in records
            ]
        )

    async def trace(self, request: pb.TraceRequest, caller: Caller) -> pb.TraceResponse:
        """The last calls which the service answered."""
        require_admin(caller, DEFAULT_NAMESPACE)
        spans = self._debug.activities[self._name].spans(request.id)
        return pb.TraceResponse(spans=[pb.Span(**each._asdict()) for each in spans])
