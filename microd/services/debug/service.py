"""What the daemon remembers of itself while it runs: calls, lines of the log, pauses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import cast

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, LogLevel, LogPublisher

from microd.kernel.activity import Activity
from microd.kernel.endpoint import Endpoint
from microd.kernel.logformat import Record, record
from microd.kernel.recent import Recent
from microd.kernel.vitals import Statistics, Vitals
from microd.services.debug.rules import concerned
from microd.txgrpc.noted import headers_of

_ORDER = {level: place for place, level in enumerate(LogLevel.iterconstants())}


class Debug(Service):
    """Watches the core services.

    @param services: their names.
    @param publisher: tells what is logged.
    @param least: the least important level that is remembered.
    @param trace: the trace of the call in whose handler we are; empty outside of any.
    @ivar activities: their calls, by name.
    """

    def __init__(
        self,
        services: Collection[str],
        publisher: LogPublisher,
        least: object,
        trace: Callable[[], str] = str,
    ) -> None:
        self.activities = {name: Activity(headers_of) for name in services}
        self._vitals = Vitals()
        self._publisher = publisher
        self._least = _ORDER[least]
        self._trace = trace
        self._recent = Recent()
        self._observer: ILogObserver = cast(ILogObserver, self.observe)

    def startService(self) -> None:
        super().startService()
        self._vitals.collections.begin()
        self._publisher.addObserver(self._observer)

    def stopService(self) -> None:
        super().stopService()
        self._publisher.removeObserver(self._observer)
        self._vitals.collections.end()

    def noted(self, endpoint: Endpoint) -> Endpoint:
        """The same endpoint, whose calls doors have noted here once they are over."""
        return replace(endpoint, activity=self.activities[endpoint.service])

    def observe(self, event: LogEvent) -> None:
        """Remember one event, if it matters."""
        if _ORDER[event.get("log_level", LogLevel.info)] >= self._least:
            self._recent.add(record(event, "" if "trace" in event else self._trace()))

    def statistics(self, service: str) -> Statistics:
        """What the daemon takes, and how much was asked of a service."""
        return self._vitals.read(self.activities[service])

    def log(self, service: str, count: int, since: float) -> Sequence[Record]:
        """What a service has said, and what concerns them all; see L{Recent.read}."""
        return self._recent.read(count, since, self._of(service))

    def _of(self, service: str) -> Callable[[Record], bool]:
        def wanted(kept: Record) -> bool:
            about = concerned(kept, self.activities)
            return not about or service in about

        return wanted
