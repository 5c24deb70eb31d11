"""Configuration, as services and scripts have it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework import ConfigError, Service, Sources
from microd.framework.bridge import NoBridge
from microd.framework.client import Client
from microd.framework.config.ofservice import PATIENCE, Watching
from microd.framework.identity import Credentials
from microd.framework.link import DaemonChannel
from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, MicroError, PreconditionFailed
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.testing.services import ServiceTester

WHO = Account("somebody", "service", "micro", scopes=("service",))


class Bench:
    """A daemon, and a client over a connection which can break."""

    def __init__(self, sources: Sources | None = None) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(self.clock)
        self.daemon.accounts["micro", "tester"] = "s3cret"
        channel = DaemonChannel(self.daemon.endpoint, self.clock, lambda: None, authority="localhost")
        self.client = Client(
            channel,
            lambda: Credentials("tester", "s3cret", "micro"),
            self.clock.seconds,
            namespace="micro",
            table="tester",
            sources=sources,
        )
        self.config = self.client.config
        self.readings: list[Deferred[None]] = []

    def set(self, path: str, data: str, secret: bool = False) -> None:
        """Somebody sets a value."""
        done(self.daemon.config.set("micro", path, data, WHO, secret=secret))
        self.pump()

    def delete(self, path: str) -> None:
        """Somebody deletes one."""
        done(self.daemon.config.delete("micro", path, WHO))
        self.pump()

    def pump(self, seconds: float = 0.0) -> None:
        """Let what is under way arrive."""
        self.clock.pump([seconds] + [0.0] * 5)

    def get(self, *asked: Any, **more: Any) -> Any:
        """Get a value."""
        return done(_awaited(self.config.get(*asked, **more)))

    def watched(self, values: AsyncIterator[Any]) -> list[Any]:
        """What comes of a watch, in the order in which it does; an error is the last."""
        found: list[Any] = []

        async def read() -> None:
            async for value in values:
                found.append(value)

        reading = Deferred.fromCoroutine(read())
        reading.addErrback(lambda failure: found.append(failure.value))
        self.readings.append(reading)
        self.pump()
        return found

    def close(self) -> None:
        """Read no more, and hang up."""
        for reading in self.readings:
            reading.cancel()
        self.pump()
        done(self.client.close())
        self.pump()
        done(self.daemon.config.stopService())


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A daemon and a client."""
    made = Bench()
    yield made
    made.close()


@dataclass
class Pool:
    size: int
    names: list[str] = field(default_factory=list)


@dataclass
class Database:
    host: str = "localhost"
    pool: Pool = field(default_factory=lambda: Pool(1))


def test_get(bench: Bench) -> None:
    """A value comes as the type that is wanted; what is not there, as the default."""
    bench.set("", '{"a":{"n":5,"s":"5","t":"yes","f":1.5,"l":["x"],"big":123456789012345678901234567890}}')
    assert bench.get("a.n", type=int) == 5
    assert bench.get("a.s", type=int) == 5
    assert bench.get("a.n", type=str) == "5"
    assert bench.get("a.t", type=bool) is True
    assert bench.get("a.n", type=float) == 5.0
    assert bench.get("a.f", 1.0) == 1.5
    with pytest.raises(ConfigError, match=r"^a\.f: a whole number is wanted"):
        bench.get("a.f", 1)
    assert bench.get("a.l", type=list[str]) == ["x"]
    assert bench.get("a.big") == 123456789012345678901234567890
    assert (bench.get("nope", 7), bench.get("nope"), bench.get("nope", type=int)) == (7, None, None)
    assert bench.get("a", type=dict)["n"] == 5


def test_never_written(bench: Bench) -> None:
    """In a namespace without configuration everything is the default."""
    assert (bench.get("a", 1), bench.get("")) == (1, None)


def test_dataclass(bench: Bench) -> None:
    """An object comes as a dataclass: nested, with its defaults, and unknown keys passed over."""
    bench.set("db", '{"pool":{"size":"9","names":["a"]},"new":1}')
    assert bench.get("db", type=Database) == Database("localhost", Pool(9, ["a"]))
    assert bench.get("db", Database("elsewhere")) == Database("elsewhere", Pool(9, ["a"]))
    assert bench.get("nope", Database("x")) == Database("x")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (int, r"^db\.pool\.size: a whole number is wanted, not this text$"),
        (list[int], r"^db\.pool\.size: a list is wanted, not this text$"),
        (bool, r"^db\.pool\.size: true or false is wanted"),
    ],
)
def test_wrong_type(bench: Bench, kind: Any, said: str) -> None:
    """A value of another type is an error that says where, and not what, since it may be a secret."""
    bench.set("db.pool.size", '"hunter2"')
    with pytest.raises(ConfigError, match=said) as caught:
        bench.get("db.pool.size", type=kind)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^db\.pool\.size: a whole number is wanted"):
        bench.get("db", type=Database)


def test_missing_field(bench: Bench) -> None:
    """A field without a default that is not there is named."""
    bench.set("db.pool.names", '["a"]')
    with pytest.raises(ConfigError, match=r"^db\.pool\.size: it is missing$"):
        bench.get("db", type=Database)


def test_secret(bench: Bench) -> None:
    """A secret is read by those who ask for it; nobody takes its mask for it."""
    bench.set("db.password", '"s3cret"', secret=True)
    assert bench.get("db.password", type=str, secret=True) == "s3cret"
    with pytest.raises(ConfigError, match=r"db.password holds a secret: ask for it with secret=True"):
        bench.get("db.password", type=str)
    assert bench.get("db") == {"password": "[secret]"}


def test_set(bench: Bench) -> None:
    """Values are set and deleted through the same object, in the end with a condition."""
    first = done(_awaited(bench.config.set("db", Database("h"))))
    assert bench.get("db.pool.size") == 1
    second = done(_awaited(bench.config.delete("db.pool", if_version=first)))
    assert (second, bench.get("db")) == (2, {"host": "h"})
    with pytest.raises(PreconditionFailed):
        done(_awaited(bench.config.set("a", 1, if_version=first)))
    done(_awaited(bench.config.set("db", {"pool": 1}, replace=True)))
    assert bench.get("db") == {"pool": 1}
    done(_awaited(bench.config.set("k", "x", secret=True)))
    assert bench.get("", {"a": 1})["k"] == "[secret]"


@pytest.mark.parametrize("value", [object(), float("nan"), {1: {2}}])
def test_no_json(bench: Bench, value: Any) -> None:
    """What JSON cannot say is refused here."""
    with pytest.raises(BadRequest, match="this cannot be configuration"):
        done(_awaited(bench.config.set("a", value)))


# -- watching


def test_watch(bench: Bench) -> None:
    """First what is there, then what it becomes; what changes elsewhere is no news."""
    found = bench.watched(bench.config.watch("a", 0, type=int))
    bench.set("a", "1")
    bench.set("b", "1")
    bench.set("a", '"1"')
    bench.set("a", "2")
    bench.delete("a")
    assert found == [0, 1, 2, 0]


def test_daemon_restarts(bench: Bench) -> None:
    """A daemon that goes and comes back is waited for; what it was told meanwhile is caught up with, once."""
    bench.set("a", "1")
    found = bench.watched(bench.config.watch("a"))
    bench.daemon.endpoint.refusing = True
    bench.daemon.restart()
    bench.pump()
    bench.set("a", "2")
    bench.set("a", "3")
    for _ in range(10):
        bench.pump(1.0)
    assert found == [1]
    bench.daemon.endpoint.refusing = False
    for _ in range(10):
        bench.pump(1.0)
    assert found == [1, 3]
    bench.daemon.restart()
    for _ in range(10):
        bench.pump(1.0)
    bench.set("a", "4")
    assert found == [1, 3, 4]


def test_token_refused(bench: Bench) -> None:
    """A token that is no longer good is replaced, and the watch goes on."""
    bench.set("a", "1")
    found = bench.watched(bench.config.watch("a"))
    bench.daemon.revoke()
    bench.daemon.restart()
    for _ in range(10):
        bench.pump(1.0)
    bench.set("a", "2")
    assert found == [1, 2]


def test_waits_longer(bench: Bench) -> None:
    """A daemon that is away is not asked all the time."""
    found = bench.watched(bench.config.watch("a"))
    bench.daemon.endpoint.refusing = True
    bench.daemon.restart()
    before = len(bench.clock.getDelayedCalls())
    for _ in range(600):
        bench.pump(0.1)
    assert found == [None]
    assert len(bench.clock.getDelayedCalls()) <= before + 2


def test_wrong_type_later(bench: Bench, log: list[dict[str, Any]]) -> None:
    """A value of the wrong type is logged and left out; the next good one comes."""
    bench.set("a", "1")
    found = bench.watched(bench.config.watch("a", type=int))
    bench.set("a", '"x"')
    bench.set("a", "2")
    assert found == [1, 2]
    assert [event["problem"] for event in log if "configuration is left" in str(event.get("log_format"))] == [
        "a: a whole number is wanted, not this text"
    ]


def test_watch_refused(bench: Bench) -> None:
    """What will never be told is said, rather than waited for."""
    found = bench.watched(bench.config.watch("a..b"))
    assert isinstance(found[0], BadRequest)


def test_leaving(bench: Bench) -> None:
    """Who leaves the loop leaves nothing behind in the daemon."""
    values = bench.config.watch("a")

    async def once() -> None:
        async for _ in values:
            return

    done(once())
    done(values.aclose())  # type: ignore[attr-defined]
    bench.pump()
    assert len(bench.daemon.config._watches) == 0


def test_closed(bench: Bench, log: list[dict[str, Any]]) -> None:
    """A client that hangs up ends its watches, with an error for who still reads."""
    found = bench.watched(bench.config.watch("a"))
    closing = Deferred.fromCoroutine(bench.client.close())
    for _ in range(10):
        bench.pump(1.0)
    done(closing)
    assert isinstance(found[-1], MicroError)
    assert [event for event in log if "trying again" in str(event.get("log_format"))] == []


# -- a service


def greeter(**given: Any) -> tuple[Service, list[Any]]:
    service = Service("greeter", environ={}, **given)
    told: list[Any] = []

    @service.config.watch("greeting.text", "Hello")
    def greet_with(text: str) -> None:
        told.append(text)

    @service.endpoint
    async def hello(request: Pool) -> Pool:
        size = await service.config.get("size", 3)
        return Pool(size)

    @service.endpoint
    def wait(request: Pool) -> Pool:
        return Pool(service.blocking.config.get("size", 3))

    return service, told


def test_service() -> None:
    """A function is called with what is there, then with what it becomes; handlers of both kinds read values."""
    service, told = greeter()
    tester = ServiceTester(service)
    assert told == ["Hello"]
    done(tester.daemon.config.set("micro", "greeting.text", '"Hi"', WHO))
    done(tester.daemon.config.set("micro", "size", "8", WHO))
    tester.clock.pump([0] * 5)
    assert told == ["Hello", "Hi"]
    assert tester.call("Greeter.Hello", Pool(0), Pool).size == 8
    assert tester.call("Greeter.Wait", Pool(0), Pool).size == 8


def test_not_running() -> None:
    """Before the service runs there is no configuration to read, which is said."""
    service, _ = greeter()
    with pytest.raises(RuntimeError, match="greeter does not run yet"):
        service.config.get("a")


def test_callback_fails(log: list[dict[str, Any]], bench: Bench) -> None:
    """A function that fails is told of the next value all the same; a slow one is told of it when it is done."""
    service = Service("greeter", environ={})
    told: list[Any] = []
    slow: Deferred[None] = Deferred()

    @service.config.watch("a", 0)
    async def fails(value: int) -> None:
        told.append(value)
        raise ValueError("no")

    @service.config.watch("a", 0)
    async def waits(value: int) -> None:
        if value == 1:
            await slow
        told.append(value * 10)

    watching = Watching(bench.config, NoBridge(), bench.clock)
    done(watching.begin(service.config.wishes))
    bench.set("a", "1")
    bench.set("a", "2")
    assert told == [0, 0, 1, 2]
    slow.callback(None)
    bench.pump()
    assert told == [0, 0, 1, 2, 10, 20]
    failures = [event for event in log if "that watches" in str(event.get("log_format"))]
    assert len(failures) == 3
    watching.end()
    bench.pump()
    assert len(bench.daemon.config._watches) == 0


def test_start_without(bench: Bench, log: list[dict[str, Any]]) -> None:
    """A service starts without the config service after a while, and is told when that comes."""
    service, told = greeter()
    bench.daemon.endpoint.refusing = True
    watching = Watching(bench.config, NoBridge(), bench.clock)
    starting = Deferred.fromCoroutine(watching.begin(service.config.wishes))
    for _ in range(int(PATIENCE) - 1):
        bench.pump(1.0)
    assert not starting.called
    bench.pump(1.0)
    assert starting.called
    assert told == []
    bench.daemon.endpoint.refusing = False
    for _ in range(10):
        bench.pump(1.0)
    assert told == ["Hello"]
    watching.end()
