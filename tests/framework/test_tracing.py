"""Spans: what a service answered and what it asked for, in the trace of the request that led to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from twisted.internet.task import Clock, deferLater

from microd.framework import Call, NotFound, Service
from microd.kernel.activity import INBOUND, KEPT, OUTBOUND, Span
from microd.kernel.errors import MicroError
from microd.testing.outcome import done
from microd.testing.services import ServiceTester
from microd.txgrpc.memory import connect

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=x"}


@dataclass
class Text:
    text: str = ""


@pytest.fixture
def back() -> ServiceTester:
    """A service that others call."""
    service = Service("back", environ={})

    @service.endpoint
    async def same(request: Text) -> Text:
        return request

    @service.endpoint
    async def twice(request: Text) -> AsyncIterator[Text]:
        yield request
        yield request

    @service.endpoint
    async def fail(request: Text) -> Text:
        raise NotFound(request.text)

    return ServiceTester(service)


@pytest.fixture
def front(back: ServiceTester) -> ServiceTester:
    """A service that calls it."""
    service = Service("front", environ={})

    @service.endpoint
    async def ask(request: Text, call: Call) -> Text:
        answer = await service.client.call("back", f"Back.{request.text or 'Same'}", request, Text)
        return Text(f"{call.trace_id} {call.span_id} {answer.text}")

    @service.endpoint
    def wait(request: Text, call: Call) -> Text:
        service.blocking.store.write("k", "v")
        return Text(call.trace_id)

    @service.endpoint
    async def read(request: Text) -> Text:
        async for reply in service.client.stream("back", "Back.Twice", request, Text):
            return reply
        return Text()

    return ServiceTester(service, back.clock, back.daemon)


def spans(tester: ServiceTester, id: str = "") -> list[Span]:
    """What a service remembers."""
    return tester.service.client.activity.spans(id)


def test_chain(front: ServiceTester, back: ServiceTester) -> None:
    """Each span's parent is the one it happened in: the caller's, our answering, our asking, the other's answering."""
    said = front.call("Front.Ask", Text(), Text, metadata=PARENT).text.split()
    asking, answering = spans(front)[-2:]
    [theirs] = spans(back)
    assert (asking.name, answering.name, theirs.name) == (
        "back.Back.Same",
        "front.Front.Ask",
        "back.Back.Same",
    )
    assert (asking.type, answering.type, theirs.type) == (OUTBOUND, INBOUND, INBOUND)
    assert [answering.parent, asking.parent, theirs.parent] == [SPAN, answering.id, asking.id]
    assert {span.trace for span in (answering, asking, theirs)} == {TRACE}
    assert said == [TRACE, answering.id]


def test_both_forms(front: ServiceTester) -> None:
    """A call within a call bears both forms of the same span, and the caller's tracestate."""
    front.call("Front.Ask", Text(), Text, metadata=PARENT)
    asking = next(span for span in spans(front) if span.type == OUTBOUND)
    sent = dict(front.daemon.calls)["/back.Back/Same"]
    assert sent["traceparent"] == f"00-{TRACE}-{asking.id}-01"
    assert sent["tracestate"] == "vendor=x"
    assert sent["micro-trace-id"].replace("-", "") == TRACE
    assert sent["micro-span-id"].replace("-", "")[16:] == asking.id


def test_reference_headers(front: ServiceTester, back: ServiceTester) -> None:
    """A caller who speaks only the reference's headers is understood: a uuid is the same 128 bits."""
    uuid = "0af76519-16cd-43dd-8448-eb211c80319c"
    front.call("Front.Ask", Text(), Text, metadata={"micro-trace-id": uuid, "micro-span-id": "x"})
    assert {span.trace for span in (*spans(front, uuid), *spans(back))} == {TRACE}
    assert len(spans(front, uuid)) == 2


def test_new_trace(front: ServiceTester) -> None:
    """A call which names no trace begins one; asked again, it still has the same ids."""
    channel = connect(front.server, front.clock)
    done(channel.unary_unary("/front.Front/Wait")(b""))
    [_, answering] = [span for span in spans(front) if span.name.startswith(("store", "front"))]
    assert answering.parent == ""
    assert spans(front)[-1] == answering


def test_platform(front: ServiceTester) -> None:
    """What a plain function asks of the platform is in the trace as well."""
    front.call("Front.Wait", Text(), Text, metadata=PARENT)
    assert ("store.Store.Write", OUTBOUND) in [(span.name, span.type) for span in spans(front, TRACE)]


def test_alone(front: ServiceTester, back: ServiceTester) -> None:
    """A call made outside of any begins a trace of its own; the framework's own questions begin none."""
    client = front.service.client

    async def ask() -> Text:
        return await client.call("back", "Back.Same", Text("a"), Text)

    done(ask())
    asked = spans(front)[-1]
    assert (asked.name, asked.parent, asked.trace) == ("back.Back.Same", "", spans(back)[-1].trace)
    assert len(spans(front)) == 1


def test_author_wins(front: ServiceTester, back: ServiceTester) -> None:
    """Trace headers that the author gives are sent as they are, and ours are not."""

    async def ask() -> Text:
        return await front.service.client.call("back", "Back.Same", Text(), Text, metadata=PARENT)

    done(ask())
    sent = dict(front.daemon.calls)["/back.Back/Same"]
    assert (sent["traceparent"], sent.get("micro-trace-id")) == (PARENT["traceparent"], None)
    assert (spans(back)[-1].trace, spans(back)[-1].parent) == (TRACE, SPAN)
    assert spans(front)[-1].trace == TRACE


def test_errors(front: ServiceTester, back: ServiceTester) -> None:
    """A failed call's spans say why, on both sides, and count as errors."""
    with pytest.raises(NotFound):
        back.call("Back.Fail", Text("no such thing"), Text)
    with pytest.raises(NotFound):
        front.call("Front.Ask", Text("Fail"), Text)
    assert spans(back)[0].metadata == {"error": "no such thing"}
    assert [span.metadata for span in spans(front)[-2:]] == [{"error": "Fail"}] * 2
    activity = back.service.client.activity
    assert (activity.requests, activity.errors) == (2, 2)


def test_long_error(back: ServiceTester) -> None:
    """Of an endless error the beginning is kept."""
    with pytest.raises(NotFound):
        back.call("Back.Fail", Text("x" * 100_000), Text)
    assert len(spans(back)[0].metadata["error"]) == 512


def test_streams(front: ServiceTester, back: ServiceTester) -> None:
    """A stream is a span once it has ended; one that its reader left is no error for either side."""
    assert back.stream("Back.Twice", Text(), Text) == [Text(), Text()]
    front.call("Front.Read", Text(), Text, metadata=PARENT)
    assert [(span.name, dict(span.metadata)) for span in spans(front, TRACE)] == [
        ("back.Back.Twice", {}),
        ("front.Front.Read", {}),
    ]
    assert (spans(back)[0].name, dict(spans(back)[0].metadata)) == ("back.Back.Twice", {})


def test_time() -> None:
    """A span has its beginning and its duration, and says when a deadline was the end of it."""
    service, clock = Service("slow", environ={}), Clock()

    @service.endpoint
    async def slow(request: Text) -> Text:
        await deferLater(clock, 10)
        return request

    tester = ServiceTester(service, clock)
    service.client.activity.now = lambda: int(clock.seconds() * 1e9)
    clock.advance(100)
    waiting = tester.begin("Slow.Slow", Text(), Text, timeout=60)
    clock.advance(10)
    done(waiting)
    late = tester.begin("Slow.Slow", Text(), Text, timeout=2)
    clock.advance(2)
    with pytest.raises(MicroError):
        done(late)
    first, second = spans(tester)
    assert (first.started, first.duration, first.metadata) == (100 * 10**9, 10 * 10**9, {})
    assert (second.duration, second.metadata) == (2 * 10**9, {"error": "the deadline has passed"})


def test_bounded(back: ServiceTester) -> None:
    """The last 256 spans are kept."""
    for number in range(KEPT + 10):
        back.call("Back.Same", Text(str(number)), Text)
    assert len(spans(back)) == 256
    assert back.service.client.activity.requests == KEPT + 10
