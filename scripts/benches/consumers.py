"""Consumers of events over gRPC, and what is asked about topics besides."""

from __future__ import annotations

import time
from collections.abc import Mapping

from microd.txgrpc.blocking import BlockingChannel
from microd.wire import events_pb2 as pb

Headers = Mapping[str, str]


def kept(channel: BlockingChannel, headers: Headers, topic: str) -> int:
    """How many events a topic has, none of which may be missing between the first and the last."""
    ask = channel.unary_unary(
        "/events.Topics/List", pb.TopicsRequest.SerializeToString, pb.TopicsResponse.FromString
    )
    for found in ask(pb.TopicsRequest(limit=1000), metadata=headers, timeout=30).topics:
        if found.name == topic:
            last, first = int(found.last), int(found.first)
            # More may have come meanwhile.
            if newest(channel, headers, topic) < last:
                raise RuntimeError(f"{topic} says that its last event is {last}, which cannot be read")
            return last - first + 1
    return 0


def newest(channel: BlockingChannel, headers: Headers, topic: str) -> int:
    """The offset of the last event that can be read."""
    ask = channel.unary_unary(
        "/events.Store/Read", pb.ReadRequest.SerializeToString, pb.ReadResponse.FromString
    )
    page = ask(pb.ReadRequest(topic=topic, newest=True, limit=1), metadata=headers, timeout=30)
    return int(page.events[-1].offset) if page.events else 0


def consume(
    channel: BlockingChannel, headers: Headers, topic: str, group: str, count: int, *, auto_ack: bool
) -> float:
    """Events a second which one consumer gets who begins with the first, and who acknowledges each if it is to."""
    wanted = pb.ConsumeRequest(
        topic=topic,
        group=group,
        start=pb.EARLIEST,
        auto_ack=auto_ack,
        ack_wait=30_000_000_000,
        retry_limit=-1,
    )
    wanted.max_in_flight = 256
    parse = pb.Event.FromString
    with channel.stream_stream("/events.Stream/Consume")(metadata=headers, timeout=60) as call:
        begun = time.perf_counter()
        call.write(wanted.SerializeToString())
        for number, message in enumerate(call, 1):
            if not auto_ack:
                call.write(pb.AckRequest(id=parse(message).id, success=True).SerializeToString())
            if number == count:
                break
        took = time.perf_counter() - begun
        last = parse(message).offset
        if last != count:
            raise RuntimeError(f"event {count} of {topic} has the offset {last}")
    return count / took


def latencies(address: str, headers: Headers, topic: str, count: int) -> list[float]:
    """Seconds from asking for a publication until a waiting consumer has the event, one after the other; sorted."""
    found: list[float] = []
    with BlockingChannel(address) as there, BlockingChannel(address) as here:
        publish = there.unary_unary("/events.Stream/Publish")
        message = pb.PublishRequest(topic=topic, payload=b"x" * 128).SerializeToString()
        publish(message, metadata=headers, timeout=10)
        with here.stream_stream("/events.Stream/Consume")(metadata=headers, timeout=60) as call:
            wanted = pb.ConsumeRequest(topic=topic, start=pb.EARLIEST, auto_ack=True)
            call.write(wanted.SerializeToString())
            next(call)
            for _ in range(count):
                begun = time.perf_counter()
                publish(message, metadata=headers, timeout=10)
                next(call)
                found.append(time.perf_counter() - begun)
    return sorted(found)
