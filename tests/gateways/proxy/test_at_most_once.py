"""Whatever happens to the nodes, no call is processed twice, and each error tells the truth about its call."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from microd.kernel.errors import MicroError
from microd.txgrpc import Method, RpcError, ServerCall

NODES = 3

#: What may happen: a call is made (unary or streaming), a node answers what it is working on, is killed or comes back,
#: loses its connection only, or time passes.
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["unary", "stream"]), st.just(0)),
    st.tuples(st.sampled_from(["answer", "kill", "revive", "drop"]), st.integers(0, NODES - 1)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


class World:
    """Three nodes behind a door, and the calls which are made of them."""

    def __init__(self, town: Any) -> None:
        self.town = town
        self.processed: Counter[bytes] = Counter()
        self.working: list[list[Deferred[None]]] = [[] for _ in range(NODES)]
        self.calls: dict[bytes, list[Any]] = {}
        self.nodes = [town.settle("s", self.methods(number)) for number in range(NODES)]
        town.dialer.startService()

    def methods(self, number: int) -> dict[str, Method]:
        """What node C{number} offers."""

        async def work(request: bytes) -> bytes:
            self.processed[request] += 1
            waiting: Deferred[None] = Deferred()
            self.working[number].append(waiting)
            await waiting
            return request

        async def unary(request: bytes, call: ServerCall) -> bytes:
            return await work(request)

        async def stream(requests: AsyncIterator[bytes], call: ServerCall) -> AsyncIterator[bytes]:
            async for request in requests:
                yield await work(request)

        return {"/s.S/Unary": Method("unary_unary", unary), "/s.S/Stream": Method("stream_stream", stream)}

    def happen(self, what: str, number: int) -> None:
        """Let something happen."""
        match what:
            case "unary" | "stream":
                self.call(what)
            case "answer":
                working, self.working[number] = self.working[number], []
                for waiting in working:
                    if not waiting.called:
                        waiting.callback(None)
            case "kill" | "drop":
                self.nodes[number].refusing = what == "kill"
                for ours, _ in self.nodes[number].connections:
                    ours.abortConnection()
            case "revive":
                self.nodes[number].refusing = False
            case "wait":
                self.town.clock.pump([0.1] * number)

    def call(self, kind: str) -> None:
        """Make a call."""
        name = b"%d" % len(self.calls)
        outcome = self.calls[name] = []
        if kind == "unary":
            waiting = self.town.client.unary_unary("/s.S/Unary")(name)
        else:
            waiting = Deferred.fromCoroutine(self.converse(name))
        waiting.addBoth(lambda found: outcome.append(getattr(found, "value", found)))

    async def converse(self, name: bytes) -> bytes:
        """One request, one reply, in a stream that could have more."""
        call = self.town.client.stream_stream("/s.S/Stream")()
        await call.write(name)
        await call.done_writing()
        replies = [reply async for reply in call]
        assert replies == [name]
        return name

    def check(self) -> None:
        """Every call has an outcome, which is true."""
        for name, outcome in self.calls.items():
            assert self.processed[name] <= 1
            (found,) = outcome
            if found == name:
                assert self.processed[name] == 1
                continue
            assert isinstance(found, RpcError), found
            told = MicroError.from_json(found.message)
            assert told is not None
            assert told.code in (502, 503), told
            if told.code == 503:
                assert self.processed[name] == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, max_size=40))
def test_at_most_once(make_town: Any, events: list[tuple[str, int]]) -> None:
    """A call is processed once if it is answered, never if it was not delivered, and at most once if none can say."""
    world = World(make_town())
    for event in events:
        world.happen(*event)
    for number in range(NODES):
        # Whoever still works answers, and whoever waits for a node finds none.
        world.happen("answer", number)
        world.happen("kill", number)
    world.town.clock.pump([0.5] * 20)
    world.check()
    assert all(not world.town.dialer.channel(address).in_flight for address in world.town.endpoints)
