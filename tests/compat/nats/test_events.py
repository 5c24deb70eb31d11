"""Events by clients of NATS: JetStream's C{publish}, unmodified, stores one under C{$EVENTS.}, and hears its offset."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import pytest
from nats.errors import NoRespondersError
from nats.js.errors import APIError, NoStreamResponseError

from tests.compat.conftest import Client
from tests.compat.nats.conftest import Clients, listening, settled
from tests.conftest import PEERS

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

READ, PUBLISH = "/events.Store/Read", "/events.Stream/Publish"

#: Stores two events with npm's client, and prints what it hears of it.
_JS = """
const { connect, StringCodec } = require('nats');
(async () => {
  const [servers, user, pass, subject] = process.argv.slice(1);
  const nc = await connect({ servers, user, pass });
  const js = nc.jetstream();
  for (const body of ['one', 'two']) {
    const { stream, seq, duplicate } = await js.publish(subject, StringCodec().encode(body));
    console.log(JSON.stringify({ stream, seq, duplicate }));
  }
  await nc.close();
})();
"""


def _kept(call: Client, topic: str, by: str = "alpha-user") -> list[tuple[str, bytes, dict[str, str]]]:
    """Offsets, payloads and metadata of a topic's events."""
    return [
        (each["offset"], base64.b64decode(each["payload"]), each.get("metadata", {}))
        for each in call(READ, {"topic": topic, "limit": 100}, by=by).get("events", [])
    ]


def test_stored(clients: Clients, grpc_call: Client) -> None:
    """What was acknowledged can be read, with its headers; nobody who listens to subjects hears of it."""
    topic = grpc_call.unique

    async def act() -> list[tuple[str, int]]:
        async with clients.of("alpha-service") as service, clients.of("alpha-user") as ann:
            heard = await listening(ann, "$EVENTS.>", "*.*", f"$EVENTS.{topic}")
            stream = service.jetstream()
            acks = [
                await stream.publish(f"$EVENTS.{topic}", b"one"),
                await stream.publish(f"$EVENTS.{topic}", b"\x00\r\n", headers={"Colour": "red"}),
            ]
            await service.publish(f"$EVENTS.{topic}", b"unanswered")
            acks.append(await stream.publish(f"$EVENTS.{topic}", b""))
            await settled(ann)
            assert heard == []
            return [(ack.stream, ack.seq) for ack in acks]

    assert clients.run(act) == [(topic, 1), (topic, 2), (topic, 4)]
    assert _kept(grpc_call, topic) == [
        ("1", b"one", {}),
        ("2", b"\x00\r\n", {"Colour": "red"}),
        ("3", b"unanswered", {}),
        ("4", b"", {}),
    ]


def test_walls(clients: Clients, grpc_call: Client) -> None:
    """A topic of the same name is another one in another namespace; over gRPC it is the same one in the same."""
    topic = grpc_call.unique

    async def act() -> list[int]:
        async with clients.of("alpha-user") as ann, clients.of("beta-user") as bob:
            return [
                (await each.jetstream().publish(f"$EVENTS.{topic}", b"x")).seq for each in (ann, bob, ann)
            ]

    assert clients.run(act) == [1, 1, 2]
    grpc_call(PUBLISH, {"topic": topic, "payload": base64.b64encode(b"g").decode()}, by="alpha-user")
    assert [offset for offset, _, _ in _kept(grpc_call, topic)] == ["1", "2", "3"]
    assert [offset for offset, _, _ in _kept(grpc_call, topic, "beta-admin")] == ["1"]


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        ("$EVENTS.orders", {"Micro-Only-Group": "g"}),
        ("$EVENTS." + "x" * 300, None),
    ],
)
def test_refused(clients: Clients, subject: str, headers: dict[str, str] | None) -> None:
    """What cannot be stored is refused with an error that JetStream's clients raise."""

    async def act() -> APIError:
        async with clients.of("alpha-user") as ann:
            with pytest.raises(APIError) as caught:
                await ann.jetstream().publish(subject, b"x", headers=headers)
            return caught.value

    error = clients.run(act)
    assert error.code == 400
    assert error.description


def test_no_topic(clients: Clients) -> None:
    """Where nothing can be stored at all, JetStream's clients hear that there is no such stream."""

    async def act() -> None:
        async with clients.of("alpha-user") as ann:
            for subject in ("$EVENTS", "$EVENTS.", "$EVENTS.a..b", "$EVENTS.*"):
                with pytest.raises(NoStreamResponseError):
                    await ann.jetstream().publish(subject, b"x", timeout=5)

    clients.run(act)


def test_no_jetstream(clients: Clients) -> None:
    """There is no other part of JetStream here, and nobody pretends to be it."""

    async def act() -> None:
        async with clients.of("alpha-user") as ann:
            with pytest.raises(NoRespondersError):
                await ann.request("$JS.API.INFO", b"", timeout=5)

    clients.run(act)


def test_npm(clients: Clients, grpc_call: Client) -> None:
    """The same with npm's client."""
    topic = grpc_call.unique
    person = clients.daemon.people["alpha-user"]
    said = subprocess.run(
        [
            *("node", "-e", _JS, clients.daemon.platform.door("nats")),
            *(f"alpha/{person.id}", person.secret, f"$EVENTS.{topic}"),
        ],
        cwd=PEERS,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.stderr == ""
    acks: list[Any] = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(each["stream"], each["seq"]) for each in acks] == [(topic, 1), (topic, 2)]
    assert [payload for _, payload, _ in _kept(grpc_call, topic)] == [b"one", b"two"]
