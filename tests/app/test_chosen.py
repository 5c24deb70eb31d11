"""Which core services a daemon runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool

from microd.app.assembly import assemble
from microd.app.listing import CoreListing
from microd.app.root import Root
from microd.app.settings import CORE_SERVICES, Daemon, Settings

ALWAYS = {"registry", "auth", "network", "router", "api"}


class Reactor(MemoryReactorClock):
    """One with a pool of threads, which nobody starts."""

    def getThreadPool(self) -> ThreadPool:
        return ThreadPool()


def listed(folder: Path, *only: str) -> set[str]:
    """The services of a daemon which runs only these."""
    root = assemble(Settings(daemon=Daemon(only=only)), folder, Reactor(), {}, lambda: None)
    assert isinstance(root, Root)
    (listing,) = (part for part in root if isinstance(part, CoreListing))
    return {endpoint.service for endpoint in listing._endpoints}


@pytest.mark.parametrize("only", [(), ("proxy",), ("network", "proxy"), ("api",)])
def test_doors_only(tmp_path: Path, only: tuple[str, ...]) -> None:
    """Choosing doors leaves all core services, also where a service has a door's name."""
    assert listed(tmp_path, *only) == set(CORE_SERVICES)


def test_some(tmp_path: Path) -> None:
    """Besides those chosen there are those which the doors need."""
    assert listed(tmp_path, "store", "proxy") == ALWAYS | {"store"}
    assert listed(tmp_path, "broker") == ALWAYS | {"broker"}
