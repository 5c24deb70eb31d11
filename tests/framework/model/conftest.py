"""What the tests of models share."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.framework import Service
from microd.framework.store import Store
from microd.testing.outcome import done
from microd.testing.services import ServiceTester


def run(waiting: Awaitable[Any]) -> Any:
    """What an awaitable comes to, at once."""

    async def wait() -> Any:
        return await waiting

    return done(Deferred.fromCoroutine(wait()))


@pytest.fixture
def tester() -> ServiceTester:
    """A service with nothing to offer, beside a daemon in memory."""
    return ServiceTester(Service("crew", environ={}))


@pytest.fixture
def store(tester: ServiceTester) -> Store:
    """Its client's store."""
    return tester.client.store
