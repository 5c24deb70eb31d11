"""Many clients who come, subscribe, publish, leave: each message reaches exactly those whom it should.

What is remembered of lines, subjects and audiences must never be older than the last change; a model which remembers nothing
tells who should get what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest

from microd.gateways.nats.model import Limits
from microd.testing import nats_wire as wire
from microd.testing.nats_door import MemoryDoor
from microd.testing.nats_peer import NatsPeer
from microd.testing.nats_reference import matches

#: Few, so that most lines were seen before.
_SUBJECTS = ("a", "a.b", "a.c", "b.c", "a.b.c", "x")
_PATTERNS = (*_SUBJECTS, "*", ">", "a.*", "*.c", "a.>", "*.b.*", "b.>")
_QUEUES = ("one", "two")


@dataclass
class Sub:
    """A subscription, as the model knows it."""

    pattern: str
    queue: str
    most: int = 0
    got: int = 0


@dataclass
class Client:
    """A client, what it has asked for, and what it should have been told."""

    peer: NatsPeer
    namespace: str
    echo: bool
    headers: bool
    subs: dict[int, Sub] = field(default_factory=dict)
    expected: list[tuple[int, int, bytes]] = field(default_factory=list)


class World:
    """All clients, and the model of what becomes of what they say."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.door = MemoryDoor(Limits())
        self.clients: list[Client] = []
        #: The message, its header, and the subscriptions of a queue of which one should have got it.
        self.shared: list[tuple[int, bytes, set[tuple[int, int]]]] = []
        self.number = 0
        self.sid = 0

    def turn(self) -> None:
        """One client comes, goes, or says a few things at once."""
        if len(self.clients) < 2 or (len(self.clients) < 7 and self.random.random() < 0.1):
            self.come()
        elif self.random.random() < 0.04:
            self.clients.pop(self.random.randrange(len(self.clients))).peer.hang_up()
        client = self.random.choice(self.clients)
        said = b"".join(self.say(client) for _ in range(self.random.choice((1, 3, 30))))
        client.peer.send(said)
        self.check()

    def come(self) -> None:
        namespace = self.random.choice(("micro", "micro", "acme"))
        client = Client(
            self.door.peer(namespace=namespace),
            namespace,
            echo=self.random.random() < 0.8,
            headers=self.random.random() < 0.8,
        )
        options = {"echo": client.echo, "headers": client.headers, "verbose": self.random.random() < 0.2}
        client.peer.send(wire.connect(**options, no_responders=False))
        self.clients.append(client)

    def say(self, client: Client) -> bytes:
        kind = self.random.random()
        if kind < 0.12:
            return self.subscribe(client)
        if kind < 0.2 and client.subs:
            return self.unsubscribe(client)
        return self.publish(client)

    def subscribe(self, client: Client) -> bytes:
        self.sid += 1
        queue = self.random.choice(_QUEUES) if client.echo and self.random.random() < 0.4 else ""
        sub = Sub(self.random.choice(_PATTERNS), queue)
        client.subs[self.sid] = sub
        return wire.sub(sub.pattern, self.sid, queue)

    def unsubscribe(self, client: Client) -> bytes:
        sid = self.random.choice(list(client.subs))
        sub = client.subs[sid]
        if sub.queue or self.random.random() < 0.5:
            del client.subs[sid]
            return wire.unsub(sid)
        sub.most = sub.got + self.random.randint(0, 4)
        if sub.most <= sub.got:
            del client.subs[sid]
        return wire.unsub(sid, sub.most)

    def publish(self, client: Client) -> bytes:
        self.number += 1
        subject = self.random.choice(_SUBJECTS)
        payload = b"%08d" % self.number + self.random.choice((b"", b"\r\n", b"x" * 40))
        header = wire.headers(A="b") if client.headers and self.random.random() < 0.3 else b""
        self.expect(client, subject, header)
        return wire.hpub(subject, header, payload) if header else wire.pub(subject, payload)

    def expect(self, publisher: Client, subject: str, header: bytes) -> None:
        """Who should be told of the message."""
        queues: dict[str, set[tuple[int, int]]] = {}
        for place, client in enumerate(self.clients):
            if client.namespace != publisher.namespace:
                continue
            for sid, sub in list(client.subs.items()):
                if not matches(sub.pattern, subject):
                    continue
                if sub.queue:
                    queues.setdefault(sub.queue, set()).add((place, sid))
                elif client is not publisher or client.echo:
                    client.expected.append((self.number, sid, header if client.headers else b""))
                    sub.got += 1
                    if sub.got == sub.most:
                        del client.subs[sid]
        self.shared += ((self.number, header, members) for members in queues.values())

    def check(self) -> None:
        """Everybody was told what they should be, in order, and nothing else."""
        rest: dict[tuple[int, int, int], bytes] = {}
        for place, client in enumerate(self.clients):
            client.peer.settle()
            assert not client.peer.errors
            told = [
                (int(each.payload[:8]), int(each.sid), each.header)
                for each in client.peer.heard
                if each.verb in ("MSG", "HMSG")
            ]
            client.peer.heard.clear()
            numbers = [number for number, _, _ in told]
            assert numbers == sorted(numbers)
            left = list(told)
            for each in client.expected:
                left.remove(each)
            client.expected.clear()
            rest.update({(number, place, sid): header for number, sid, header in left})
        for number, header, members in self.shared:
            got = [(place, sid) for place, sid in members if (number, place, sid) in rest]
            assert len(got) == 1, (number, members, got)
            told_header = rest.pop((number, *got[0]))
            assert told_header == (header if self.clients[got[0][0]].headers else b"")
        self.shared.clear()
        assert not rest


@pytest.mark.parametrize("seed", range(25))
def test_routing(seed: int) -> None:
    """Whoever should get a message gets it once, in order, with its headers; nobody else does, least of all in another
    namespace."""
    world = World(seed)
    for _ in range(120):
        world.turn()
    assert world.number > 500
    for client in world.clients:
        client.peer.hang_up()
    assert not world.door.sessions
    assert not world.door.broker.subscriptions
