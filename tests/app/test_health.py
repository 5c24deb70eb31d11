"""What Debug.Health of the platform's services says rests on the parts that they need."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool

from microd.app.assembly import _Assembly
from microd.app.settings import Settings
from microd.kernel.caller import PLATFORM
from microd.testing.outcome import done
from microd.wire import debug_pb2 as pb


class Reactor(MemoryReactorClock):
    """One with a pool of threads, which nobody starts."""

    def getThreadPool(self) -> ThreadPool:
        return ThreadPool()


def unwell(assembly: _Assembly, word: str) -> set[str]:
    """The services which say a word about how they are."""
    health = {each.service: each for each in assembly._unlisted if each.name == "Debug.Health"}
    return {
        name
        for name, endpoint in health.items()
        if word in done(endpoint.handler(pb.HealthRequest(), PLATFORM)).status
    }


def test_failed_disk(tmp_path: Path) -> None:
    """Users' records on a failed disk make the store unwell; the platform's own, whoever keeps something there."""
    assembly = _Assembly(Settings(), tmp_path, Reactor(), {})
    assembly.root(lambda: None)
    assert unwell(assembly, "failed") == set()
    assembly._store.failure = "the users' disk has failed"
    assert unwell(assembly, "users'") == {"store"}
    assembly._system.failure = "the system's disk has failed"
    assert unwell(assembly, "system's") == {"auth", "config", "runtime", "network", "router", "api"}
