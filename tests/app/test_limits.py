"""Settings which cannot be meant together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microd.app.limits import broker_limits
from microd.app.settings import Broker
from microd.app.sources import BadSettings
from microd.services.broker.model import Limits


def test_broker() -> None:
    """The broker's limits are those of its settings, and the defaults agree."""
    assert broker_limits(Broker()) == Limits()
    wanted = replace(Broker(), backlog=7, slow="disconnect", max_subscriptions=3)
    got = broker_limits(wanted)
    assert (got.backlog, got.slow, got.subscriptions) == (7, "disconnect", 3)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (
            Broker(max_message=16 << 20),
            r"broker\.backlog_size: 16777216 bytes are too few .*broker\.max_message",
        ),
        (Broker(memory=1 << 20), r"broker\.memory: "),
        (Broker(backlog=0), r"broker\.backlog: at least 1"),
    ],
)
def test_broker_refuses(wanted: Broker, says: str) -> None:
    """A backlog into which a message cannot fit is a mistake, told at the start."""
    with pytest.raises(BadSettings, match=says):
        broker_limits(wanted)
