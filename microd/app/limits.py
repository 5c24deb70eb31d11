"""Limits of services, from the settings that name them."""

from __future__ import annotations

from typing import cast

from microd.app.settings import Broker, Events, Nats
from microd.app.sources import BadSettings
from microd.gateways.nats import model as nats_model
from microd.services.broker.model import Limits, Slow
from microd.services.events import model as events_model

#: As in nats-server.
MOST_PAYLOAD = 64 << 20
#: Half of what a record of the store may have.
MOST_EVENT = 8 << 20


def broker_limits(wanted: Broker) -> Limits:
    """The broker's.

    @raise BadSettings: a message as large as is allowed could never wait for its subscriber.
    """
    for name in ("backlog_size", "memory"):
        most = getattr(wanted, name)
        # What a message is made of takes some memory beyond its text.
        if most < 2 * wanted.max_message:
            raise BadSettings(
                f"broker.{name}: {most} bytes are too few for messages of up to {wanted.max_message} "
                "(broker.max_message); it takes twice as much at least"
            )
    if not wanted.backlog:
        raise BadSettings("broker.backlog: at least 1 message must be able to wait")
    return Limits(
        message=wanted.max_message,
        backlog=wanted.backlog,
        backlog_size=wanted.backlog_size,
        memory=wanted.memory,
        subscriptions=wanted.max_subscriptions,
        slow=cast(Slow, wanted.slow),
    )


def events_limits(wanted: Events) -> events_model.Limits:
    """Those of events.

    @raise BadSettings: an event as large as is allowed could not be kept.
    """
    if not 0 < wanted.max_event <= MOST_EVENT:
        raise BadSettings(f"events.max_event: it may be 1 byte to {MOST_EVENT >> 20} MiB")
    if wanted.namespace_size < 2 * wanted.max_event:
        raise BadSettings(
            f"events.namespace_size: {wanted.namespace_size} bytes are too few for events of up to {wanted.max_event} "
            "(events.max_event); it takes twice as much at least"
        )
    for name in ("max_age", "group_ttl"):
        if 0 < getattr(wanted, name) < 1:
            raise BadSettings(f"events.{name}: it is a second at least; 0: no limit")
    return events_model.Limits(
        event=wanted.max_event,
        age=int(wanted.max_age) or -1,
        size=wanted.max_size or -1,
        namespace=wanted.namespace_size,
        group_ttl=int(wanted.group_ttl),
    )


def nats_limits(wanted: Nats, broker: Broker) -> nats_model.Limits:
    """Those of one connection of NATS.

    @raise BadSettings: a message as large as is allowed could never wait for its subscriber, or never be read.
    """
    for name, most in (("nats.max_pending", wanted.max_pending), ("broker.memory", broker.memory)):
        if most < 2 * wanted.max_payload:
            raise BadSettings(
                f"{name}: {most} bytes are too few for messages of up to {wanted.max_payload} (nats.max_payload); "
                "it takes twice as much at least"
            )
    if not 0 < wanted.max_payload <= MOST_PAYLOAD:
        raise BadSettings(f"nats.max_payload: it may be 1 byte to {MOST_PAYLOAD >> 20} MiB")
    for name in ("auth_timeout", "ping_interval", "write_deadline"):
        if not getattr(wanted, name):
            raise BadSettings(f"nats.{name}: it cannot be 0")
    return nats_model.Limits(
        payload=wanted.max_payload,
        pending=wanted.max_pending,
        slow=cast(Slow, broker.slow),
        subscriptions=wanted.max_subscriptions,
        ping_interval=wanted.ping_interval,
        pings=wanted.max_pings,
        authentication=wanted.auth_timeout,
        write_deadline=wanted.write_deadline,
    )
