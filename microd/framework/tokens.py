"""Keeping a token that is good, for the client on the reactor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredLock

from microd.framework.identity import MARGIN, Identity, Question, Steps, Token, renew
from microd.kernel.errors import MicroError


class Tokens:
    """The token that we show; renewed when somebody needs one and the last is about to end.

    @param ask: puts a question to the auth service.
    @param now: Unix time.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        ask: Callable[[Question], Awaitable[Any]],
        now: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._ask = ask
        self._now = now
        self._token: Token | None = None
        self._turn = DeferredLock()

    def ready(self) -> str:
        """A token that is good for a while yet; empty where one must be fetched."""
        token = self._token
        return token.access if token is not None and self._now() < token.expires - MARGIN else ""

    async def fetch(self) -> str:
        """Get a token; those who ask at the same time share it.

        @raise MicroError: the auth service refused, or could not be reached.
        """
        await self._turn.acquire()
        try:
            found = self.ready()
            if not found:
                last = self._token
                identity = self._identity()
                self._token = await self._walk(identity.log_in() if last is None else renew(identity, last))
                found = self._token.access
            return found
        finally:
            self._turn.release()

    def forget(self, token: str) -> None:
        """Somebody refused this one; log in again next time."""
        if self._token is not None and self._token.access == token:
            self._token = None

    async def _walk(self, steps: Steps) -> Token:
        try:
            question = next(steps)
            while True:
                try:
                    answer = await self._ask(question)
                except MicroError as problem:
                    question = steps.throw(problem)
                else:
                    question = steps.send(answer)
        except StopIteration as done:
            token: Token = done.value
            return token
