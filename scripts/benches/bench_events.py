"""Durable publishing beside nats-server with JetStream: the same raw sockets publish, 128 bytes each, and count acknowledgements.

Both keep their files in the same folder's file system. Ours acknowledges an event when it has been synced to the disk;
JetStream, by default, when it was handed to the operating system, which it asks for a sync every two minutes. Ours
checks tokens besides. After each round, what was acknowledged is counted in the topic, or stream.

The bar is for publishers who do not wait for each acknowledgement: 64 in flight on each of 8 connections (clients allow more
unless told otherwise: nats-py 4,000). With fewer in flight the wait for the disk shows, which JetStream's figures have none of: those are
printed, too, with their ratios.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

from benches import consumers
from benches.alternation import Report, alternate, pairs_from, ratio
from benches.bench_proxy import token
from benches.contender import h2load
from benches.jetstream import jetstream, stored
from benches.publishers import publish
from microd.testing.platform import Platform
from microd.txgrpc.blocking import BlockingChannel
from microd.wire import events_pb2 as pb

OURS, THEIRS = "microd", "JetStream"
PAYLOAD = b"x" * 128
BATCH = 100
#: What is consumed for a figure.
EVENTS = 100_000


class Ours:
    """A daemon with what is needed for events, as an operator runs it."""

    def __init__(self, platform: Platform) -> None:
        platform.start("--only", "events,auth,proxy,nats", MICRO_NATS_ADDRESS="127.0.0.1:0")
        self._nats = int(platform.door("nats").rpartition(":")[2])
        self.address = platform.door("proxy")
        self.port = int(self.address.rpartition(":")[2])
        self._token = token(platform)
        self.headers = {"authorization": f"Bearer {self._token}"}
        self._topics = map("round-{}".format, count(1))

    def publish(self, connections: int, in_flight: int, seconds: float) -> float:
        """Acknowledged events a second, over the NATS protocol."""
        topic = next(self._topics)
        rate, acknowledged = publish(
            self._nats,
            f"$EVENTS.{topic}",
            token=self._token,
            connections=connections,
            in_flight=in_flight,
            seconds=seconds,
        )
        with BlockingChannel(self.address) as channel:
            found = consumers.kept(channel, self.headers, topic)
        if found < acknowledged:
            raise RuntimeError(f"{acknowledged} events were acknowledged, {found} are stored")
        return rate

    def call(self, method: str, request: bytes, events: int) -> float:
        """Acknowledged events a second, over gRPC."""
        return h2load(self.port, f"/events.Stream/{method}", request, headers=self.headers) * events


class Theirs:
    """nats-server with JetStream."""

    def __init__(self, port: int) -> None:
        self._port = port

    def publish(self, connections: int, in_flight: int, seconds: float) -> float:
        """Acknowledged messages a second."""
        before = stored(self._port)
        rate, acknowledged = publish(
            self._port, "ev.orders", connections=connections, in_flight=in_flight, seconds=seconds
        )
        found = stored(self._port) - before
        if found < acknowledged:
            raise RuntimeError(f"{acknowledged} messages were acknowledged, {found} are stored")
        return rate


def publish_by_grpc(ours: Ours, report: Report) -> None:
    """One by one, and by the hundred."""
    one = pb.PublishRequest(topic="grpc", payload=PAYLOAD)
    many = pb.PublishManyRequest(topic="grpc-many", events=[pb.Event(payload=PAYLOAD)] * BATCH)
    with BlockingChannel(ours.address) as channel:
        for method, request, events in (("Publish", one, 1), ("PublishMany", many, BATCH)):
            message = request.SerializeToString()
            channel.unary_unary(f"/events.Stream/{method}")(message, metadata=ours.headers, timeout=10)
            report.figure(f"grpc_{method}_events_per_s", ours.call(method, message, events))
        if consumers.kept(channel, ours.headers, request.topic) < EVENTS:
            raise RuntimeError(f"fewer than {EVENTS} events were published: too few to consume")


def consume(ours: Ours, report: Report) -> None:
    """One consumer of what was published, and how long an event takes to reach one who waits."""
    with BlockingChannel(ours.address) as channel:
        for name, auto_ack, events in (("auto_ack", True, EVENTS), ("acks", False, EVENTS // 2)):
            rate = consumers.consume(channel, ours.headers, "grpc-many", name, events, auto_ack=auto_ack)
            report.figure(f"consume_{name}_per_s", rate)
    found = consumers.latencies(ours.address, ours.headers, "latency", 1000)
    for percent in (50, 99):
        report.figure(f"publish_to_consumer_p{percent}_us", found[len(found) * percent // 100] * 1e6)


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("events")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, jetstream(Path(name)) as port:
        platform = Platform(Path(name) / "home")
        try:
            ours = Ours(platform)
            contenders = {OURS: ours, THEIRS: Theirs(port)}
            for shape in ((8, 64), (8, 8), (1, 1)):
                main_one = shape == (8, 64)
                seconds = 2.0 if main_one else 1.0
                rounds = alternate(
                    pairs if main_one else min(pairs, 3),
                    {who: partial(each.publish, *shape, seconds) for who, each in contenders.items()},
                )
                report.figures("publishes_per_s_{}x{}".format(*shape), rounds)
                found = ratio(rounds, OURS, THEIRS)
                if main_one:
                    report.at_least("publish", found, 0.8)
                else:
                    report.figure("ratio_{}x{}".format(*shape), found)
            publish_by_grpc(ours, report)
            consume(ours, report)
        finally:
            platform.close()
    report.finish()


if __name__ == "__main__":
    main()
