"""Connections of nats-py to the daemon that all compatibility tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import nats
import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from tests.compat.conftest import Daemon

T = TypeVar("T")
LIMIT = 20


class Clients:
    """Makes connections by the names of people (L{tests.compat.conftest.PEOPLE})."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    @asynccontextmanager
    async def of(self, name: str, *, token: bool = False) -> AsyncIterator[Nats]:
        """A connection, which is closed at the end."""
        person = self.daemon.people[name]
        shown = (
            {"token": person.token}
            if token
            else {"user": f"{person.namespace}/{person.id}", "password": person.secret}
        )
        connection = await nats.connect(
            f"nats://{self.daemon.platform.door('nats')}", allow_reconnect=False, error_cb=_ignore, **shown
        )
        try:
            yield connection
        finally:
            await connection.close()

    def run(self, act: Callable[[], Awaitable[T]]) -> T:
        """Run to the end."""

        async def limited() -> T:
            return await asyncio.wait_for(act(), LIMIT)

        return asyncio.run(limited())


async def _ignore(_: Exception) -> None:
    """Errors show in what a test sees."""


async def settled(connection: Nats) -> None:
    """Until the server has everything; a first flush of this client may overtake what it has not written yet."""
    await connection.flush()
    await connection.flush()


async def listening(connection: Nats, *patterns: str, queue: str = "") -> list[Msg]:
    """What comes from now on to some patterns."""
    heard: list[Msg] = []

    async def take(message: Msg) -> None:
        heard.append(message)

    for pattern in patterns:
        await connection.subscribe(pattern, queue=queue, cb=take)
    await settled(connection)
    return heard


@pytest.fixture(scope="session")
def clients(daemon: Daemon) -> Clients:
    """Who connects."""
    return Clients(daemon)
