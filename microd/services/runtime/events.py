"""What changes in the runtime, as events: the topic C{runtime} (spec micro-v3-server 6.7)."""

from __future__ import annotations

import orjson
from twisted.logger import Logger

from microd.kernel.errors import MicroError
from microd.services.events.interface import IEvents
from microd.services.runtime.model import Spec

TOPIC = "runtime"
CREATED, UPDATED, DELETED = "service.created", "service.updated", "service.deleted"


class Chronicle:
    """Stores an event for each change, in the namespace that it happened in.

    A change does not wait for its event, and holds where that could not be stored: the log tells it then. Events that wait are
    bounded by what events may wait.
    """

    log = Logger()

    def __init__(self, events: IEvents) -> None:
        self._events = events

    def __call__(self, kind: str, spec: Spec) -> None:
        """Something happened to a service."""
        namespace = spec.key.namespace
        metadata = {"type": kind, "namespace": namespace}
        try:
            self._events.submit(namespace, TOPIC, metadata, payload_of(kind, spec), self, spec.key)
        except MicroError as error:
            self.refused(spec.key, error)

    def stored(self, token: object, topic: str, offset: int) -> None:
        """Nothing is left to be done."""

    def refused(self, token: object, error: MicroError) -> None:
        """The event is lost."""
        self.log.warn("a change of {service} is no event: {error}", service=str(token), error=error.detail)


def payload_of(kind: str, spec: Spec) -> bytes:
    """The event, as the reference writes it; without what may be secret."""
    service = {
        "Name": spec.key.name,
        "Version": spec.key.version,
        "Source": spec.source,
        "Metadata": dict(spec.metadata),
    }
    return orjson.dumps({"Type": kind, "Service": service, "Namespace": spec.key.namespace})
