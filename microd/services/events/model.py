"""What events speak of. All values are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

#: What a topic's dead letters are called: the topic, and this.
DEAD = ".dlq"


class Draft(NamedTuple):
    """What is to be published.

    @ivar timestamp: when it happened, in Unix milliseconds; 0: now.
    """

    payload: bytes
    metadata: Mapping[str, str] = MappingProxyType({})
    timestamp: int = 0


class Event(NamedTuple):
    """What was published.

    @ivar id: a UUID, made of the topic's own and of the offset; no other event of the platform has it.
    @ivar offset: its place in the topic, from 1.
    @ivar timestamp: Unix milliseconds.
    """

    topic: str
    id: str
    offset: int
    timestamp: int
    metadata: Mapping[str, str]
    payload: bytes


class Start(Enum):
    """Where a new group begins."""

    EARLIEST = "earliest"
    LATEST = "latest"
    OFFSET = "offset"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a topic.

    @ivar value: an offset, or Unix milliseconds, where C{start} says so.
    """

    start: Start = Start.LATEST
    value: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events are kept: what is beyond either goes, the oldest first.

    @ivar age: seconds; 0: the daemon's default; -1: no limit.
    @ivar size: bytes; likewise.
    """

    age: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What there is to say about a topic.

    @ivar first: the offset of the first event that is kept; C{last + 1} where there is none.
    @ivar created: Unix milliseconds.
    """

    name: str
    first: int
    last: int
    size: int
    created: int
    retention: Retention
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms somebody consumes.

    @ivar group: empty: a private one.
    @ivar start: where a new group begins.
    @ivar auto_ack: what was taken is acknowledged.
    @ivar ack_wait: seconds after which what was not acknowledged comes again.
    @ivar retry_limit: how often an event comes again; -1: for ever.
    @ivar max_in_flight: how many events may be unacknowledged at this consumer.
    @ivar backoff: seconds before the first time it comes again, and C{backoff_max} at most.
    @ivar count: so many events, and no more; 0: there is no end.
    """

    group: str = ""
    start: Position = Position()
    auto_ack: bool = True
    ack_wait: float = 30.0
    retry_limit: int = -1
    max_in_flight: int = 64
    backoff: float = 1.0
    backoff_max: float = 60.0
    count: int = 0


class Delivery(NamedTuple):
    """An event as a consumer gets it.

    @ivar attempt: how often it was given to the group, this time included, as far as is remembered.
    @ivar redelivered: it may have been given to the group before.
    """

    event: Event
    attempt: int = 1
    redelivered: bool = False


class Verdict(Enum):
    """What a consumer says about an event."""

    DONE = "done"
    AGAIN = "again"
    DROP = "drop"
    UNTRIED = "untried"
    WORKING = "working"


class Ack(NamedTuple):
    """A consumer's word.

    @ivar error: why, for the dead letter.
    @ivar delay: seconds before it comes again; None: as the backoff has it.
    """

    id: str
    verdict: Verdict
    error: str = ""
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What there is to say about a group; as C{Group} in the contract, times in seconds."""

    topic: str
    name: str
    consumers: int
    acknowledged: int
    delivered: int
    lag: int
    in_flight: int
    waiting: int
    oldest: float
    missed: int
    redelivered: int
    dead: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a group gave up: as it lies in the topic of dead letters, and what it was."""

    event: Event
    group: str
    id: str
    offset: int
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be. Sizes are in bytes, C{age} is in seconds.

    @ivar event: payload and metadata of one event.
    @ivar topic: a topic's name, and a group's.
    @ivar age: and C{size}: what is kept of a topic unless it says otherwise.
    @ivar namespace: what is kept of all topics of a namespace; who publishes beyond it is refused.
    @ivar waiting: events not yet on disk, of one namespace; who publishes faster than the disk writes is refused beyond it.
    @ivar in_flight: events of one group which may be unacknowledged.
    @ivar group_ttl: seconds for which a group is remembered that nobody consumes for.
    """

    event: int = 1 << 20
    metadata: int = 16 << 10
    topic: int = 100
    topics: int = 10_000
    groups: int = 100
    consumers: int = 1000
    page: int = 10_000
    answer: int = 16 << 20
    age: int = 7 * 86400
    size: int = 1 << 30
    namespace: int = 10 << 30
    waiting: int = 32 << 20
    in_flight: int = 1000
    group_ttl: int = 30 * 86400
