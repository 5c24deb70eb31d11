"""A clock on which what is due at once can be done at once, so that a test need not advance it by nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class Prompt:
    """Another clock, but for L{run}."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: deque[tuple[IDelayedCall, Callable[[], Any]]] = deque()

    def seconds(self) -> float:
        """What time it is."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> IDelayedCall:
        """Call something in a while, or now."""
        later: IDelayedCall = self._clock.callLater(delay, callable, *args, **kw)
        if delay <= 0:
            self._due.append((later, lambda: callable(*args, **kw)))
        return later

    def getDelayedCalls(self) -> Any:
        """What is to be called."""
        return self._clock.getDelayedCalls()

    def run(self) -> None:
        """Do all that is due at once, in the order in which it was asked for."""
        while self._due:
            later, act = self._due.popleft()
            if later.active():
                later.cancel()
                act()
