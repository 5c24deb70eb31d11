"""Limits of services, from the settings that name them."""

from __future__ import annotations

from typing import cast

from microd.app.settings import Broker
from microd.app.sources import BadSettings
from microd.services.broker.model import Limits, Slow


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
