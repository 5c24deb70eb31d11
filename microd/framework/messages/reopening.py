"""A stream that is opened again whenever it ends: through restarts of the daemon, expired tokens and lost connections.

::

    open ──ended, broke──▶ resting: a random part of a doubling time ──▶ open
      └─refused for good─▶ resting: longer ──────────────────────────────▲
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.framework.config.closing import close
from microd.framework.config.following import Caller as Follower
from microd.kernel.errors import BadRequest, Forbidden, MicroError, NotFound, Unauthorized, Unimplemented

#: The bounds of the wait after a stream that ended, in seconds; and the longest after one that was refused for a reason which
#: time alone does not mend.
FIRST_WAIT, LONGEST_WAIT, SLOW_WAIT = 0.25, 5.0, 30.0
FINAL = (BadRequest, Unauthorized, Forbidden, NotFound, Unimplemented)

Chance = Callable[[float, float], float]


class Caller(Follower, Protocol):
    """What is asked of L{microd.framework.client.Client}."""

    @property
    def impatient(self) -> set[Callable[[], None]]: ...


class Reopening:
    """One stream.

    @param what: as the log calls it.
    @param insistent: go on whatever the answer is; else L{FINAL} ones are raised.
    """

    log = Logger()

    def __init__(
        self,
        caller: Caller,
        clock: IReactorTime,
        what: str,
        *,
        insistent: bool,
        chance: Chance = random.uniform,
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._what = what
        self._insistent = insistent
        self._chance = chance
        self._wait = FIRST_WAIT
        self._refused = ""
        self._stopped = False
        self._resting: Deferred[None] | None = None

    def stop(self) -> None:
        """Do not open it again."""
        self._stopped = True
        if self._resting is not None:
            self._resting.cancel()

    async def items(self, opened: Callable[[], AsyncGenerator[Any, None]]) -> AsyncGenerator[Any, None]:
        """Whatever comes on the streams, one after the other.

        @param opened: opens one.
        @raise MicroError: it was refused for good.
        """
        twice = False
        while not self._stopped:
            since = self._clock.seconds()
            replies = opened()
            try:
                async for reply in replies:
                    self._arrived()
                    twice = False
                    yield reply
            except MicroError as problem:
                # A token that was refused is forgotten; there may be a better one.
                again = isinstance(problem, Unauthorized) and not twice
                twice = isinstance(problem, Unauthorized)
                self._judge(problem, again)
            finally:
                await close(replies)
            if self._clock.seconds() - since > LONGEST_WAIT:
                self._wait = FIRST_WAIT
            await self._rest()

    async def _rest(self) -> None:
        if self._stopped:
            return
        most = SLOW_WAIT if self._refused else LONGEST_WAIT
        self._resting = Deferred()
        timer = self._clock.callLater(self._chance(0.0, min(self._wait, most)), self._resting.callback, None)

        def hurry() -> None:
            """The daemon is there again, as somebody else has found out."""
            soon = self._chance(0.0, FIRST_WAIT)
            if timer.active() and timer.getTime() > self._clock.seconds() + soon:
                timer.reset(soon)

        if not self._refused:
            self._caller.impatient.add(hurry)
        try:
            await self._resting
        except CancelledError:
            if not self._stopped:
                raise
        finally:
            self._resting = None
            self._caller.impatient.discard(hurry)
            if timer.active():
                timer.cancel()
        self._wait = min(2 * self._wait, most)

    def _arrived(self) -> None:
        self._wait = FIRST_WAIT
        if self._refused:
            self._refused = ""
            self.log.info("{what}: it is no longer refused", what=self._what)

    def _judge(self, problem: MicroError, again: bool) -> None:
        if isinstance(problem, Unauthorized):
            self._caller.tokens.forget(self._caller.tokens.ready())
        if self._caller.closed:
            raise problem
        if not isinstance(problem, FINAL) or again:
            # That the daemon is away is told once for all streams: L{microd.framework.presence}.
            self._refused = ""
            self.log.debug("{what}: {problem}; opening it again", what=self._what, problem=problem.detail)
            return
        if not self._insistent:
            raise problem
        said = f"{problem.code} {problem.detail}"
        if said != self._refused:
            self._refused = said
            self.log.error(
                "{what} is refused: {problem}; trying again, at longer intervals",
                what=self._what,
                problem=said,
            )
