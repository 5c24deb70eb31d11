"""A runtime whose time, processes and threads are ours."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from microd.kernel.caller import Account as CallerAccount
from microd.kernel.caller import Caller
from microd.services.registry.model import Node
from microd.services.registry.model import Service as Registered
from microd.services.registry.service import Registry
from microd.services.runtime.backends.local.processes import KeptLauncher
from microd.services.runtime.model import Account, Key, Limits, Spec, Status, View
from microd.services.runtime.records import StoredRecords
from microd.services.runtime.service import Runtime
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.model import Query, Record
from microd.testing.processes import MemoryProcess, MemoryProcesses

T = TypeVar("T")

MAIN = b"print('hello')\n"
KEY = Key("micro", "greeter", "latest")
ADMIN = Caller(account=CallerAccount("admin", "user", "micro", scopes=("admin",)))
SECRET = "the daemon's own"


class Work(Generic[T]):
    """Something that was begun."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._outcomes: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(self._outcomes.append)

    @property
    def done(self) -> bool:
        return bool(self._outcomes)

    def result(self) -> T:
        assert self._outcomes, "it waits"
        (outcome,) = self._outcomes
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return cast(T, outcome)


def settles(work: Coroutine[Any, Any, T]) -> Work[T]:
    """Begin something that will have to wait."""
    return Work(work)


def now(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of something that has nothing to wait for."""
    return Work(work).result()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """An archive of plain files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


async def pieces(data: bytes, size: int = 1024) -> AsyncIterator[bytes]:
    """Data, as it comes over the wire."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


class SlowStore(MemoryStore):
    """A store whose disk takes its time, while C{gate} is set."""

    gate: Deferred[None] | None = None

    async def write(self, database: str, table: str, record: Record, *, if_version: int | None = None) -> int:
        if self.gate is not None:
            await self.gate
        return await super().write(database, table, record, if_version=if_version)

    async def delete(self, database: str, table: str, key: str, *, if_version: int | None = None) -> None:
        if self.gate is not None:
            await self.gate
        await super().delete(database, table, key, if_version=if_version)

    async def read(self, database: str, table: str, query: Query) -> Sequence[Record]:
        if self.gate is not None:
            await self.gate
        return await super().read(database, table, query)

    def close_gate(self) -> None:
        """From now on everything waits."""
        if self.gate is None:
            self.gate = Deferred()

    def open_gate(self) -> None:
        """Let everything through, in order."""
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.callback(None)


class House:
    """A runtime and all that it stands on. C{restart} is a daemon that died and came back."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.processes = MemoryProcesses()
        self.store = SlowStore(now=self.clock.seconds)
        self.registry = Registry(self.clock)
        self.swept: list[str] = []
        self.revoked: list[str] = []
        self.announce: Callable[[str, Spec], None] = lambda what, spec: None
        self.runtime = self.build()
        self.runtime.startService()

    def build(self) -> Runtime:
        async def credentials(namespace: str, id: str) -> Account:
            return Account(id, f"token of {id} in {namespace}")

        async def revoke(namespace: str, id: str) -> None:
            self.revoked.append(f"{id} in {namespace}")

        return Runtime(
            self.folder,
            clock=self.clock,
            launcher=KeptLauncher(self.processes, self.clock, lambda mark: self.swept.append(mark) or 0),  # type: ignore[func-returns-value]
            registry=self.registry,
            records=StoredRecords(self.store),
            credentials=credentials,
            revoke=revoke,
            proxy=lambda: "127.0.0.1:18443",
            in_thread=lambda work: execute(work),
            environment={"PATH": "/usr/bin", "MICRO_AUTH_PRIVATE_KEY": SECRET, "LANG": "C"},
            limits=self.limits,
            announce=lambda what, spec: self.announce(what, spec),
        )

    def restart(self) -> None:
        """As after SIGKILL: nothing was stopped, the keepers took everything along."""
        self.processes = MemoryProcesses()
        self.registry = Registry(self.clock)
        self.runtime = self.build()
        self.runtime.startService()

    def upload(self, files: Mapping[str, bytes], key: Key = KEY) -> str:
        return now(self.runtime.sources.upload(key, pieces(tar_of(files))))

    def create(self, *, force: bool = False, files: Mapping[str, bytes] | None = None, **wish: Any) -> None:
        key = wish.pop("key", KEY)
        source = self.upload(files or {"main.py": MAIN}, key)
        now(self.runtime.create(Spec(key, source=source, **wish), key.namespace, force=force))

    def update(self, files: Mapping[str, bytes] | None = None, **wish: Any) -> None:
        source = self.upload(files or {"main.py": MAIN})
        now(self.runtime.update(Spec(KEY, source=source, **wish), "micro"))

    @property
    def last(self) -> MemoryProcess:
        return self.processes.spawned[-1]

    def register(self, process: MemoryProcess | None = None, key: Key = KEY, **metadata: str) -> Registered:
        id = (process or self.last).environment["MICRO_SERVICE_PROCESS"]
        return self.register_node(Node(id, "127.0.0.1:1", metadata or {"process": id}), key)

    def register_node(self, node: Node, key: Key = KEY) -> Registered:
        service = Registered(key.name, key.version, nodes=(node,))
        now(self.registry.register(key.namespace, service, 90))
        return service

    def crash(self, code: int = 1, process: MemoryProcess | None = None) -> None:
        """The program exits, and its keeper after it; one that makes a virtualenv and exits well has made it."""
        process = process or self.last
        if code == 0 and process.arguments[-3:-1] == ["-m", "venv"]:
            home = Path(process.arguments[-1])
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            (home / "lib" / version / "site-packages").mkdir(parents=True)
            (home / "bin").mkdir()
        process.says(b"exit %d\n" % code, 3)
        process.ends()

    def view(self, key: Key = KEY) -> View:
        (found,) = now(self.runtime.read(key.namespace, key.name, key.version))
        return found

    def status(self) -> Status:
        return self.view().status

    def messages(self, **options: Any) -> list[str]:
        async def read() -> list[str]:
            return [line.text async for line in self.runtime.logs(KEY, **options)]

        return now(read())


@pytest.fixture
def limits() -> Limits:
    return Limits(log_size=4096, log_files=2)


@pytest.fixture
def house(tmp_path: Path, limits: Limits) -> House:
    return House(tmp_path, limits)
