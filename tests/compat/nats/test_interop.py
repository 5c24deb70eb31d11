"""One broker behind two protocols: what is published by NATS is heard over gRPC, and the other way round."""

from __future__ import annotations

import asyncio
import base64

import pytest

from tests.compat.conftest import Client
from tests.compat.nats.conftest import Clients, listening, settled

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"


def test_from_grpc(clients: Clients, grpc_call: Client) -> None:
    """A message of the gRPC API comes with its headers, by pattern and by queue."""

    async def act() -> None:
        async with clients.of("alpha-user") as ann:
            subject = f"{grpc_call.unique}.new"
            plain = await listening(ann, subject)
            wild = await listening(ann, f"{grpc_call.unique}.>")
            shared = await listening(ann, subject, queue="q")
            message = {
                "topic": subject,
                "message": {"header": {"Micro-Topic": "t", "Colour": "red"}, "body": b"\x00x"},
            }
            await asyncio.to_thread(grpc_call, PUBLISH, message, by="alpha-service")
            await settled(ann)
            for heard in (plain, wild, shared):
                assert [(each.subject, each.data) for each in heard] == [(subject, b"\x00x")]
                assert heard[0].headers is not None
                assert heard[0].headers["Colour"] == "red"

    clients.run(act)


def test_to_grpc(clients: Clients, grpc_call: Client) -> None:
    """A message of NATS comes with its headers and, as one of them, the subject for an answer."""
    subject = f"{grpc_call.unique}.new"

    async def publish() -> None:
        async with clients.of("alpha-service") as service:
            await service.publish(subject, b"\x00x", reply="_INBOX.me", headers={"Colour": "red"})
            await settled(service)

    requests = [{"topic": subject}, {"topic": f"{grpc_call.unique}.*"}, {"topic": subject, "queue": "q"}]
    heard = grpc_call.heard(SUBSCRIBE, requests, lambda _: clients.run(publish), by="alpha-user")
    for (each,) in heard:
        assert base64.b64decode(each["body"]) == b"\x00x"
        assert each["header"].items() >= {"Colour": "red", "Reply-To": "_INBOX.me"}.items()


def test_one_queue(clients: Clients, grpc_call: Client) -> None:
    """Members of a queue share its messages, whatever they speak."""
    subject = grpc_call.unique
    seen: list[int] = []

    async def publish() -> None:
        async with clients.of("alpha-service") as service, clients.of("alpha-user") as ann:
            heard = await listening(ann, subject, queue="q")
            for _ in range(20):
                await service.publish(subject, b"x")
            await settled(service)
            await settled(ann)
            seen.append(len(heard))

    ((_,),) = grpc_call.heard(
        SUBSCRIBE, [{"topic": subject, "queue": "q"}], lambda _: clients.run(publish), by="alpha-user"
    )
    assert 0 < seen[-1] < 20
