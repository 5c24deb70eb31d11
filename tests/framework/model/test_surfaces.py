"""The same records for handlers, threads, scripts and asyncio; and over the store that a daemon has."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework import Service
from microd.framework.bridge import AsyncioBridge
from microd.framework.client import Client
from microd.framework.identity import Credentials
from microd.framework.model import BlockingRecords, Index, Model, above, at_least, starting
from microd.framework.questions import Ask
from microd.framework.store import BlockingStore
from microd.kernel.caller import PLATFORM
from microd.kernel.errors import Conflict, NotFound
from microd.services.store import rpc
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.backends.worker import IWorker
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.testing.services import ServiceTester
from microd.txgrpc.memory import connect


@dataclass
class User:
    id: str
    email: str = ""
    age: int = 0


INDEXES = [Index("email", unique=True), Index("age")]
USERS = Model(User, indexes=INDEXES)


@dataclass
class Named:
    name: str = ""


def test_service() -> None:
    """A service declares a model before it runs; coroutines and plain functions use it while it does."""
    service = Service("crew", environ={})
    users = service.model(User, indexes=INDEXES)

    @service.endpoint
    async def add(request: Named) -> None:
        await users.create(User(request.name, request.name + "@example.org"))

    @service.endpoint
    def find(request: Named) -> Named:
        return Named(users.blocking.get(email=request.name).id)

    with pytest.raises(RuntimeError, match="crew does not run yet"):
        done(users.read("u1"))
    for _ in range(2):
        # Each time another store, which knows nothing of the last one's indexes.
        tester = ServiceTester(service)
        tester.call("Crew.Add", Named("ada"))
        assert tester.call("Crew.Find", Named("ada@example.org"), Named) == Named("ada")
        with pytest.raises(Conflict):
            tester.call("Crew.Add", Named("ada"))
        with pytest.raises(NotFound, match="no User with email 'bob'"):
            tester.call("Crew.Find", Named("bob"), Named)
        assert {table for _, table, _ in tester.daemon.records} == {"crew/User"}


def test_threads() -> None:
    """A plain function can do all that a coroutine can."""
    service = Service("crew", environ={})
    users = service.model(User, indexes=INDEXES)

    @service.endpoint
    def all_of_it(request: None) -> None:
        everything(users.blocking)

    ServiceTester(service).call("Crew.AllOfIt", None)


def everything(users: BlockingRecords[User]) -> None:
    """Ask for each thing once."""
    users.create(User("u1", "a", 1))
    ada = users.read("u1")
    ada.age = 2
    users.update(ada)
    users.save(User("u2", "b", 3))
    users.change("u2", lambda user: User("u2", "b", user.age + 1))
    assert [user.age for user in users.read_many(["u2", "u1"])] == [4, 2]
    assert users.get(email="a").age == 2
    assert [user.id for user in users.list(age=at_least(2), descending=True)] == ["u2", "u1"]
    assert [user.id for user in users.scan(order="age")] == ["u1", "u2"]
    assert users.count(age=at_least(3)) == 1
    assert users.reindex(anew=True) == 2
    users.delete("u1")
    assert users.count() == 1
    with pytest.raises(NotFound):
        users.read("u1")


def test_asyncio() -> None:
    """A service written for asyncio waits for records as for anything else."""
    loop = asyncio.new_event_loop()
    clock = Clock()
    daemon = FakeDaemon(clock)
    daemon.accounts["micro", "crew"] = "secret"
    identity = Credentials("crew", "secret", "micro")
    client = Client(
        connect(daemon.server, clock),
        lambda: identity,
        clock.seconds,
        namespace="micro",
        table="crew",
        bridge=AsyncioBridge(loop),
    )
    users = USERS.on(client.store)

    async def use() -> list[str]:
        await asyncio.gather(*(users.create(User(f"u{number}", f"e{number}")) for number in range(5)))
        with pytest.raises(Conflict):
            await users.create(User("u9", "e1"))
        assert [record.key async for record in client.store.table("crew/User").scan("record/u4")]
        return [user.id async for user in users.scan(order="email")]

    try:
        assert loop.run_until_complete(use()) == [f"u{number}" for number in range(5)]
    finally:
        loop.close()


def test_scripts_need_no_twisted() -> None:
    """A script that declares a model does not wait for Twisted."""
    script = (
        "import sys\n"
        "from microd.framework import BlockingClient, Index, Model, at_least\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] == 'twisted']\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class AtOnce(IWorker):
    """Does everything where it stands."""

    def start(self) -> None:
        pass

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        async def work() -> Any:
            return function(*arguments)

        return Deferred.fromCoroutine(work())

    def stop(self) -> None:
        pass


@pytest.fixture
def users(tmp_path: Path) -> Iterator[BlockingRecords[User]]:
    """The users in a file, with the daemon's own code up to the wire."""
    clock = Clock()
    store = SqliteStore(tmp_path / "store.db", clock, workers=lambda *_: AtOnce(), now=clock.seconds)
    store.startService()
    endpoints = {endpoint.path: endpoint for endpoint in rpc.endpoints(store, clock.seconds)}

    def ask(question: Ask[Any]) -> Any:
        endpoint = endpoints[question.path]
        request = endpoint.request.FromString(question.request.SerializeToString())

        async def answer() -> list[Any]:
            if endpoint.server_streaming:
                return [reply async for reply in endpoint.handler(request, PLATFORM)]
            return [await endpoint.handler(request, PLATFORM)]

        answered = Deferred.fromCoroutine(answer())
        clock.advance(0)
        return question.answer(done(answered))

    yield USERS.on(BlockingStore(ask, "micro", "crew"))
    stopping = store.stopService()
    clock.advance(0)
    done(stopping)


def test_in_a_file(users: BlockingRecords[User]) -> None:
    """The store of a daemon keeps the promises that all this rests on."""
    everything(users)


def test_order_in_a_file(users: BlockingRecords[User]) -> None:
    """So it does with the order of whatever strings and numbers."""
    emails = [
        "",
        " ",
        "!",
        "A",
        "a",
        "a b",
        "aa",
        "~",
        "\x7f",
        "é",
        "\ud7ff",
        "\ue000",
        "\U0001f600",
        "\U0010ffff",
    ]
    ages = [-(2**63), -100, -99, -1, 0, 1, 9, 10, 99, 100, 2**63 - 1]
    for number, email in enumerate(emails):
        users.create(User(f"u{number}", email, ages[number % len(ages)]))
    assert [user.email for user in users.scan(order="email")] == emails
    assert [user.email for user in users.scan(order="email", descending=True)] == emails[::-1]
    assert sorted(ages) == sorted({user.age: 0 for user in users.list(order="age")})
    found = [user.age for user in users.list(order="age", limit=1000)]
    assert found == sorted(found)
    assert [user.email for user in users.list(email=starting("a"))] == ["a", "a b", "aa"]
    assert [user.email for user in users.list(email=above("\U0001f600"))] == ["\U0010ffff"]
    first = users.list(order="age", limit=5)
    rest = users.list(order="age", limit=50, after=first.next)
    assert [user.age for user in (*first, *rest)] == found
