"""Settings which cannot be meant together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microd.app.limits import broker_limits, events_limits, nats_limits
from microd.app.settings import Broker, Events, Nats
from microd.app.sources import BadSettings
from microd.gateways.nats import model as nats_model
from microd.services.broker.model import Limits
from microd.services.events.model import Limits as EventsLimits


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


def test_nats() -> None:
    """Likewise for connections of NATS; what becomes of slow ones is the broker's setting."""
    assert nats_limits(Nats(), Broker(slow="disconnect")) == nats_model.Limits()
    wanted = Nats(max_payload=7, max_pending=99, max_pings=5, max_subscriptions=3, ping_interval=9.0)
    got = nats_limits(wanted, Broker(slow="drop-new"))
    assert (got.payload, got.pending, got.pings, got.subscriptions) == (7, 99, 5, 3)
    assert (got.ping_interval, got.slow) == (9.0, "drop-new")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Nats(max_payload=40 << 20), r"nats\.max_pending: .* too few .*nats\.max_payload"),
        (Nats(max_payload=100 << 20, max_pending=1 << 30), r"broker\.memory: .* too few"),
        (Nats(max_payload=0), r"nats\.max_payload: it may be 1 byte to 64 MiB"),
        (Nats(auth_timeout=0), r"nats\.auth_timeout: it cannot be 0"),
        (Nats(ping_interval=0), r"nats\.ping_interval: it cannot be 0"),
        (Nats(write_deadline=0), r"nats\.write_deadline: it cannot be 0"),
    ],
)
def test_nats_refuses(wanted: Nats, says: str) -> None:
    """Numbers with which no message could pass, or no client stay, are mistakes, told at the start."""
    with pytest.raises(BadSettings, match=says):
        nats_limits(wanted, Broker())


def test_events() -> None:
    """The limits of events are those of their settings, and the defaults agree; where 0 means no limit, there is none."""
    assert events_limits(Events()) == EventsLimits()
    got = events_limits(Events(max_event=7, max_age=90.0, max_size=0, namespace_size=1000, group_ttl=0.0))
    assert (got.event, got.age, got.size, got.namespace, got.group_ttl) == (7, 90, -1, 1000, 0)
    assert events_limits(Events(max_age=0.0)).age == -1


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Events(max_event=9 << 20), r"events\.max_event: it may be 1 byte to 8 MiB"),
        (Events(max_event=0), r"events\.max_event"),
        (Events(namespace_size=1 << 20), r"events\.namespace_size: .*events\.max_event"),
        (Events(max_age=0.5), r"events\.max_age"),
    ],
)
def test_events_refuse(wanted: Events, says: str) -> None:
    """Events of which none could be kept are a mistake, told at the start."""
    with pytest.raises(BadSettings, match=says):
        events_limits(wanted)
