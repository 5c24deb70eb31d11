"""Which names, sizes and metadata events may have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import orjson

from microd.kernel.errors import BadRequest, TooLarge
from microd.kernel.names import require_name, require_text
from microd.services.events.model import DEAD, Draft, Limits, Retention

#: How many things may be said about one event.
MOST_METADATA = 200

#: Events of one call, and what each is counted for besides its bytes while it waits for the disk.
MOST_TOGETHER = 10_000
EACH = 256

#: What the platform may add to the metadata of an event that becomes a dead letter: names, and bytes.
MOST_ADDED, ADDED = 16, 8 << 10

#: How the names begin that only the platform may use in metadata; in any case.
_RESERVED = ("micro-only-group", "micro-dead-")

#: The longest retention, in seconds: a hundred years.
_LONGEST = 100 * 365 * 86400


TOO_FAST = "events come faster than the disk writes them: try again later"


@lru_cache(maxsize=4096)
def require_topic(topic: str, longest: int) -> str:
    """Let a topic's name pass. A topic of dead letters has a little more room, so that each topic can have one.

    @raise BadRequest: it is missing, too long, has control characters in it, or a part named C{..}.
    """
    if not topic:
        raise BadRequest("Missing topic")
    require_text("the topic", topic, longest + (len(DEAD) if topic.endswith(DEAD) else 0))
    if ".." in topic.split("/"):
        raise BadRequest("the topic has '..' in it")
    return topic


def require_namespace(namespace: str) -> str:
    """Let a namespace pass.

    @raise BadRequest: it is none.
    """
    return require_name("the namespace", namespace)


def require_group(group: str, limits: Limits) -> str:
    """Let the name of a group pass. The platform's own begin with a dollar sign."""
    require_text("the group", group, limits.topic)
    if group.startswith("$"):
        raise BadRequest("the group's name begins with '$': such names are the platform's own")
    return group


def packed(metadata: Mapping[str, str], limits: Limits) -> bytes:
    """Metadata as it is kept; nothing for none.

    @raise BadRequest: it is too much, not text, or uses names of the platform's own.
    @raise TooLarge: it has too many bytes.
    """
    if not metadata:
        return b""
    for name in metadata:
        if name[:6].lower() == "micro-" and name.lower().startswith(_RESERVED):
            raise BadRequest(f"the metadata has {name[:100]!r} in it, which is the platform's own")
    return pack(metadata, limits)


def pack(metadata: Mapping[str, str], limits: Limits, added: int = 0) -> bytes:
    """The same for the platform itself, which may have added so many bytes."""
    if not metadata:
        return b""
    if len(metadata) > MOST_METADATA + (MOST_ADDED if added else 0):
        raise BadRequest(f"an event may have at most {MOST_METADATA} metadata")
    try:
        made = orjson.dumps(metadata if type(metadata) is dict else dict(metadata))
    except (TypeError, ValueError) as problem:
        raise BadRequest("the event's metadata is not text") from problem
    if len(made) > limits.metadata + added:
        raise TooLarge(f"the event's metadata has {len(made)} bytes, and may have {limits.metadata}")
    return made


def check_event(size: int, limits: Limits) -> None:
    """Let an event of so many bytes pass.

    @raise TooLarge: it is over the limit.
    """
    if size > limits.event:
        raise TooLarge(f"the event has {size} bytes, and may have {limits.event} (events.max_event)")


def check_timestamp(timestamp: int) -> None:
    """Let the time of an event pass: Unix milliseconds.

    @raise BadRequest: it is before 1970, or beyond the year 9999.
    """
    if not 0 <= timestamp < 253_402_300_800_000:
        raise BadRequest("the event's timestamp is to be between the years 1970 and 9999")


def check_drafts(drafts: list[tuple[Draft, bytes]], limits: Limits, added: int = 0) -> int:
    """Let events pass which are to be stored together, each beside its packed metadata, and say how many bytes they have.

    @param added: bytes which the platform may have added to each.
    @raise BadRequest: there is none, there are too many, or a time can be none.
    @raise TooLarge: one, or all together, have too many bytes.
    """
    if not drafts:
        raise BadRequest("no events specified")
    if len(drafts) > MOST_TOGETHER:
        raise BadRequest(f"one call may publish at most {MOST_TOGETHER} events")
    total = 0
    for draft, said in drafts:
        check_timestamp(draft.timestamp)
        size = len(draft.payload) + len(said)
        check_event(size - added, limits)
        total += size
    if total > limits.answer:
        raise TooLarge(f"one call may publish at most {limits.answer} bytes")
    return total


def check_retention(retention: Retention) -> Retention:
    """Let a retention pass.

    @raise BadRequest: it is negative, but for -1, or longer than a hundred years.
    """
    for what, value, most in (("age", retention.age, _LONGEST), ("size", retention.size, 1 << 60)):
        if value < -1:
            raise BadRequest(f"the greatest {what} is to be -1 (no limit), 0 (the daemon's) or more")
        if value > most:
            raise BadRequest(f"the greatest {what} may be {most} at most; -1: no limit")
    return retention
