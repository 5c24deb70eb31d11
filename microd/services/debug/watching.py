"""Core endpoints whose calls are noted, for doors which do not note them by themselves.

The gRPC doors do so at a call's end, by L{Endpoint.activity}, as they know the ids of each call's trace: the caller that a
handler is given may be remembered from another call of the same client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from typing import Any

from twisted.internet.defer import CancelledError

from microd.kernel.activity import INBOUND, UNTRACED, Activity
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError


def watched(endpoint: Endpoint, activity: Activity) -> Endpoint:
    """The same endpoint; its calls are counted, and become spans unless they are Debug's own."""
    watch = _Watch(endpoint, activity)
    handler: Callable[..., Any] = watch.stream if endpoint.server_streaming else watch.unary
    return replace(endpoint, handler=wraps(endpoint.handler)(handler), at_once=None)


class _Watch:
    """Notes the calls of one endpoint."""

    def __init__(self, endpoint: Endpoint, activity: Activity) -> None:
        self._id = endpoint.id
        self._handler = endpoint.handler
        self._activity = activity
        self._traced = not endpoint.name.startswith(UNTRACED)

    # Closures rather than bound methods, as C{wraps} sets attributes.

    @property
    def unary(self) -> Callable[..., Any]:
        handler, now, ended = self._handler, self._activity.now, self._ended

        async def unary(request: Any, caller: Caller) -> Any:
            started = now()
            try:
                reply = await handler(request, caller)
            except BaseException as problem:
                ended(caller, started, _why(problem))
                raise
            ended(caller, started, "")
            return reply

        return unary

    @property
    def stream(self) -> Callable[..., Any]:
        handler, now, ended = self._handler, self._activity.now, self._ended

        async def stream(request: Any, caller: Caller) -> AsyncIterator[Any]:
            started = now()
            error = ""
            try:
                async with aclosing(handler(request, caller)) as replies:
                    async for reply in replies:
                        yield reply
            except BaseException as problem:
                error = _why(problem)
                raise
            finally:
                ended(caller, started, error)

        return stream

    def _ended(self, caller: Caller, started: int, error: str) -> None:
        activity = self._activity
        activity.requests += 1
        if error:
            activity.errors += 1
        if self._traced:
            activity.note((self._id, INBOUND, started, activity.now(), error, caller.metadata))


def _why(problem: BaseException) -> str:
    """The error of a span; a stream that its reader left has none."""
    if isinstance(problem, GeneratorExit):
        return ""
    if isinstance(problem, CancelledError):
        return "the deadline has passed, or the caller has gone away"
    if isinstance(problem, MicroError):
        return problem.detail or problem.phrase
    return str(problem) or type(problem).__name__
