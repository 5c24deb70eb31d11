"""The runtime with real processes, real time and real packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThreadPool

from microd.services.registry.service import Registry
from microd.services.runtime.backends.local.processes import KeptLauncher
from microd.services.runtime.model import Account, Limits, Spec
from microd.services.runtime.records import StoredRecords
from microd.services.runtime.service import Runtime
from microd.services.store.backends.memory import MemoryStore

from .conftest import KEY, pieces, tar_of


async def credentials(namespace: str, id: str) -> Account:
    return Account(id, "token")


class Place:
    """A runtime on the real reactor."""

    def __init__(self, folder: Path) -> None:
        from twisted.internet import reactor

        reactor: Any = real
        self.registry = Registry(reactor)
        self.runtime = Runtime(
            folder,
            clock=reactor,
            launcher=KeptLauncher(reactor),
            registry=self.registry,
            records=StoredRecords(MemoryStore()),
            credentials=credentials,
            proxy=lambda: "127.0.0.1:1",
            in_thread=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
            environment=os.environ,
            limits=Limits(grace=5.0, backoff=0.05),
        )

    async def run(self, files: dict[str, bytes], **wish: Any) -> None:
        source = await self.runtime.sources.upload(KEY, pieces(tar_of(files)))
        await self.runtime.create(Spec(KEY, source=source, **wish), "micro")

    async def line(self, wanted: Callable[[str], bool]) -> str:
        """The first line of the log which is as wanted; waits for it."""
        async for line in self.runtime.logs(KEY, follow=True):
            if wanted(line.text):
                return line.text
        raise AssertionError("the log ended")


@pytest.fixture
def place(tmp_path: Path) -> Any:
    made = Place(tmp_path)
    pytest_twisted.blockon(made.runtime.startService())
    yield made
    pytest_twisted.blockon(made.runtime.stopService())


@pytest_twisted.ensureDeferred
async def test_runs(place: Place) -> None:
    """A service runs with the daemon's interpreter, in its folder, and can import microd."""
    main = b"import microd, os, sys; print(sys.executable, os.getcwd(), microd.__name__)\n"
    await place.run({"main.py": main})
    said = await place.line(lambda text: "microd" in text)
    executable, folder, name = said.split()
    assert (executable, name) == (sys.executable, "microd")
    assert folder.startswith(str(place.runtime.sources.path("")))
