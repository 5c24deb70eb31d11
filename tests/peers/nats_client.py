"""Goes through the NATS protocol with nats-py, and prints what it saw as JSON.

``nats_client.py '{"address": ..., "options": {...}, "bad": [{...}], "ours": false}'``. A line C{{"do": "restart"}} on standard output asks for
something to be done with the server; a line on standard input says that it was. The last line has the transcript.
C{nats_client.js} does the same with npm's client, step by step.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

LIMIT = 10.0
Step = Callable[["Player"], Awaitable[Any]]


class Player:
    """One run."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.address = f"nats://{wanted['address']}"
        self.options: dict[str, Any] = {
            "user": wanted["options"].get("user"),
            "password": wanted["options"].get("pass"),
            "token": wanted["options"].get("auth_token"),
        }
        self.bad = wanted["bad"]

    async def connect(self, **more: Any) -> Client:
        return await nats.connect(self.address, **{**self.options, "error_cb": _ignore, **more})

    async def ask(self, what: str) -> None:
        """Have something done to the server."""
        print(json.dumps({"do": what}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


class Inbox:
    """What came to a subscription."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self._changed = asyncio.Event()

    async def take(self, message: Msg) -> None:
        self.messages.append(message)
        self._changed.set()

    async def wait(self, count: int) -> list[str]:
        """The first so many bodies."""
        async with asyncio.timeout(LIMIT):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.bodies

    @property
    def bodies(self) -> list[str]:
        return [each.data.decode() for each in self.messages]

    @property
    def subjects(self) -> list[str]:
        return [each.subject for each in self.messages]


async def _ignore(_: Exception) -> None:
    """Errors that a step does not look at."""


async def _settled(nc: Client) -> None:
    """Until the server has everything; a first flush of this client may overtake what it has not written yet."""
    await nc.flush()
    await nc.flush()


def _raised(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def _try(wanted: Awaitable[Any]) -> str:
    try:
        await wanted
    except Exception as error:
        return _raised(error)
    return "fine"


async def facts(player: Player) -> Any:
    """What the server tells of itself, as far as clients go by it."""
    nc = await player.connect()
    info = nc._server_info
    version = nc.connected_server_version
    found = {
        "connected": nc.is_connected,
        "version": [version.major, version.minor],
        "max_payload": nc.max_payload,
        "servers": len(nc.servers),
        "discovered": len(nc.discovered_servers),
        "client_id": isinstance(nc.client_id, int) and nc.client_id > 0,
        **{
            name: info.get(name)
            for name in ("headers", "proto", "auth_required", "tls_required", "ldm", "client_ip", "nonce")
        },
        "types": {
            name: type(info.get(name)).__name__
            for name in ("server_id", "server_name", "version", "host", "port", "git_commit")
        },
    }
    await nc.close()
    return {**found, "closed": nc.is_closed}


async def in_order(player: Player) -> Any:
    """Messages of one publisher come in its order."""
    nc = await player.connect()
    inbox = Inbox()
    await nc.subscribe("orders.new", cb=inbox.take)
    for number in range(500):
        await nc.publish("orders.new", str(number).encode())
    bodies = await inbox.wait(500)
    await nc.close()
    return [bodies == [str(number) for number in range(500)], inbox.subjects[0], inbox.messages[0].reply]


async def wildcards(player: Player) -> Any:
    """Who hears what."""
    nc = await player.connect()
    patterns = ("w.*", "w.>", "w.*.z", "*.x", ">", "w.x", "w.x.>", "*.*.*.*")
    inboxes = {pattern: Inbox() for pattern in patterns}
    for pattern, inbox in inboxes.items():
        await nc.subscribe(pattern, cb=inbox.take)
    for subject in ("w", "w.x", "w.x.z", "w.x.y.z", "v.x", "w.end"):
        await nc.publish(subject, b"")
    await inboxes[">"].wait(6)
    await _settled(nc)
    await nc.drain()
    return {pattern: inbox.subjects for pattern, inbox in inboxes.items()}


async def queues(player: Player) -> Any:
    """Of those who share a queue's name one gets each message; queues and others do not mind each other."""
    nc, other = await player.connect(), await player.connect()
    members = [Inbox() for _ in range(4)]
    for place, inbox in enumerate(members):
        await (nc, other)[place % 2].subscribe("jobs.*", queue="workers", cb=inbox.take)
    second, everything = Inbox(), Inbox()
    await other.subscribe("jobs.>", queue="audit", cb=second.take)
    await nc.subscribe("jobs.a", cb=everything.take)
    await _settled(nc)
    await _settled(other)
    for number in range(200):
        await nc.publish("jobs.a", str(number).encode())
    await everything.wait(200)
    await second.wait(200)
    await nc.drain()
    await other.drain()
    got = sorted(int(body) for inbox in members for body in inbox.bodies)
    return [got == list(range(200)), all(inbox.messages for inbox in members), len(second.messages)]


async def requests(player: Player) -> Any:
    """Request and reply, in both styles of clients; nobody there; somebody who says nothing."""
    nc, server = await player.connect(), await player.connect()

    async def answer(message: Msg) -> None:
        await message.respond(b"re: " + message.data)

    async def silence(_: Msg) -> None:
        """Says nothing."""

    await server.subscribe("ask.me", cb=answer)
    await server.subscribe("ask.nobody", cb=silence)
    await _settled(server)
    reply = await nc.request("ask.me", b"hello", timeout=LIMIT)
    old = await nc.request("ask.me", b"old", timeout=LIMIT, old_style=True)
    many = await asyncio.gather(*(nc.request("ask.me", str(n).encode(), timeout=LIMIT) for n in range(100)))
    found = {
        "reply": reply.data.decode(),
        "inbox": reply.subject.startswith("_INBOX."),
        "old": old.data.decode(),
        "many": [each.data.decode() for each in many] == [f"re: {n}" for n in range(100)],
        "no responders": await _try(nc.request("ask.none", b"", timeout=LIMIT)),
        "no responders, old": await _try(nc.request("ask.none", b"", timeout=LIMIT, old_style=True)),
        "silence": await _try(nc.request("ask.nobody", b"", timeout=0.2)),
    }
    await nc.close()
    await server.close()
    return found


async def headers(player: Player) -> Any:
    """Headers go along."""
    nc = await player.connect()
    inbox = Inbox()
    await nc.subscribe("h", cb=inbox.take)
    await nc.publish("h", b"one", headers={"A": "1", "Content-Type": "text/plain", "lower": "x y z"})
    await nc.publish("h", b"", headers={"Empty-Body": "yes"})
    await nc.publish("h", b"none")
    await nc.publish("h", b"reply", reply="h.reply", headers={"A": "ü"})
    await nc.publish("h", b"secret", headers={"Authorization": "mine to give"})
    await inbox.wait(5)
    await nc.close()
    return [[each.data.decode(), each.reply, each.headers] for each in inbox.messages]


async def unsubscribing(player: Player) -> Any:
    """At once, and after so many messages."""
    nc = await player.connect()
    few, none, other = Inbox(), Inbox(), Inbox()
    limited = await nc.subscribe("u", cb=few.take)
    await limited.unsubscribe(limit=3)
    gone = await nc.subscribe("u", cb=none.take)
    await gone.unsubscribe()
    await nc.subscribe("u", cb=other.take)
    for number in range(6):
        await nc.publish("u", str(number).encode())
    await other.wait(6)
    await _settled(nc)
    await nc.close()
    return [few.bodies, none.bodies, other.bodies]


async def draining(player: Player) -> Any:
    """What has come is read before a subscription or a connection ends."""
    nc, other = await player.connect(), await player.connect()
    inbox = Inbox()

    async def slowly(message: Msg) -> None:
        await asyncio.sleep(0.001)
        await inbox.take(message)

    subscription = await nc.subscribe("d", cb=slowly)
    await _settled(nc)
    for number in range(50):
        await other.publish("d", str(number).encode())
    await inbox.wait(1)
    await subscription.drain()
    drained = len(inbox.messages)
    await other.publish("d", b"late")
    await _settled(other)
    last = Inbox()
    await nc.subscribe("e", cb=last.take)
    await _settled(nc)
    await other.publish("e", b"x")
    await other.drain()
    await last.wait(1)
    await nc.drain()
    return [drained, len(inbox.messages), last.bodies, nc.is_closed, other.is_closed]


async def round_trips(player: Player) -> Any:
    """A flush comes back."""
    nc = await player.connect()
    for _ in range(20):
        await nc.flush(timeout=10)
    await nc.close()
    return "flushed"


async def too_large(player: Player) -> Any:
    """The client knows what is too large; a server of the same opinion hangs up on one that does not."""
    nc = await player.connect()
    most = nc.max_payload
    inbox = Inbox()
    await nc.subscribe("big", cb=inbox.take)
    await nc.publish("big", b"x" * most)
    await inbox.wait(1)
    told = await _try(nc.publish("big", b"x" * (most + 1)))
    lost, closed = asyncio.Event(), asyncio.Event()

    async def disconnected() -> None:
        lost.set()

    async def over() -> None:
        closed.set()

    # Whether it reads the error before it writes into a closed connection is chance.
    bold = await player.connect(disconnected_cb=disconnected, closed_cb=over, allow_reconnect=False)
    bold._max_payload = most * 2
    await bold.publish("big", b"x" * (most + 1))
    await asyncio.wait_for(lost.wait(), LIMIT)
    await asyncio.wait_for(closed.wait(), LIMIT)
    await _settled(nc)
    await nc.close()
    return [told, len(inbox.messages)]


async def subjects(player: Player) -> Any:
    """What is no subject, by the client's word and by the server's."""
    nc = await player.connect()
    found = {
        subject: await _try(nc.publish(subject, b""))
        for subject in ("", "a b", "a..b", ".a", "a.", "a.*", "a.>")
    }
    listened = {}
    for subject in ("", "a b", "a..b", ".a", "a.", "a.>.b", "a*"):
        listened[subject] = await _try(nc.subscribe(subject))
    await nc.close()
    said = {}
    for subject in ("a..b", ".a", "a.", "a.>.b", "a*", "a.*"):
        lost = asyncio.Event()

        async def disconnected(lost: asyncio.Event = lost) -> None:
            lost.set()

        careless = await player.connect(
            disconnected_cb=disconnected, skip_subject_validation=True, allow_reconnect=False
        )
        inbox = Inbox()
        await careless.subscribe(subject, cb=inbox.take)
        await careless.publish(subject, b"x")
        # This client takes any error for the end of the connection.
        done, ended = asyncio.create_task(_settled(careless)), asyncio.create_task(lost.wait())
        await asyncio.wait((done, ended), return_when=asyncio.FIRST_COMPLETED)
        if lost.is_set() or done.exception() is not None:
            said[subject] = "lost"
        else:
            said[subject] = "heard" if inbox.messages else "silence"
        for task in (done, ended):
            task.cancel()
        await asyncio.gather(done, ended, return_exceptions=True)
        await careless.close()
    return [found, listened, said]


async def moods(player: Player) -> Any:
    """Verbose and pedantic connections do the same."""
    found = []
    for mood in ({"verbose": True}, {"pedantic": True}, {"verbose": True, "pedantic": True}):
        lost = asyncio.Event()

        async def disconnected(lost: asyncio.Event = lost) -> None:
            lost.set()

        nc = await player.connect(disconnected_cb=disconnected, **mood)
        inbox = Inbox()
        await nc.subscribe("m", cb=inbox.take)
        await nc.publish("m", b"x")
        await nc.publish("m", b"y", headers={"a": "b"})
        await inbox.wait(2)
        await nc.publish("m.*", b"z")
        if "pedantic" in mood:
            # This client takes any error for the end of the connection.
            await asyncio.wait_for(lost.wait(), LIMIT)
        else:
            await _settled(nc)
        found.append([inbox.bodies, lost.is_set()])
        await nc.close()
    return found


async def no_echo(player: Player) -> Any:
    """One's own messages stay away if one wants that."""
    nc, other = await player.connect(no_echo=True), await player.connect()
    inbox = Inbox()
    await nc.subscribe("echo", cb=inbox.take)
    await _settled(nc)
    await nc.publish("echo", b"mine")
    await _settled(nc)
    await other.publish("echo", b"another's")
    await inbox.wait(1)
    await nc.close()
    await other.close()
    return inbox.bodies


async def strangers(player: Player) -> Any:
    """Whoever cannot say who they are."""
    found = []
    for bad in player.bad:
        errors: list[str] = []

        async def fails(error: Exception, errors: list[str] = errors) -> None:
            errors.append(_raised(error))

        shown = {"user": bad.get("user"), "password": bad.get("pass"), "token": bad.get("auth_token")}
        attempt = player.connect(error_cb=fails, allow_reconnect=False, max_reconnect_attempts=0, **shown)
        found.append([await _try(attempt), errors])
    return found


async def restarts(player: Player) -> Any:
    """Subscriptions survive a restart of the server."""
    events: list[str] = []
    back = asyncio.Event()

    async def disconnected() -> None:
        events.append("disconnected")

    async def reconnected() -> None:
        events.append("reconnected")
        back.set()

    nc = await player.connect(
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        reconnect_time_wait=0.1,
        max_reconnect_attempts=-1,
    )
    inbox = Inbox()
    await nc.subscribe("r.*", cb=inbox.take)
    await nc.subscribe("r.*", queue="q", cb=inbox.take)
    await _settled(nc)
    await player.ask("restart")
    await asyncio.wait_for(back.wait(), 30)
    await nc.publish("r.x", b"after")
    await inbox.wait(2)
    await nc.close()
    return [events, inbox.bodies]


async def ducks(player: Player) -> Any:
    """A server that is about to go says so, and finishes what it has."""
    events: list[str] = []
    told, lost = asyncio.Event(), asyncio.Event()

    async def lame() -> None:
        events.append("lame duck")
        told.set()

    async def disconnected() -> None:
        events.append("disconnected")
        lost.set()

    nc = await player.connect(lame_duck_mode_cb=lame, disconnected_cb=disconnected, allow_reconnect=False)
    inbox = Inbox()
    await nc.subscribe("l", cb=inbox.take)
    await _settled(nc)
    await player.ask("duck")
    await asyncio.wait_for(told.wait(), LIMIT)
    await nc.publish("l", b"still here")
    await inbox.wait(1)
    host, _, port = player.address.removeprefix("nats://").rpartition(":")
    newcomer = await _try(asyncio.open_connection(host, int(port)))
    await asyncio.wait_for(lost.wait(), 30)
    await nc.close()
    return [events, inbox.bodies, newcomer.partition(":")[0]]


STEPS: list[Step] = [
    *(facts, in_order, wildcards, queues, requests, headers, unsubscribing, draining, round_trips),
    *(too_large, subjects, moods, no_echo, strangers, restarts, ducks),
]


async def main() -> None:
    player = Player(json.loads(sys.argv[1]))
    transcript: dict[str, Any] = {}
    for step in STEPS:
        name = step.__name__.replace("_", " ")
        try:
            transcript[name] = await asyncio.wait_for(step(player), 60)
        except Exception as error:
            transcript[name] = f"failed with {_raised(error)}"
    print(json.dumps({"transcript": transcript}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
