"""Subjects belong to a namespace: from another one they are neither heard nor reached nor guessed."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.errors import NoRespondersError

from microd.testing import nats_wire as wire
from microd.testing.nats_client import RawNats
from tests.compat.conftest import Client
from tests.compat.nats.conftest import Clients, listening, settled

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

SUBJECTS = (
    "orders",
    "orders.new",
    "$SYS.x",
    "$SYS.REQ.SERVER.PING",
    "$JS.API.INFO",
    "_INBOX.abc",
    "$G.x",
    "micro.x",
)
PATTERNS = (">", "*", "*.*", "orders", "orders.*", "$SYS.>", "$JS.>", "_INBOX.>", "alpha.>", "micro.>")


def test_nothing_heard(clients: Clients) -> None:
    """Whatever alpha publishes, beta's subscriptions and queue groups hear none of it, nor do the platform's admins."""

    async def act() -> None:
        async with (
            clients.of("alpha-user") as ann,
            clients.of("beta-admin") as bob,
            clients.of("admin") as root,
            clients.of("guest", token=True) as guest,
        ):
            strangers = [await listening(each, *PATTERNS) for each in (bob, root, guest)]
            strangers += [await listening(each, *PATTERNS, queue="workers") for each in (bob, root, guest)]
            own = await listening(ann, ">")
            for subject in SUBJECTS:
                await ann.publish(subject, b"alpha's", reply="_INBOX.alpha")
            for each in (ann, bob, root, guest):
                await settled(each)
            assert {each.subject for each in own} == set(SUBJECTS)
            assert strangers == [[]] * len(strangers)

    clients.run(act)


def test_nothing_reached(clients: Clients) -> None:
    """A service of alpha is not there for beta: requests find no responders, a queue group's members are alpha's own."""

    async def act() -> None:
        async with (
            clients.of("alpha-service") as service,
            clients.of("beta-user") as stranger,
            clients.of("alpha-user") as ann,
        ):
            asked = await listening(service, "answer.me", queue="workers")
            await listening(stranger, "answer.me", queue="workers")
            with pytest.raises(NoRespondersError):
                await stranger.request("answer.you", b"", timeout=5)
            for _ in range(50):
                await ann.publish("answer.me", b"x")
            await settled(ann)
            await settled(service)
            assert len(asked) == 50

    clients.run(act)


def test_replies(clients: Clients) -> None:
    """An answer to an inbox of alpha comes from alpha only, though beta knows its name."""

    async def act() -> None:
        async with (
            clients.of("alpha-user") as ann,
            clients.of("beta-user") as bob,
            clients.of("alpha-service") as service,
        ):
            inbox = ann.new_inbox()
            heard = await listening(ann, inbox)
            await bob.publish(inbox, b"forged")
            await settled(bob)
            await service.publish(inbox, b"true")
            await settled(service)
            await settled(ann)
            assert [each.data for each in heard] == [b"true"]

    clients.run(act)


def test_across_protocols(clients: Clients, grpc_call: Client) -> None:
    """Over gRPC alpha is as far from beta's clients of NATS."""

    async def act() -> None:
        async with clients.of("beta-user") as bob, clients.of("alpha-user") as ann:
            strange, own = await listening(bob, ">"), await listening(ann, ">")
            message = {"topic": grpc_call.unique, "message": {"body": b"x"}}
            await asyncio.to_thread(grpc_call, "/broker.Broker/Publish", message, by="alpha-user")
            await settled(ann)
            await settled(bob)
            assert [each.subject for each in own] == [grpc_call.unique]
            assert strange == []

    clients.run(act)


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("beta/alpha-user", "alpha-user's secret"),
        ("alpha-user", "alpha-user's secret"),
        ("micro/alpha-user", "alpha-user's secret"),
        ("alpha/beta-user", "beta-user's secret"),
        ("alpha/alpha-user", ""),
        ("*/alpha-user", "alpha-user's secret"),
        ("alpha/*", "alpha-user's secret"),
        ("", "alpha-user's secret"),
    ],
)
def test_names(clients: Clients, user: str, secret: str) -> None:
    """An account is known in its own namespace only."""
    assert refusal(clients, {"user": user, "pass": secret}) == ["Authorization Violation"]


def test_another_ones_token(clients: Clients) -> None:
    """A token opens its own account's namespace, whoever's name is shown with it."""
    token = clients.daemon.people["beta-user"].token
    assert refusal(clients, {"user": "alpha/alpha-user", "pass": token}) == ["Authorization Violation"]


def refusal(clients: Clients, shown: dict[str, str]) -> list[str]:
    """What somebody is told who is not let in."""
    with RawNats(clients.daemon.platform.door("nats")) as stranger:
        stranger.send(wire.connect(verbose=True, **shown), wire.sub(">", 1))
        stranger.until_end()
        return stranger.errors


def test_credentials_stay(clients: Clients) -> None:
    """Nothing of what a publisher showed when it came in goes to who hears it; its own headers do."""

    async def act() -> None:
        async with (
            clients.of("alpha-service") as publisher,
            clients.of("alpha-user", token=True) as subscriber,
        ):
            heard = await listening(subscriber, "secrets")
            await publisher.publish("secrets", b"x", headers={"Mine": "to give"}, reply="back")
            await publisher.publish("secrets", b"y")
            await settled(publisher)
            await settled(subscriber)
            assert [(each.data, each.headers) for each in heard] == [
                (b"x", {"Mine": "to give"}),
                (b"y", None),
            ]
            shown = json.dumps([[str(each.headers), each.reply, each.subject] for each in heard])
            person = clients.daemon.people["alpha-service"]
            assert person.secret not in shown
            assert person.token not in shown

    clients.run(act)
