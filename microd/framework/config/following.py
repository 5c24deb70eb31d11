"""Following a value for ever: through restarts of the daemon, expired tokens, and changes that came too fast.

::

    asking ──first value──▶ reading ──stream broke──▶ resting (longer each time, with jitter) ──▶ asking
       └──────failed────────────────────────────────────▲

The first value of each stream is the value as it is, so that whatever happened meanwhile is caught up with.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from microd.framework.config.closing import close
from microd.framework.config.questions import Said, said
from microd.framework.outgoing import CORE
from microd.framework.tokens import Tokens
from microd.kernel.errors import BadRequest, Forbidden, MicroError, Unauthorized, Unimplemented
from microd.wire import config_pb2 as wire

#: The bounds of the wait after a stream that broke, in seconds.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
#: What waiting does not mend; whoever iterates is told, and who is called back is kept waiting all the same.
FINAL = (BadRequest, Forbidden, Unimplemented)


class Caller(Protocol):
    """What is asked of L{microd.framework.client.Client}."""

    @property
    def tokens(self) -> Tokens: ...

    @property
    def closed(self) -> bool: ...

    def answers(
        self,
        service: str,
        endpoint: str,
        request: object,
        reply: type[Any],
        timeout: float | None,
        metadata: Any,
        namespace: str | None,
    ) -> AsyncGenerator[Any, None]: ...


class Following:
    """Values at one path.

    @param insistent: go on whatever the answer is; else L{FINAL} ones are raised.
    """

    log = Logger()

    def __init__(
        self,
        caller: Caller,
        clock: IReactorTime,
        request: wire.WatchRequest,
        *,
        insistent: bool,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._request = request
        self._insistent = insistent
        self._chance = chance
        self._wait = FIRST_WAIT
        self._known = True

    async def values(self) -> AsyncGenerator[Said, None]:
        """What is there, and what it becomes; the same value never twice in a row."""
        last: str | None = None
        while True:
            replies = self._replies()
            try:
                async for reply in replies:
                    self._arrived()
                    shown = "" if reply.deleted else reply.value.data
                    if shown != last:
                        last = shown
                        yield said(reply.value)
            except MicroError as problem:
                self._judge(problem)
            finally:
                await close(replies)
            await deferLater(self._clock, self._chance(0.0, self._wait))
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _replies(self) -> AsyncGenerator[wire.WatchResponse, None]:
        path = "/config.Config/Watch"
        return self._caller.answers("", path, self._request, wire.WatchResponse, None, None, CORE)

    def _arrived(self) -> None:
        self._wait = FIRST_WAIT
        if not self._known:
            self._known = True
            self.log.info("the config service tells again what is at {path!r}", path=self._request.path)

    def _judge(self, problem: MicroError) -> None:
        if isinstance(problem, Unauthorized):
            self._caller.tokens.forget(self._caller.tokens.ready())
        if self._caller.closed or (isinstance(problem, FINAL) and not self._insistent):
            raise problem
        if self._known:
            self._known = False
            self.log.warn(
                "the config service does not tell what is at {path!r}: {problem}; trying again",
                path=self._request.path,
                problem=problem.detail,
            )
