"""Every relayed call belongs to a trace, in W3C's form and in the reference's, and only its own."""

from __future__ import annotations

from typing import Any

import pytest

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel import trace
from microd.txgrpc import Method, ServerCall, tail, unary_unary
from microd.txgrpc.memory import MemoryEndpoint

HELLO = "/greeter.Greeter/Hello"
ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = ("traceparent", f"00-{ID}-{SPAN}-01")
UUID = ("micro-trace-id", "0af76519-16cd-43dd-8448-eb211c80319c")
THEIR_SPAN = ("micro-span-id", "11111111-2222-4333-b7ad-6b7169203331")
OUR_SPAN = ("micro-span-id", "00000000-0000-0000-b7ad-6b7169203331")


class Service:
    """A service which notes its calls."""

    def __init__(self) -> None:
        self.calls: list[ServerCall] = []

    async def hello(self, request: bytes, call: ServerCall) -> bytes:
        """Greet."""
        self.calls.append(call)
        return b"hello"

    def methods(self) -> dict[str, Method]:
        """What it offers."""
        return {HELLO: unary_unary(self.hello)}

    @property
    def ids(self) -> list[tuple[str, Any]]:
        """What the last call said of its trace."""
        return [(name, value) for name, value in self.calls[-1].metadata if name in trace.NAMES]


@pytest.fixture
def service(town: Any) -> Service:
    """The one service of the town."""
    service = Service()
    town.settle("greeter", service.methods())
    return service


def test_begun(town: Any, service: Service) -> None:
    """A call that belongs to no trace begins one at the door, said in both forms; the next call begins another."""
    town.call(HELLO, timeout=5)
    assert [name for name, _ in service.ids] == ["traceparent", "micro-trace-id", "micro-span-id"]
    first = trace.read(service.ids)
    assert first is not None
    assert trace.read(service.ids[1:]) == first
    town.call(HELLO, timeout=5)
    second = trace.read(service.ids)
    assert second is not None
    assert second.id != first.id


def test_read_once(town: Any, service: Service) -> None:
    """Calls that differ in nothing but their traces have their headers read once, at the door and at the node."""
    for _ in range(3):
        town.call(HELLO, timeout=5)
    town.call(HELLO, timeout=5, tail=tail.begin())
    assert len({id(call.head) for call in service.calls}) == 1
    assert len({call.tail for call in service.calls}) == 4


def test_kept(town: Any, service: Service) -> None:
    """A call's trace goes on with the span of its caller, as the door is no span of its own."""
    sent = tail.begin()
    town.call(HELLO, tail=sent)
    assert service.calls[-1].tail == sent


@pytest.mark.parametrize(
    ("sent", "goes"),
    [
        ([PARENT], [PARENT, UUID, OUR_SPAN]),
        (
            [UUID],
            [
                ("traceparent", f"00-{ID}-{ID[16:]}-01"),
                UUID,
                ("micro-span-id", f"00000000-0000-0000-8448-{ID[20:]}"),
            ],
        ),
        ([UUID, THEIR_SPAN], [PARENT, UUID, THEIR_SPAN]),
        ([THEIR_SPAN, UUID, PARENT], [PARENT, UUID, THEIR_SPAN]),
        ([("traceparent", f"cc-{ID}-{SPAN}-01-more")], [PARENT, UUID, OUR_SPAN]),
        ([("traceparent", "nonsense"), UUID, THEIR_SPAN], [PARENT, UUID, THEIR_SPAN]),
        ([PARENT, ("micro-trace-id", "11111111-2222-4333-8444-555555555555")], [PARENT, UUID, OUR_SPAN]),
    ],
)
def test_forms(town: Any, service: Service, sent: Any, goes: Any) -> None:
    """Whichever form a call comes with, it goes on in both; the reference's as it came where it says the same."""
    town.call(HELLO, metadata=[*sent, ("x-after", "1")])
    assert service.ids == goes
    assert service.calls[-1].tail


def test_free_text(town: Any, service: Service) -> None:
    """An id of the reference's form that is no uuid reaches the node as it came, besides the traceparent made of it."""
    town.call(HELLO, metadata=[("micro-trace-id", "order 66")])
    found = trace.from_ids("order 66")
    assert found is not None
    said = dict(service.ids)
    assert said["micro-trace-id"] == "order 66"
    assert said["traceparent"] == trace.traceparent(found)


@pytest.mark.parametrize("sent", [[], [PARENT], [PARENT, UUID, OUR_SPAN]])
def test_state(town: Any, service: Service, sent: Any) -> None:
    """A tracestate goes on untouched with its traceparent, through any number of doors; without one it means nothing."""
    second = Door([], Gate(town.auth), town.router, town.dialer, clock=town.clock)
    town.endpoints["10.9.9.9:80"] = MemoryEndpoint(second)
    town.call(HELLO, metadata=[("tracestate", "a=1,b=2"), *sent])
    assert dict(service.ids).get("tracestate") == ("a=1,b=2" if sent else None)
    town.call(HELLO, metadata=[("tracestate", "a=1,b=2")], tail=tail.begin())
    assert dict(service.ids)["tracestate"] == "a=1,b=2"


@pytest.mark.parametrize(
    "bad", ["nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"ff-{ID}-{SPAN}-01"]
)
def test_invalid(town: Any, service: Service, bad: str) -> None:
    """What is no traceparent goes no further, nor does the state that came with it: a trace begins."""
    town.call(HELLO, metadata=[("traceparent", bad), ("tracestate", "a=1")])
    assert len(service.ids) == 3
    found = trace.read(service.ids)
    assert found is not None
    assert found.id not in bad


def test_two_parents(town: Any, service: Service) -> None:
    """Two traceparents are none."""
    town.call(HELLO, metadata=[PARENT, PARENT])
    found = trace.read(service.ids)
    assert found is not None
    assert found.id != ID


def test_other_node(town: Any, service: Service) -> None:
    """A call that goes on to another node stays what it was."""
    town.settle("greeter", service.methods()).refusing = True
    seen = set()
    for _ in range(4):
        sent = tail.begin()
        town.call(HELLO, tail=sent)
        seen.add(service.calls[-1].tail == sent)
    assert seen == {True}
