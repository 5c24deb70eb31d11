"""Limits of services, from the settings that name them."""

from __future__ import annotations

from typing import cast

from microd.app.settings import Broker, Nats
from microd.app.sources import BadSettings
from microd.gateways.nats import model as nats_model
from microd.services.broker.model import Limits, Slow

#: As in nats-server.
MOST_PAYLOAD = 64 << 20


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
