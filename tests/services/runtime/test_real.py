"""The runtime with real processes, real time and real packages."""

from __future__ import annotations

import io
import os
import signal
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThreadPool

from microd.services.registry.model import Node
from microd.services.registry.model import Service as Registered
from microd.services.registry.service import Registry
from microd.services.runtime.backends.local.processes import KeptLauncher
from microd.services.runtime.model import Account, Limits, Spec, Status
from microd.services.runtime.records import StoredRecords
from microd.services.runtime.service import Runtime
from microd.services.store.backends.memory import MemoryStore

from .conftest import KEY, pieces, tar_of


async def credentials_void(namespace: str, id: str) -> None:
    """Nobody checks them here."""


async def credentials(namespace: str, id: str) -> Account:
    return Account(id, "token")


class Place:
    """A runtime on the real reactor."""

    def __init__(self, folder: Path) -> None:
        from twisted.internet import reactor as real

        reactor: Any = real
        self.registry = Registry(reactor)
        self.runtime = Runtime(
            folder,
            clock=reactor,
            launcher=KeptLauncher(reactor, reactor),
            registry=self.registry,
            records=StoredRecords(MemoryStore()),
            credentials=credentials,
            revoke=credentials_void,
            proxy=lambda: "127.0.0.1:1",
            in_thread=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
            environment=os.environ,
            limits=Limits(grace=0.5, backoff=0.05),
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
    main = b"import microd, os, sys; print(sys.executable, os.getcwd(), microd.__name__, sep='|')\n"
    await place.run({"main.py": main})
    said = await place.line(lambda text: "microd" in text)
    executable, folder, name = said.strip().split("|")
    assert (executable, name) == (sys.executable, "microd")
    assert folder.startswith(str(place.runtime.sources.path("")))


@pytest_twisted.ensureDeferred
async def test_import_error(place: Place) -> None:
    """A service that crashes at import is an error with the traceback's last line, and is tried again."""
    await place.run({"main.py": b"import nothing_of_the_kind\n"})
    await place.runtime.settled()
    (view,) = await place.runtime.read("micro")
    assert view.status is Status.ERROR
    assert view.metadata["error"].endswith("No module named 'nothing_of_the_kind'")
    await place.line(lambda text: text.startswith("exited with code 1; next try"))


@pytest_twisted.ensureDeferred
async def test_registers(place: Place) -> None:
    """A service is running when its process has registered, and its nodes vanish with the process."""
    await place.run(
        {"main.py": b"import os, time; print(os.environ['MICRO_SERVICE_PROCESS']); time.sleep(99)\n"}
    )
    id = await place.line(lambda text: True)
    node = Node("1", "127.0.0.1:1", {"process": id})
    await place.registry.register("micro", Registered("greeter", "latest", nodes=(node,)), 90)
    await place.runtime.settled()
    (view,) = await place.runtime.read("micro")
    assert view.status is Status.RUNNING
    changes = place.registry.watch("micro")
    os.kill(int(view.metadata["pid"]), signal.SIGKILL)
    assert (await anext(changes)).action == "delete"


#: Ignores SIGTERM, as does its child, which also has left its group and session.
STUBBORN = b"""
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
os.write(1, str(os.getpid()).encode() + bytes([10]))
while True:
    signal.pause()
"""


@pytest_twisted.ensureDeferred
async def test_stubborn(place: Place) -> None:
    """A service that ignores SIGTERM is killed after its grace, with all its children, before delete answers."""
    await place.run({"main.py": STUBBORN})
    pids: list[int] = []
    async for line in place.runtime.logs(KEY, follow=True):
        pids.append(int(line.text))
        if len(pids) == 2:
            break
    await place.runtime.delete(KEY)
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


@pytest_twisted.ensureDeferred
async def test_polite(place: Place) -> None:
    """A service is asked to stop with SIGTERM, and may say a last word."""
    main = b"import signal as s; s.pthread_sigmask(0, [15]); print('up'); s.sigwait([15]); print('bye')\n"
    await place.run({"main.py": main})
    await place.line(lambda text: text == "up")
    await place.runtime.delete(KEY)
    assert [line.text async for line in place.runtime.logs(KEY)] == ["up", "bye"]


@pytest_twisted.ensureDeferred
async def test_command(place: Place) -> None:
    """A command is run word by word, without a shell, and finds the interpreter's programs first."""
    await place.run({"a b.txt": b"content\n"}, command=("cat", "a b.txt"))
    assert await place.line(lambda text: True) == "content"


def wheel(value: int) -> bytes:
    """A package, ready to be installed."""
    made = io.BytesIO()
    info = "treasure-1.0.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("treasure.py", f"VALUE = {value}\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: treasure\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/RECORD", f"treasure.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return made.getvalue()


@pytest_twisted.ensureDeferred
async def test_virtualenv(place: Place) -> None:
    """A service with requirements gets them in an environment of its own, from which it also sees microd."""
    name = "treasure-1.0-py3-none-any.whl"
    main = b"import microd, twisted, treasure, sys; print(treasure.VALUE, sys.prefix, microd.__name__)\n"
    requirements = f"./{name}\nmicrod\n".encode()
    await place.run({"main.py": main, "requirements.txt": requirements, name: wheel(7)})
    value, prefix, _ = (await place.line(lambda text: text.endswith(" microd"))).split()
    assert value == "7"
    (view,) = await place.runtime.read("micro")
    assert prefix.endswith(view.metadata["build"])


@pytest_twisted.ensureDeferred
async def test_virtualenv_fails(place: Place) -> None:
    """A requirement that does not exist ends in an error with pip's own words."""
    await place.run({"main.py": b"", "requirements.txt": b"./missing-1.0-py3-none-any.whl\n"})
    await place.runtime.settled()
    (view,) = await place.runtime.read("micro")
    assert view.status is Status.ERROR
    assert "missing-1.0-py3-none-any.whl" in view.metadata["error"]


@pytest_twisted.ensureDeferred
async def test_flood(place: Place) -> None:
    """A service that writes without end is slowed down rather than allowed to occupy the daemon."""
    await place.run({"main.py": b"import sys\nwhile True: sys.stdout.write('x' * 99 + chr(10))\n"})
    await place.line(lambda text: text.startswith("xxx"))
    await place.runtime.delete(KEY)
