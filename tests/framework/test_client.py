"""Calling others, and the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework import (
    BadGateway,
    BadRequest,
    BlockingClient,
    NotFound,
    Record,
    Service,
    TimedOut,
    Unavailable,
)
from microd.framework.identity import Token
from microd.testing.outcome import done
from microd.testing.services import ServiceTester


@dataclass
class Text:
    text: str = ""


@dataclass
class Timed:
    text: datetime


def run(waiting: Awaitable[Any]) -> Any:
    """What an awaitable of ours comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


@pytest.fixture
def service() -> Service:
    """A service with one endpoint of each sort."""
    service = Service("echo", environ={})

    @service.endpoint
    async def same(request: Text) -> Text:
        return request

    @service.endpoint
    async def twice(request: Text) -> AsyncIterator[Text]:
        yield request
        yield request

    return service


@pytest.fixture
def tester(service: Service) -> ServiceTester:
    """The service, in memory."""
    return ServiceTester(service)


def test_unknown_service(tester: ServiceTester) -> None:
    """The daemon's errors arrive as what they are."""
    with pytest.raises(NotFound, match="service nobody not found"):
        run(tester.client.call("nobody", "Nobody.Call"))


def test_not_an_endpoint(tester: ServiceTester) -> None:
    """A name that is no endpoint's is refused before anything is sent."""
    with pytest.raises(BadRequest, match="write Struct"):
        run(tester.client.call("echo", "Same"))


def test_wrong_request(tester: ServiceTester) -> None:
    """A request that does not fit its own class is refused before anything is sent."""
    with pytest.raises(BadRequest, match=r'the request to echo\.Echo\.Same: field "text" wants a string'):
        run(tester.client.call("echo", "Echo.Same", Text(5), Text))  # type: ignore[arg-type]


def test_other_reply(tester: ServiceTester) -> None:
    """An answer which is not the expected message is told as the other side's fault."""
    with pytest.raises(BadGateway, match=r"echo\.Echo\.Same answered what is not a Timed"):
        run(tester.client.call("echo", "Echo.Same", Text("a"), Timed))


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_no_time_at_all(tester: ServiceTester, timeout: float) -> None:
    """With no time given a call is a 408, and is not made; so it is with the client that blocks."""
    before = len(tester.daemon.calls)
    run(tester.client.call("echo", "Echo.Same", Text(), Text))
    with pytest.raises(TimedOut):
        run(tester.client.call("echo", "Echo.Same", Text(), Text, timeout=timeout))
    assert [call[0] for call in tester.daemon.calls[before:]].count("/echo.Echo/Same") == 1
    environ = {"MICRO_PROXY": "127.0.0.1:1"}
    with BlockingClient(environ=environ, credentials=("a", "s")) as client:
        client._token = Token("a", "r", float("inf"))
        with pytest.raises(TimedOut):
            client.call("echo", "Echo.Same", timeout=timeout)


def test_headers(tester: ServiceTester) -> None:
    """A call shows our token and our namespace; what the author gives wins."""
    run(tester.client.call("echo", "Echo.Same", Text(), Text))
    metadata = tester.daemon.calls[-1][1]
    assert metadata["authorization"].startswith("Bearer token-tester")
    assert metadata["micro-namespace"] == "micro"
    run(
        tester.client.call(
            "echo", "Echo.Same", Text(), Text, metadata={"Authorization": "x"}, namespace="foo"
        )
    )
    metadata = tester.daemon.calls[-1][1]
    assert metadata["authorization"] == "x"
    assert metadata["micro-namespace"] == "foo"


def test_stream_is_cancelled(service: Service) -> None:
    """Leaving a stream early cancels the call at the other end."""
    clock = Clock()
    ended: list[str] = []

    @service.endpoint
    async def endless(request: Text) -> AsyncIterator[Text]:
        try:
            yield request
            await Deferred()
        finally:
            ended.append("ended")

    tester = ServiceTester(service, clock)

    async def first() -> Text:
        replies = tester.client.stream("echo", "Echo.Endless", Text("a"), Text)
        found = await anext(replies)
        await replies.aclose()  # type: ignore[attr-defined]
        return found

    assert done(Deferred.fromCoroutine(first())) == Text("a")
    assert ended == ["ended"]


def test_daemon_away(service: Service) -> None:
    """Where there is no daemon a call is Unavailable: it was not delivered."""
    tester = ServiceTester(service)
    endpoint: Any = tester.client._channel._endpoint
    endpoint.refusing = True
    with pytest.raises(Unavailable):
        run(tester.client.call("echo", "Echo.Same", Text(), Text))


def test_inside_a_handler(service: Service) -> None:
    """A handler calls others through its service's client, as the service."""

    @service.endpoint
    async def outer(request: Text) -> Text:
        return await service.client.call("echo", "Echo.Same", request, Text)

    tester = ServiceTester(service)
    assert tester.call("Echo.Outer", Text("a"), Text) == Text("a")
    assert tester.daemon.calls[-1][1]["authorization"].startswith("Bearer token-echo")


def test_no_client_yet() -> None:
    """A service that does not run has no client, and says so."""
    with pytest.raises(RuntimeError, match="echo does not run yet"):
        _ = Service("echo", environ={}).client


def test_store(tester: ServiceTester) -> None:
    """What is written is read, listed, found and deleted."""
    store = tester.client.store
    run(store.write("a/1", b"\x00", metadata={"k": "v"}, expiry=60))
    run(store.write("a/2", "text"))
    run(store.write("b/1", {"x": [1]}))
    assert run(store.read("a/1")) == Record("a/1", b"\x00", 60, {"k": "v"})
    assert run(store.read("a/2")).text == "text"
    assert run(store.read("b/1")).json() == {"x": [1]}
    assert run(store.list()) == ["a/1", "a/2", "b/1"]
    assert run(store.list("a/", limit=1, descending=True)) == ["a/2"]
    assert [record.key for record in run(store.find("a/"))] == ["a/1", "a/2"]
    assert [record.key for record in run(store.find(suffix="/1"))] == ["a/1", "b/1"]
    run(store.delete("a/1"))
    with pytest.raises(NotFound):
        run(store.read("a/1"))


def test_store_places(tester: ServiceTester) -> None:
    """The store's database is the namespace, and its table the service's name, or another."""
    run(tester.client.store.write("k", "v"))
    run(tester.client.store.table("other").write("k", "w"))
    assert set(tester.daemon.records) == {("micro", "tester", "k"), ("micro", "other", "k")}


def test_store_refuses(tester: ServiceTester) -> None:
    """What the store could not do is refused before it is asked."""
    with pytest.raises(BadRequest, match="an expiry"):
        run(_raised(lambda: tester.client.store.write("a", "b", expiry=0)))
    with pytest.raises(BadRequest, match="bytes, text, or something with a form in JSON"):
        run(_raised(lambda: tester.client.store.write("a", object())))


async def _raised(call: Any) -> Any:
    return await call()


def test_token_is_fetched_again(tester: ServiceTester) -> None:
    """A token that the daemon no longer knows is replaced with the call after the one that was refused."""
    store = tester.client.store
    run(store.write("k", "v"))
    tester.daemon.revoke()
    from microd.framework import Unauthorized

    with pytest.raises(Unauthorized):
        run(store.read("k"))
    assert run(store.read("k")).text == "v"


def test_blocking_in_a_handler(service: Service) -> None:
    """A plain function calls others and the store, and waits."""
    front = Service("front", environ={})

    @front.endpoint
    def outer(request: Text) -> Text:
        store = front.blocking.store
        store.write("k", request.text)
        twice = list(front.blocking.stream("echo", "Echo.Twice", request, Text))
        same = front.blocking.call("echo", "Echo.Same", request, Text)
        return Text(f"{same.text} {len(twice)} {store.read('k').text} {store.list()}")

    back = ServiceTester(service)
    tester = ServiceTester(front, back.clock, back.daemon)
    trace = "0af76519-16cd-43dd-8448-eb211c80319c"
    metadata = {"micro-trace-id": trace}
    assert tester.call("Front.Outer", Text("a"), Text, metadata=metadata).text == "a 2 a ['k']"
    assert {path: seen.get("micro-trace-id") for path, seen in tester.daemon.calls}[
        "/echo.Echo/Same"
    ] == trace
