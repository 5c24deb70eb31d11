"""What changes in the registry, published: the topic C{registry.events} (spec micro-v3-server 6.1)."""

from __future__ import annotations

import uuid

from microd.services.broker.interface import IBroker
from microd.services.broker.model import Message
from microd.services.registry.model import Change
from microd.services.registry.rpc import message_from
from microd.wire import registry_pb2 as pb

TOPIC = "registry.events"

_TYPES = {"create": pb.Create, "update": pb.Update, "delete": pb.Delete}
_HEADER = {"Micro-Topic": TOPIC, "Content-Type": "application/grpc+proto"}


class Announcer:
    """Publishes each change to the namespace that it happened in; made only where somebody listens."""

    def __init__(self, broker: IBroker) -> None:
        self._broker = broker

    def __call__(self, change: Change) -> None:
        """Tell it."""
        if self._broker.interested(change.namespace, TOPIC):
            body = event_from(change).SerializeToString()
            self._broker.publish(change.namespace, TOPIC, Message(_HEADER, body))


def event_from(change: Change) -> pb.Event:
    """A change, as it is published; the time is in nanoseconds."""
    return pb.Event(
        id=str(uuid.uuid4()),
        type=_TYPES[change.action],
        timestamp=int(change.at * 1e9),
        service=message_from(change.service),
    )
