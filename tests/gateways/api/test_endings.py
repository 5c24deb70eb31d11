"""Streams that are open at the HTTP door end with the rights of whoever made them; others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Forbidden, Unauthorized
from microd.services.registry.model import Endpoint as Described
from microd.wire import store_pb2 as pb

GONE = (401, "the account ada was revoked: log in again")


class Core:
    """A core endpoint that answers when it is told to, and a user's service that does."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[bool]] = []
        self.left = 0

    def say(self, more: bool = True) -> None:
        """Answer whoever waits; end their streams after that."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(more)

    async def next(self) -> bool:
        """Wait."""
        waiting: Deferred[bool] = Deferred()
        self.waiting.append(waiting)
        return await waiting

    async def watch(self, request: Any, caller: Any) -> AsyncIterator[Any]:
        """Answer again and again."""
        try:
            while await self.next():
                yield pb.ReadResponse(next="x")
        finally:
            self.left += 1

    async def read(self, request: Any, caller: Any) -> Any:
        """Answer once."""
        await self.next()
        return pb.ReadResponse(next="x")

    async def count(self, body: bytes, call: Any) -> AsyncIterator[bytes]:
        """As C{watch}, in a user's service."""
        try:
            while await self.next():
                yield b'{"next":"x"}'
        finally:
            self.left += 1


@pytest.fixture
def core() -> Core:
    """What answers."""
    return Core()


@pytest.fixture
def house(make: Any, core: Core) -> Any:
    """A gateway before both."""
    kinds = pb.ReadRequest, pb.ReadResponse
    watch = Endpoint("/t.T/Watch", *kinds, core.watch, server_streaming=True, endless=True)
    house = make([watch, Endpoint("/t.T/Read", *kinds, core.read)])
    house.shapes["micro", "greeter"] = (Described("Greeter.Count", metadata={"stream": "true"}),)
    house.serve("greeter", {"/greeter.Greeter/Count": core.count}, kind="unary_stream")
    yield house
    core.say(more=False)


def opened(house: Any, url: str, id: str) -> Any:
    """A client whose request is being answered."""
    house.gate.account = Account(id, "user", "micro", id)
    client = house.client()
    client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}" % url.encode())
    return client


def lines(client: Any) -> list[Any]:
    """What has come on a stream."""
    found = []
    for line in client.transport.value().split(b"\r\n"):
        with suppress(ValueError):
            found.append(orjson.loads(line))
    return [each for each in found if isinstance(each, dict)]


STREAMS = pytest.mark.parametrize("url", ["/t/T/watch", "/greeter/count"])


@STREAMS
def test_revoked(house: Any, core: Core, url: str) -> None:
    """A stream of an account that is gone ends with the error as its last line, and its connection serves on."""
    theirs, other = opened(house, url, "ada"), opened(house, url, "bob")
    core.say()
    house.gateway.endings.revoked("micro", "ada")
    house.clock.advance(0)
    core.say()
    (answer,) = theirs.received()
    first, last = map(orjson.loads, answer.body.splitlines())
    assert (answer.status, first["next"], (last["code"], last["detail"])) == (200, "x", GONE)
    assert [each["next"] for each in lines(other)] == ["x", "x"]
    assert core.left == 1
    assert theirs.ask("GET", "/").status == 200


@STREAMS
def test_revoked_in_silence(house: Any, url: str) -> None:
    """A stream on which nothing has come yet ends with the error's status."""
    theirs = opened(house, url, "ada")
    house.gateway.endings.revoked("micro", "ada")
    house.clock.advance(0)
    (answer,) = theirs.received()
    said = orjson.loads(answer.body)
    assert (answer.status, said["code"], said["detail"]) == (401, *GONE)


def test_unary_calls_finish(house: Any, core: Core) -> None:
    """A unary call in flight gets its answer."""
    theirs = opened(house, "/t/T/read", "ada")
    house.gateway.endings.revoked("micro", "ada")
    house.clock.advance(1)
    assert theirs.received() == []
    core.say()
    assert theirs.received()[0].status == 200


@STREAMS
def test_rule(house: Any, core: Core, url: str) -> None:
    """A rule that closes what is open ends it, with its text."""
    theirs = opened(house, url, "ada")
    core.say()
    house.gate.refuse = Forbidden("rule `closed`")
    house.gateway.endings.ruled("foo")
    house.clock.advance(0)
    assert len(lines(theirs)) == 1
    house.gateway.endings.ruled("micro")
    house.clock.advance(0)
    assert [each["code"] for each in lines(theirs)[1:]] == [403]
    assert core.left == 1


@STREAMS
def test_listed(house: Any, core: Core, url: str) -> None:
    """When an account's rights change otherwise, its streams are asked about; nobody else's are."""
    theirs, other = opened(house, url, "ada"), opened(house, url, "bob")
    house.gate.refuse = Unauthorized("unauthorized request")
    house.gateway.endings.changed("micro", "ada")
    house.clock.advance(0)
    assert [each.status for each in theirs.received()] == [401]
    assert other.received() == []


@STREAMS
def test_slow_reader(house: Any, core: Core, url: str) -> None:
    """It ends as well while its client does not read."""
    theirs = opened(house, url, "ada")
    theirs.transport.producer.pauseProducing()
    core.say()
    house.gateway.endings.revoked("micro", "ada")
    house.clock.advance(0)
    assert core.left == 1
    theirs.transport.producer.resumeProducing()
    assert [each.get("code", 0) for each in lines(theirs)] == [0, 401]


def test_nothing_is_kept(house: Any, core: Core) -> None:
    """Streams that are over, in whichever way, are forgotten."""
    first, _ = opened(house, "/t/T/watch", "ada"), opened(house, "/greeter/count", "ada")
    assert len(list(house.gateway._lasting())) == 2
    first.drop()
    assert len(list(house.gateway._lasting())) == 1
    core.say(more=False)
    assert list(house.gateway._lasting()) == []
