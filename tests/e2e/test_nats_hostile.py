"""Clients of the NATS door which do harm: the daemon stays small, and the others notice nothing."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from microd.testing import nats_wire as wire
from microd.testing.certificates import Authority
from microd.testing.nats_client import Pair, RawNats
from microd.testing.nats_hostile import KINDS, LOAD
from microd.testing.nats_idle import allow_files, idle_connections, resident_kib
from microd.testing.platform import Platform
from microd.txgrpc.blocking import BlockingChannel
from microd.wire import broker_pb2 as pb

pytestmark = pytest.mark.e2e

#: What waits for one connection, and for a namespace, in MiB: less than by default, so that the tests fill it soon.
PENDING, MEMORY = 4, 16
#: What any of this may take beyond what waits, in MiB: sockets' buffers of 64 KiB for each connection, a turn's output, what
#: the broker remembers of a namespace (some 24 MiB at most), and that Python does not give back all that it once had.
SLACK = 24
_ERROR = re.compile(r"#(error|critical)\]|Traceback|Unhandled")


@dataclass(frozen=True)
class Door:
    """A daemon's NATS door, and how to get in."""

    platform: Platform
    address: str
    options: dict[str, Any]

    @property
    def mib(self) -> float:
        """What the daemon takes now."""
        assert self.platform.daemon is not None
        return resident_kib(self.platform.daemon.pid) / 1024

    @property
    def log(self) -> list[str]:
        assert self.platform.daemon is not None
        return self.platform.daemon.output.lines

    def figure(self, name: str) -> float:
        """What the ops door tells."""
        with urlopen(f"http://{self.platform.door('ops')}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        families = list(text_string_to_metric_families(text))
        found = [sample.value for each in families for sample in each.samples if sample.name == name]
        return sum(found)

    def token(self) -> str:
        """An access token of the admin."""
        asked = {"id": self.options["user"], "secret": self.options["pass"], "token_expiry": 3600}
        with BlockingChannel(self.platform.door("proxy")) as channel:
            reply = channel.unary_unary("/auth.Auth/Token")(
                json.dumps(asked).encode(), content_type="application/grpc+json", timeout=10
            )
        token: str = json.loads(reply)["token"]["access_token"]
        return token

    def client(self, **more: Any) -> RawNats:
        """Somebody who means well."""
        return RawNats(self.address, **more).login(**self.options)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One daemon for all of it."""
    allow_files(6000)
    folder = tmp_path_factory.mktemp("hostile")
    platform = Platform(folder / "home")
    try:
        platform.start(
            MICRO_NATS_ADDRESS="127.0.0.1:0",
            MICRO_NATS_MAX_PENDING=str(PENDING << 20),
            MICRO_BROKER_MAX_MESSAGE=str(1 << 20),
            MICRO_BROKER_BACKLOG_SIZE=str(PENDING << 20),
            MICRO_BROKER_MEMORY=str(MEMORY << 20),
        )
        secret = (platform.data / "admin-secret").read_text().strip()
        yield Door(platform, platform.door("nats"), {"user": "admin", "pass": secret})
    finally:
        platform.close()


@pytest.fixture(autouse=True)
def _nothing_broke(door: Door) -> Iterator[None]:
    """The daemon goes on, and logs nothing as an error."""
    before = len(door.log)
    yield
    assert door.platform.daemon is not None
    assert door.platform.daemon.popen.poll() is None
    said = [line for line in door.log[before:] if _ERROR.search(line)]
    assert not said, said[:5]


def publish(door: Door, count: int, size: int) -> None:
    """Messages to LOAD, while somebody who reads gets each of them, in order."""
    with door.client() as reader, door.client() as writer:
        reader.send(wire.sub(LOAD, 1))
        reader.flush()
        for first in range(0, count, 20):
            numbers = range(first, min(first + 20, count))
            writer.send(*(wire.pub(LOAD, b"%d:" % number + b"x" * size) for number in numbers))
            heard = reader.messages(len(numbers))
            assert [int(each.payload.partition(b":")[0]) for each in heard] == list(numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_others(door: Door, kind: str) -> None:
    """Whoever asks is answered, whoever reads gets every message in order, and the daemon stays small."""
    with Pair(door.address, **door.options) as pair:
        before = door.mib
        with KINDS[kind](door.address, door.options) as hostile:
            for _ in range(20):
                hostile.step()
                publish(door, 50, 6 * 1024)
                pair.ask()
            grown = door.mib - before
        pair.ask()
    assert grown < 2 * MEMORY + SLACK, f"{grown:.1f} MiB more"


def test_never_reads(door: Door) -> None:
    """Fifty subscribers who read nothing of 40 MiB cost what their namespace may have waiting; what they lost is
    counted, and the log names them."""
    dropped, logged = door.figure("microd_nats_dropped_total"), len(door.log)
    with ExitStack() as opened:
        deaf = [opened.enter_context(door.client(receive_buffer=2048)) for _ in range(50)]
        for each in deaf:
            each.send(wire.sub(LOAD, 1))
            each.flush()
        before = door.mib
        publish(door, 4000, 10 * 1024)
        grown = door.mib - before
        assert grown < MEMORY + SLACK, f"{grown:.1f} MiB more"
        assert door.figure("microd_nats_dropped_total") - dropped > 50 * 1000
        deaf[0].flush()
    told = [line for line in door.log[logged:] if "too slow" in line]
    assert 1 <= len(told) <= 50
    assert all("admin" in line and "drop-oldest" in line for line in told)


def test_grpc_never_reads(door: Door) -> None:
    """Subscribers over gRPC who read nothing of what a client of NATS publishes are bounded likewise."""
    with grpc.insecure_channel(door.platform.door("proxy")) as channel:
        subscribe = channel.unary_stream(
            "/broker.Broker/Subscribe",
            request_serializer=pb.SubscribeRequest.SerializeToString,
            response_deserializer=pb.Message.FromString,
        )
        held = door.figure("microd_broker_subscriptions")
        secured = (("authorization", f"Bearer {door.token()}"),)
        calls = [subscribe(pb.SubscribeRequest(topic=LOAD), metadata=secured) for _ in range(20)]
        while door.figure("microd_broker_subscriptions") < held + len(calls):
            pass
        before = door.mib
        publish(door, 4000, 10 * 1024)
        grown = door.mib - before
        assert grown < MEMORY + SLACK, f"{grown:.1f} MiB more"
        numbers = [int(next(calls[0]).body.partition(b":")[0]) for _ in range(20)]
        assert numbers == sorted(numbers)
        for call in calls:
            call.cancel()


def test_strangers(door: Door) -> None:
    """Two thousand who connect and say nothing keep nobody out who says who it is, and cost little."""
    before = door.mib
    with idle_connections(door.address, 2000, silent=True), Pair(door.address, **door.options) as pair:
        pair.ask()
        assert door.figure("microd_nats_strangers") <= 1024
        assert door.mib - before < SLACK


def test_half_open_handshakes(tmp_path: Path) -> None:
    """Clients who never finish a TLS handshake are sent away, and keep out nobody who does."""
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    platform = Platform(tmp_path / "home")
    try:
        platform.start(
            MICRO_NATS_ADDRESS="127.0.0.1:0",
            MICRO_NATS_TLS_CERT=str(issued.certificate),
            MICRO_NATS_TLS_KEY=str(issued.key),
            MICRO_NATS_AUTH_TIMEOUT="500ms",
            MICRO_NATS_WRITE_DEADLINE="500ms",
        )
        secret = (platform.data / "admin-secret").read_text().strip()
        context = ssl.create_default_context(cafile=str(authority.root))
        with ExitStack() as opened:
            stuck = [opened.enter_context(RawNats(platform.door("nats"))) for _ in range(100)]
            for number, each in enumerate(stuck):
                each.send((b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"no handshake at all\r\n")[number % 4])
            client = opened.enter_context(RawNats(platform.door("nats"), tls=context))
            client.login(user="admin", **{"pass": secret}).send(wire.sub("a", 1), wire.pub("a", b"x"))
            assert client.messages(1)[0].payload == b"x"
            for each in stuck:
                with suppress(ConnectionError):
                    while each.socket.recv(4096):
                        pass
            client.flush()
        assert platform.daemon is not None
        assert not [line for line in platform.daemon.output.lines if _ERROR.search(line)]
    finally:
        platform.close()
