"""A server, a channel to it in memory, and a clock that both obey."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from twisted.internet.task import Clock

from microd.txgrpc import Channel, GrpcServer, Method
from microd.txgrpc.memory import MemoryEndpoint

Tie = Callable[..., Channel]


@pytest.fixture
def clock() -> Clock:
    """Time, as the test has it pass."""
    return Clock()


@pytest.fixture
def tie(clock: Clock) -> Tie:
    """Make a server of methods (C{server} and C{options} are passed on) and a channel to it."""

    def make(
        methods: Mapping[str, Method], server: Mapping[str, Any] | None = None, **options: Any
    ) -> Channel:
        endpoint = MemoryEndpoint(GrpcServer(methods, clock=clock, **(server or {})))
        channel = Channel(endpoint, clock, **options)
        channel.endpoint = endpoint  # type: ignore[attr-defined]
        return channel

    return make
