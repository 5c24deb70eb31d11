"""What the connections of a door share."""

from __future__ import annotations

from microd.gateways.nats.outlet import Counts, Outlet
from microd.services.broker.service import Broker


class Exchange:
    """The broker, what was counted, and who is to be sent something when the turn ends.

    @ivar touched: those outlets; only ever appended to, and emptied by C{flush}.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.counts = Counts()
        self.touched: list[Outlet] = []

    def flush(self) -> None:
        """Send to all who were given something."""
        touched = self.touched
        while touched:
            found = touched[:]
            touched.clear()
            for outlet in found:
                outlet.flush()
