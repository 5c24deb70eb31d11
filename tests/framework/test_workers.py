"""Threads for plain functions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from microd.framework import Unavailable
from microd.framework.workers import QUEUE_PER_THREAD, Threads

reactor: Any = _reactor


@pytest_twisted.ensureDeferred
async def test_bounded() -> None:
    """No more run than there are threads, no more wait than there is room, and what is refused was not begun."""
    threads = Threads(reactor, 1)
    threads.start()
    go = threading.Event()
    running = 0
    most = 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go.wait(20)
        running -= 1

    waiting: list[Deferred[None]] = [threads.run(work) for _ in range(1 + QUEUE_PER_THREAD)]
    with pytest.raises(Unavailable, match="waiting for a thread; this one was not begun"):
        threads.run(work)
    go.set()
    for each in waiting:
        await each
    assert most == 1
    await threads.run(work)
    threads.stop()


@pytest_twisted.ensureDeferred
async def test_failure() -> None:
    """What a function raises is raised to whoever waits for it."""
    threads = Threads(reactor, 1)
    threads.start()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    threads.stop()


@pytest_twisted.ensureDeferred
async def test_given_up() -> None:
    """Whoever gives up waiting is free at once; the thread counts as busy until it is done."""
    threads = Threads(reactor, 1)
    threads.start()
    go = threading.Event()
    first = threads.run(go.wait, 20)
    second = threads.run(lambda: "second")
    first.addErrback(lambda _: None)
    first.cancel()
    assert first.called
    go.set()
    assert await second == "second"
    threads.stop()
