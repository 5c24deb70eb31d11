"""Changes of services, as events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.logger import capturedLogs

from microd.kernel.errors import Conflict, Unavailable
from microd.services.events.logs import Logs
from microd.services.events.model import Event, Limits
from microd.services.runtime.events import Chronicle
from microd.services.runtime.model import Key, Status

from .conftest import KEY, House, now, settles


class Kept:
    """The logs of events beside a house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.logs = Logs(house.store, house.clock, Limits())
        now(self.logs.start())
        self.error: Exception | None = None
        house.announce = Chronicle(self)  # type: ignore[arg-type]

    def submit(self, *submitted: Any) -> None:
        """Store an event, unless that is to go wrong."""
        if self.error is not None:
            raise self.error
        self.logs.submit(*submitted)

    def events(self, namespace: str = "micro") -> list[Event]:
        """What is in the topic."""
        for _ in range(5):
            self._house.clock.advance(0)
        log = self.logs.find(namespace, "runtime")
        return list(now(log.read(1, 100))) if log is not None else []


@pytest.fixture
def kept(house: House) -> Kept:
    """Logs of events."""
    return Kept(house)


def said(event: Event) -> tuple[Mapping[str, str], Any]:
    return event.metadata, json.loads(event.payload)


def test_changes(house: House, kept: Kept) -> None:
    """Whoever creates, updates and deletes a service finds that in the topic C{runtime}, in this order; without its secrets."""
    house.create(metadata={"a": "b"}, secrets={"TOKEN": "hidden"})
    house.update()
    house.create(force=True)
    settles(house.runtime.delete(KEY))
    events = kept.events()
    assert [event.metadata["type"] for event in events] == [
        "service.created",
        "service.updated",
        "service.updated",
        "service.deleted",
    ]
    metadata, payload = said(events[0])
    assert metadata == {"type": "service.created", "namespace": "micro"}
    assert (payload["Type"], payload["Namespace"]) == ("service.created", "micro")
    service = payload["Service"]
    assert (service["Name"], service["Version"], service["Metadata"]) == (KEY.name, KEY.version, {"a": "b"})
    assert b"hidden" not in b"".join(event.payload for event in events)


def test_namespaces(house: House, kept: Kept) -> None:
    """A change is told in the namespace of its service, and in no other."""
    house.create(key=Key("acme", "shop", "latest"))
    assert kept.events() == []
    (event,) = kept.events("acme")
    assert event.metadata["namespace"] == "acme"


def test_refused_change(house: House, kept: Kept) -> None:
    """What was refused is no event."""
    house.create()
    with pytest.raises(Conflict):
        house.create()
    assert len(kept.events()) == 1


@pytest.mark.parametrize("error", [Unavailable("too many wait")])
def test_failing(house: House, kept: Kept, error: Exception) -> None:
    """A change holds where its event cannot be stored; the log tells it."""
    kept.error = error
    with capturedLogs() as logs:
        house.create()
    house.register()
    assert house.status() is Status.RUNNING
    (said_so,) = [each for each in logs if "is no event" in str(each.get("log_format"))]
    assert said_so["error"] == "too many wait"
