"""Whose lines of the daemon's log are whose."""

from __future__ import annotations

from collections.abc import Collection

from microd.kernel.logformat import Record

#: Modules of core services and of doors; the word that follows names the service.
_HOMES = ("microd.services.", "microd.gateways.")
#: Says what was called, and at which door: as values by these names.
_CALLS, _CALLED = "microd.calls", ("service_", "door")


def concerned(record: Record, services: Collection[str]) -> frozenset[str]:
    """The core services which a line is about; none, for one of the daemon as a whole, which is for all to know."""
    logger = record.logger
    if logger == _CALLS:
        return frozenset(str(record.fields.get(name, "")) for name in _CALLED)
    for home in _HOMES:
        if logger.startswith(home):
            return frozenset((logger[len(home) :].partition(".")[0],)).intersection(services)
    return frozenset()
