"""What authors get to see of messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from microd.framework.messages.payloads import decoder
from microd.kernel.activity import Place, placed
from microd.kernel.errors import BadRequest


class Stored(NamedTuple):
    """An event that is on the daemon's disk.

    @ivar offset: its place in the topic, from 1.
    """

    id: str
    offset: int


class Message:
    """What came with what a subscriber is given.

    @ivar topic: where it was published; for a subscription with wildcards, the topic itself, where the publisher says it.
    @ivar body: the bytes.
    @ivar headers: what the publisher said about it; for an event, its metadata.
    @ivar id: an event's; empty for a message of the broker. C{offset} is its place in its topic.
    @ivar timestamp: when an event happened, in Unix seconds.
    @ivar attempt: how often the event was given to the group, this time included.
    @ivar redelivered: it may have been given to the group before; it is false only where it surely was not.
    """

    __slots__ = (
        "_place",
        "attempt",
        "body",
        "headers",
        "id",
        "offset",
        "redelivered",
        "timestamp",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        body: bytes,
        headers: Mapping[str, str],
        id: str = "",
        offset: int = 0,
        timestamp: float = 0.0,
        attempt: int = 1,
        redelivered: bool = False,
    ) -> None:
        self.topic = topic
        self.body = body
        self.headers = headers
        self.id = id
        self.offset = offset
        self.timestamp = timestamp
        self.attempt = attempt
        self.redelivered = redelivered
        self._place: Place | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The same as C{headers}."""
        return self.headers

    @property
    def content_type(self) -> str:
        """What the body is, where the publisher said so."""
        return self.header("Content-Type")

    @property
    def text(self) -> str:
        """The body, read as UTF-8."""
        return self.body.decode()

    def header(self, name: str, default: str = "") -> str:
        """A header, however its name is written."""
        found = self.headers.get(name)
        if found is None:
            wanted = name.lower()
            for each, value in self.headers.items():
                if each.lower() == wanted:
                    return value
        return default if found is None else found

    def read(self, kind: Any) -> Any:
        """The body as a dataclass, a protobuf message, C{dict}, C{str} ...

        @raise BadRequest: it is none.
        """
        try:
            return decoder(kind)(self.body, self.content_type)
        except ValueError as problem:
            raise BadRequest(str(problem)) from None

    @property
    def place(self) -> Place:
        """Where its handling belongs: to the publisher's trace, else to one that begins here."""
        place = self._place
        if place is None:
            place = self._place = placed((name.lower(), value) for name, value in self.headers.items())
        return place

    @property
    def trace_id(self) -> str:
        """What names all that led to this, and that follows from it: 32 hexadecimal digits."""
        return self.place.own.id

    def __repr__(self) -> str:
        what = f" {self.id} at {self.offset}" if self.id else ""
        return f"<Message{what} of {self.topic}, {len(self.body)} bytes>"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is kept.

    @ivar id: no other event has it.
    @ivar offset: its place in the topic, from 1.
    @ivar timestamp: when it happened, in Unix seconds.
    """

    topic: str
    id: str
    offset: int
    timestamp: float
    metadata: Mapping[str, str]
    payload: bytes

    @property
    def text(self) -> str:
        """The payload, read as UTF-8."""
        return self.payload.decode()

    def json(self) -> Any:
        """The payload, read as JSON."""
        return orjson.loads(self.payload)

    def read(self, kind: Any) -> Any:
        """The payload as a dataclass, a protobuf message, C{dict}, C{str} ...

        @raise BadRequest: it is none.
        """
        return Message(self.topic, self.payload, self.metadata).read(kind)
