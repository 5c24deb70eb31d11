"""What the connections of a door share."""

from __future__ import annotations

from microd.gateways.nats.outlet import Counts, Outlet
from microd.services.broker.service import Broker
from microd.services.broker.topics import Topics


class Exchange:
    """The broker, what was counted, and who is to be sent something when the turn ends.

    @ivar due: what became of events, and who is to be told when the turn ends: the topics and the subject for the answer, the event's topic
        and its offset, or what to say, and 0.
    @ivar touched: those outlets; only ever appended to, and emptied by C{flush}.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.counts = Counts()
        self.due: list[tuple[Topics, bytes, str, int]] = []
        self.touched: list[Outlet] = []

    def flush(self) -> None:
        """Send to all who were given something."""
        touched = self.touched
        while touched:
            found = touched[:]
            touched.clear()
            for outlet in found:
                outlet.flush()
