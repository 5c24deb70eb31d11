"""Being found: a service's entry in the registry, kept alive.

::

    start ─▶ registering ──accepted──▶ resting ──a third of the lease, or the connection dropped──▶ registering
                  └─────failed─────▶ waiting (longer each time, with jitter) ─────────────────────────▲
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from microd.kernel.errors import MicroError, Unauthorized
from microd.wire import registry_pb2 as wire

#: Seconds that a registration lives, and after which it is renewed (spec 6.1).
TTL = 90
INTERVAL = 30.0
#: How long one attempt may take, and the bounds of the wait after a failed one.
ATTEMPT = 10.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
#: Tells the registry that this lease also ends when the connection drops.
LEASE = {"micro-lease": "connection"}


class Asker(Protocol):
    """Calls core services: L{microd.framework.client.Client.ask}."""

    def __call__(
        self,
        path: str,
        request: Any,
        reply: type[Any],
        *,
        timeout: float = ...,
        metadata: Any = ...,
        wait_for_ready: bool = ...,
    ) -> Awaitable[Any]: ...


class Registration:
    """Keeps one node of a service in the registry, from L{begin} to L{end}.

    @param entry: the service with this one node.
    """

    log = Logger()

    def __init__(
        self,
        ask: Asker,
        entry: wire.Service,
        clock: IReactorTime,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._ask = ask
        self._entry = entry
        self._clock = clock
        self._chance = chance
        self._keeping: Deferred[None] | None = None
        self._resting: Deferred[None] | None = None

    async def begin(self) -> None:
        """Register for the first time, and keep it so from then on.

        @raise MicroError: it was refused, or there is nobody to ask.
        """
        await self._register(wait_for_ready=False)
        self.log.info(
            "registered {name} at {address}", name=self._entry.name, address=self._entry.nodes[0].address
        )
        self._keeping = Deferred.fromCoroutine(self._keep())
        self._keeping.addErrback(lambda failure: failure.trap(CancelledError))

    def connection_lost(self) -> None:
        """The daemon may have forgotten us: register as soon as it is there again."""
        if self._resting is not None:
            self._resting.cancel()

    async def end(self) -> None:
        """Deregister; nothing happens where that is not possible, as the lease runs out."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        keeping.cancel()
        try:
            await self._ask("/registry.Registry/Deregister", self._entry, wire.EmptyResponse, timeout=2.0)
            self.log.info("deregistered {name}", name=self._entry.name)
        except MicroError as problem:
            self.log.warn("could not deregister: {problem}", problem=problem.detail)

    async def _keep(self) -> None:
        wait, known = INTERVAL, True
        while True:
            await self._rest(wait * self._chance(0.8, 1.0) if known else self._chance(0.0, wait))
            try:
                await self._register(wait_for_ready=True)
            except CancelledError:
                raise
            except Exception as problem:  # noqa: BLE001 - nothing may end the renewals but the end itself
                if not isinstance(problem, MicroError):
                    self.log.failure("could not register {name}", name=self._entry.name)
                elif known:
                    self.log.warn("the registry does not answer: {problem}", problem=problem.detail)
                wait, known = (FIRST_WAIT if known else min(2 * wait, LONGEST_WAIT)), False
            else:
                if not known:
                    self.log.info("registered {name} again", name=self._entry.name)
                wait, known = INTERVAL, True

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the connection drops meanwhile."""
        resting: Deferred[None] = deferLater(self._clock, seconds)
        self._resting = resting
        try:
            await resting
        except CancelledError:
            if self._keeping is None:
                raise
        finally:
            self._resting = None

    async def _register(self, wait_for_ready: bool) -> None:
        try:
            await self._attempt(wait_for_ready)
        except Unauthorized:
            # The token was refused, and is forgotten; there may be a better one.
            await self._attempt(wait_for_ready)

    async def _attempt(self, wait_for_ready: bool) -> None:
        await self._ask(
            "/registry.Registry/Register",
            self._entry,
            wire.EmptyResponse,
            timeout=ATTEMPT,
            metadata=LEASE,
            wait_for_ready=wait_for_ready,
        )
