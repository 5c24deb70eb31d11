"""What happens when a node fails: another one is tried if that is safe, and only then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError
from microd.txgrpc import Limits, Method, RpcError, ServerCall, StatusCode


class Node:
    """A node which counts what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[bytes] = []
        self.waiting: list[Deferred[bytes]] = []

    def methods(self) -> dict[str, Method]:
        """What it offers."""
        return {
            "/s.S/Name": Method("unary_unary", self.say),
            "/s.S/Wait": Method("unary_unary", self.wait),
            "/s.S/Chat": Method("stream_stream", self.chat),
        }

    async def say(self, request: bytes, call: ServerCall) -> bytes:
        """Its name."""
        self.requests.append(request)
        return self.name.encode()

    async def wait(self, request: bytes, call: ServerCall) -> bytes:
        """Its name, later."""
        self.requests.append(request)
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    async def chat(self, requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
        """Its name, for each request."""
        async for request in requests:
            self.requests.append(request)
            yield self.name.encode()


@pytest.fixture
def nodes(town: Any) -> tuple[Node, Node]:
    """Two nodes of one service."""
    one, two = Node("one"), Node("two")
    one.endpoint = town.settle("s", one.methods())  # type: ignore[attr-defined]
    two.endpoint = town.settle("s", two.methods())  # type: ignore[attr-defined]
    return one, two


def kill(node: Any) -> None:
    """As C{kill -9}: its connections drop, and new ones are refused."""
    node.endpoint.refusing = True
    for ours, _ in node.endpoint.connections:
        ours.abortConnection()


def told(error: Any) -> MicroError:
    """What an error says."""
    assert isinstance(error, RpcError)
    found = MicroError.from_json(error.message)
    assert found is not None
    return found


def test_refused(town: Any, nodes: Any) -> None:
    """A node which refuses the connection is passed over; no call fails."""
    kill(nodes[0])
    assert [town.call("/s.S/Name") for _ in range(10)] == [b"two"] * 10


def test_killed_between_calls(town: Any, nodes: Any) -> None:
    """After a node is killed no call fails."""
    assert {town.call("/s.S/Name") for _ in range(4)} == {b"one", b"two"}
    kill(nodes[0])
    assert [town.call("/s.S/Name") for _ in range(10)] == [b"two"] * 10


def test_killed_during_a_call(town: Any, nodes: Any) -> None:
    """A call in flight on a killed node fails, saying that its outcome is unknown, and is never sent twice."""
    calls = [town.client.unary_unary("/s.S/Wait")(b"%d" % number) for number in range(6)]
    errors: list[Any] = []
    for call in calls:
        call.addErrback(lambda failure: errors.append(failure.value))
    one, two = nodes
    assert (len(one.requests), len(two.requests)) == (3, 3)
    kill(one)
    assert len(errors) == 3
    for error in errors:
        # Clients try UNAVAILABLE again by themselves; this must not be.
        assert error.code is StatusCode.UNKNOWN
        assert told(error).code == 502
        assert "the outcome of the call is unknown" in told(error).detail
    assert len(two.requests) == 3
    for waiting in two.waiting:
        waiting.callback(b"two")
    assert [call.result for call in calls if call.result is not None] == [b"two"] * 3


def test_all_refused(town: Any, nodes: Any) -> None:
    """When no node can be reached the call was not delivered, and the error says so."""
    for node in nodes:
        kill(node)
    error = town.call("/s.S/Name")
    assert error.code is StatusCode.UNAVAILABLE
    assert told(error).code == 503
    assert told(error).detail.startswith("service s: none of the 2 nodes tried can be reached")


def test_only_node_refused(town: Any) -> None:
    """The same for a service with one node."""
    node: Any = Node("one")
    node.endpoint = town.settle("s", node.methods())
    kill(node)
    assert told(town.call("/s.S/Name")).detail.startswith("service s: its node cannot be reached")


def test_node_comes_back(town: Any, nodes: Any) -> None:
    """A node which is back gets calls again, without a call having to find out."""
    town.dialer.startService()
    kill(nodes[0])
    for _ in range(4):
        town.call("/s.S/Name")
    nodes[0].endpoint.refusing = False
    town.clock.pump([1.0] * 10)
    before = len(nodes[0].requests)
    assert {town.call("/s.S/Name") for _ in range(4)} == {b"one", b"two"}
    assert len(nodes[0].requests) == before + 2
    town.outcome(town.dialer.stopService())


def test_refused_stream(town: Any) -> None:
    """A call which a node surely did not process, though it was sent, goes on to the next from its beginning."""
    from microd.txgrpc import GrpcServer

    full, free = Node("full"), Node("free")
    endpoint = town.settle("s", full.methods())
    endpoint._server = GrpcServer(full.methods(), clock=town.clock, limits=Limits(max_streams=1))
    endpoint._server.limits = Limits(max_streams=1)
    town.settle("s", free.methods())
    channel = town.dialer.channel("10.0.0.1:80")
    busy = channel.unary_unary("/s.S/Wait")(b"")
    busy.addErrback(lambda _: None)
    # The limit which the node announced is forgotten, as if it had been lowered just now.
    (protocol,) = channel._protocols
    protocol.connection.peer_max_streams = 100
    town.services["micro", "s"] = tuple(sorted(town.services["micro", "s"], key=lambda node: node.id))
    answers = [town.call("/s.S/Name", b"hello") for _ in range(4)]
    assert answers == [b"free"] * 4
    assert full.requests == [b""]
    assert free.requests == [b"hello"] * 4


def test_answered_errors_stay(town: Any, nodes: Any) -> None:
    """A node's own refusal is an answer: no other node is asked, whatever the code."""
    asked: list[str] = []

    async def refuse(request: bytes, call: ServerCall) -> bytes:
        asked.append("x")
        raise RpcError(StatusCode.UNAVAILABLE, "not today")

    town.settle("picky", {"/picky.Picky/Ask": Method("unary_unary", refuse)})
    town.settle("picky", {"/picky.Picky/Ask": Method("unary_unary", refuse)})
    error = town.call("/picky.Picky/Ask")
    assert (error.code, error.message, asked) == (StatusCode.UNAVAILABLE, "not today", ["x"])


def test_stream_goes_on(town: Any, nodes: Any) -> None:
    """A stream whose node cannot be reached begins at another, with all that was said so far."""
    kill(nodes[0])
    kill_order = [town.outcome(_talk(town)) for _ in range(4)]
    assert kill_order == [[b"two", b"two"]] * 4


async def _talk(town: Any) -> list[bytes]:
    call = town.client.stream_stream("/s.S/Chat")()
    await call.write(b"a")
    await call.write(b"b")
    await call.done_writing()
    return [reply async for reply in call]


def test_stream_broken(town: Any, nodes: Any) -> None:
    """A stream on a killed node ends with the error, after the replies which came before."""
    got: list[bytes] = []

    async def talk() -> None:
        call = town.client.stream_stream("/s.S/Chat")()
        await call.write(b"a")
        async for reply in call:
            got.append(reply)

    ending = town.client.clock.seconds()
    assert ending == 0
    talking = Deferred.fromCoroutine(talk())
    assert len(got) == 1
    kill(nodes[0] if got == [b"one"] else nodes[1])
    error = town.outcome(talking)
    assert told(error).code == 502
    assert len(got) == 1


def test_load(town: Any, nodes: Any) -> None:
    """Calls which take long send the next ones elsewhere."""
    one, two = nodes
    first = town.client.unary_unary("/s.S/Wait")(b"")
    busy, idle = (one, two) if one.requests else (two, one)
    assert [town.call("/s.S/Name") for _ in range(6)] == [idle.name.encode()] * 6
    busy.waiting[0].callback(b"done")
    assert town.outcome(first) == b"done"
    assert {town.call("/s.S/Name") for _ in range(6)} == {b"one", b"two"}
