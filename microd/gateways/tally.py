"""What a door was asked: how many calls, how they ended, how long they took; and a line in the log for those that need one.

A call that failed for a reason which is not its caller's (5xx) is logged once, with the id of its trace; with
C{daemon.access_log} every call is. Nothing is made of a call that is only counted, which takes half a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from microd.kernel.caller import Account
from microd.kernel.health import Figure, Sample, Spread

#: So many services have counts of their own at a door; all others share one.
MOST_SERVICES = 512
#: The name of what is counted where there is no such service, and beyond L{MOST_SERVICES}.
NOBODY, OTHERS = "", "(others)"
#: Characters of an error's text that are logged.
LONGEST_ERROR = 500


_log = Logger("microd.calls")
_SAID = "{door}: {service} {endpoint} for {account} in {namespace}: {code} after {duration} s"
#: A call that was not let in, or never came so far.
_SAID_AT_THE_DOOR = "{door}: {service} {endpoint}: {code} after {duration} s"


class Row:
    """The calls of one service: how many ended with which code."""

    __slots__ = ("codes", "service")

    def __init__(self, service: str) -> None:
        self.service = service
        self.codes: dict[int, int] = {}


class Ended(NamedTuple):
    """A call that is over, for the log.

    @ivar trace: 32 hex digits.
    @ivar code: as the door's protocol has it, for people.
    @ivar duration: seconds.
    @ivar error: what its caller was told; empty where all went well.
    """

    trace: str
    service: str
    endpoint: str
    account: Account | None
    namespace: str
    code: str
    duration: float
    error: str = ""


class Tally:
    """One door's.

    @ivar every: log each call.
    @ivar received: bytes of messages that were relayed to services; C{sent}: of those that came back.
    @param seconds: the time.
    @param name_of: the name of a code, as a label.
    """

    def __init__(
        self,
        door: str,
        seconds: Callable[[], float],
        name_of: Callable[[int], str] = str,
        *,
        every: bool = False,
    ) -> None:
        self.door = door
        self.every = every
        self.seconds = seconds
        self.name_of = name_of
        self.received = self.sent = 0
        self.nobody = Row(NOBODY)
        self._rows = {NOBODY: self.nobody}
        self._spread = Spread()
        self._add = self._spread.add

    def row(self, service: str) -> Row:
        """The counts of a service that there is; what strangers ask for belongs to C{nobody}."""
        row = self._rows.get(service)
        if row is None:
            name = service if len(self._rows) <= MOST_SERVICES else OTHERS
            row = self._rows.setdefault(name, Row(name))
        return row

    def known(self, service: str) -> Row:
        """The counts of a service by any name: C{nobody}, unless one of that name has been here."""
        return self._rows.get(service, self.nobody)

    def count(self, row: Row, code: int, began: float) -> float:
        """A call is over; how long it took."""
        codes = row.codes
        codes[code] = codes.get(code, 0) + 1
        took = self.seconds() - began
        self._add(took)
        return took

    def say(self, ended: Ended, level: LogLevel | None = None, failure: Failure | None = None) -> None:
        """Log a call.

        @param failure: the defect that ended it.
        """
        account = ended.account
        said = {
            "trace": ended.trace,
            "door": self.door,
            "service": ended.service[:200],
            "endpoint": ended.endpoint[:200],
            "account": "nobody" if account is None else f"{account.issuer}/{account.id}",
            "namespace": ended.namespace,
            "code": ended.code,
            "duration": round(ended.duration, 6),
        }
        if ended.error:
            said["error"] = ended.error[:LONGEST_ERROR]
        form = _SAID if ended.namespace else _SAID_AT_THE_DOOR
        if ended.error:
            form += ": {error}"
        if failure is not None:
            _log.failure(form, failure, LogLevel.error, **said)
        else:
            _log.emit(level or LogLevel.info, form, **said)

    def figures(self) -> Iterator[Figure]:
        """All counts."""
        door = {"door": self.door}
        requests: list[Sample] = [
            ({**door, "service": row.service, "code": self.name_of(code)}, count)
            for row in self._rows.values()
            for code, count in row.codes.items()
        ]
        yield Figure("microd_requests_total", "Requests that were answered, and how.", "counter", requests)
        took = "From a request's arrival to the end of its answer; of streams, their whole life."
        yield Figure("microd_request_duration_seconds", took, "histogram", [(door, self._spread)])
        relayed: list[Sample] = [
            ({**door, "direction": "to_service"}, self.received),
            ({**door, "direction": "from_service"}, self.sent),
        ]
        if self.received or self.sent:
            yield Figure("microd_relayed_bytes_total", "Bytes of messages passed on.", "counter", relayed)
