"""What every service answers besides its own endpoints: how it is, what it was asked, and what it said.

C{/<service>.Debug/Health} and C{Stats} answer everybody who reaches the node; C{Log} and C{Trace} show what others asked for, so
they answer the admins and services of the service's namespace, as the log of the runtime does (spec micro-v3-server 6.9).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.logger import Logger

from microd.framework import naming
from microd.framework.answering import Answering
from microd.framework.bridge import Bridge, NoBridge
from microd.framework.context import Call
from microd.framework.handlers import Handler, Style
from microd.framework.schema.codec import codec_of
from microd.framework.service import Check
from microd.framework.workers import Workers
from microd.kernel.access import require_admin
from microd.kernel.activity import Activity
from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest
from microd.kernel.recent import Recent, metadata_of
from microd.kernel.vitals import Vitals
from microd.txgrpc import Method
from microd.wire import debug_pb2 as pb

#: What a service says which is well.
WELL = "ok"


class Debug:
    """The four answers.

    @param checks: the author's own; each is asked whenever somebody asks how the service is.
    @param namespace: whose admins and services may read the log and the spans.
    @param bridge: to the author's checks.
    @ivar stopping: whether the service takes its leave.
    """

    log = Logger()

    def __init__(
        self,
        checks: Sequence[Check],
        namespace: str,
        activity: Activity,
        recent: Recent,
        vitals: Vitals,
        bridge: Bridge,
    ) -> None:
        self._checks = checks
        self._namespace = namespace
        self._activity = activity
        self._recent = recent
        self._vitals = vitals
        self._bridge = bridge
        self.stopping = False

    async def health(self, request: pb.HealthRequest) -> pb.HealthResponse:
        """Whether the service can do its work: C{ok}, or what is wrong."""
        if self.stopping:
            return pb.HealthResponse(status="the service is stopping")
        wrong = [said for check in self._checks if (said := await self._asked(check))]
        return pb.HealthResponse(status="; ".join(wrong) or WELL)

    async def stats(self, request: pb.StatsRequest) -> pb.StatsResponse:
        """What the process takes, and how much was asked of it."""
        return pb.StatsResponse(**self._vitals.read(self._activity)._asdict())

    async def recorded(self, request: pb.LogRequest, call: Call) -> pb.LogResponse:
        """The last lines of the log."""
        await self._let_in(call)
        if request.count < 0 or request.since < 0:
            raise BadRequest("count and since must not be negative; 0 means no limit")
        records = self._recent.read(request.count, request.since)
        return pb.LogResponse(
            records=[
                pb.Record(timestamp=int(each.time), metadata=metadata_of(each), message=each.message)
                for each in records
            ]
        )

    async def trace(self, request: pb.TraceRequest, call: Call) -> pb.TraceResponse:
        """The last calls, answered and made."""
        await self._let_in(call)
        return pb.TraceResponse(
            spans=[pb.Span(**each._asdict()) for each in self._activity.spans(request.id)]
        )

    async def _let_in(self, call: Call) -> None:
        require_admin(Caller(account=await call.account()), self._namespace)

    async def _asked(self, check: Check) -> str:
        try:
            said = check()
            if isinstance(said, Awaitable):
                said = await self._bridge.ours(said)
        except Exception:  # noqa: BLE001 - whatever the author's check does, it means that not all is well
            name = getattr(check, "__name__", "check")
            self.log.failure("the health check {name} failed", name=name)
            return f"the health check {name} failed; the service's log has more"
        return said or ""


def methods(
    service: str,
    debug: Debug,
    workers: Workers,
    inspect: Callable[[str], Awaitable[Account | None]],
    activity: Activity,
) -> dict[str, Method]:
    """What a gRPC server serves for C{debug}, by path."""
    offered: list[tuple[str, Callable[..., Any], type, type, bool]] = [
        ("Debug.Health", debug.health, pb.HealthRequest, pb.HealthResponse, False),
        ("Debug.Stats", debug.stats, pb.StatsRequest, pb.StatsResponse, False),
        ("Debug.Log", debug.recorded, pb.LogRequest, pb.LogResponse, True),
        ("Debug.Trace", debug.trace, pb.TraceRequest, pb.TraceResponse, True),
    ]
    return {
        naming.path_of(service, name): Answering(
            service,
            Handler(name, function, request, reply, Style.COROUTINE, False, True, wants_call, False),
            codec_of(request),
            codec_of(reply),
            workers,
            NoBridge(),
            inspect,
            activity,
        ).method()
        for name, function, request, reply, wants_call in offered
    }
