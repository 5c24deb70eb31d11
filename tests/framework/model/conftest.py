"""What the tests of models share."""

from __future__ import annotations

import pytest

from microd.framework import Service
from microd.framework.store import Store
from microd.testing.services import ServiceTester


@pytest.fixture
def tester() -> ServiceTester:
    """A service with nothing to offer, beside a daemon in memory."""
    return ServiceTester(Service("crew", environ={}))


@pytest.fixture
def store(tester: ServiceTester) -> Store:
    """A client's store there."""
    return tester.client.store
