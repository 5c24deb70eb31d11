"""Consuming where each call waits, through connections that break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from microd.framework import BadRequest, Delivery, Unauthorized, Unavailable
from microd.framework.messages.blocking import LONGEST_WAIT, consuming
from microd.framework.messages.model import Event
from microd.framework.messages.questions import Page
from microd.framework.messages.terms import Terms
from microd.framework.questions import Ask
from microd.kernel.errors import MicroError
from microd.wire import events_pb2


class Streams:
    """Connections which bring what they are told to, and then break.

    @ivar asked: what each was opened with; C{said} what was said on it.
    """

    def __init__(self, *brought: list[int] | MicroError, last: int = 0) -> None:
        self._brought = list(brought)
        self._last = last
        self.asked: list[events_pb2.ConsumeRequest] = []
        self.said: list[list[str]] = []
        self.slept: list[float] = []

    def open(self, request: events_pb2.ConsumeRequest) -> Streams:
        self.asked.append(request)
        self.said.append([])
        if not self._brought:
            raise BadRequest("that was all")
        if isinstance(self._brought[0], MicroError):
            raise self._brought.pop(0)  # type: ignore[misc]
        return self

    def __iter__(self) -> Iterator[events_pb2.Event]:
        for offset in self._brought.pop(0):  # type: ignore[union-attr]
            yield events_pb2.Event(topic="t", id=f"e{offset}", offset=offset, payload=b"%d" % offset)
        raise Unavailable("it broke")

    def write(self, message: events_pb2.AckRequest) -> None:
        word = "ack" if message.success else "drop" if message.drop else message.error
        self.said[-1].append(f"{message.id} {word}")

    def leave(self) -> None:
        self.said[-1].append("left")

    def ask(self, ask: Ask[Any]) -> Page:
        found = [Event("t", "e", self._last, 0.0, {}, b"")] if self._last else []
        return Page(found, 0)

    def consume(self, terms: Terms, auto_ack: bool = True) -> Iterator[Delivery]:
        return consuming(self.open, self.ask, self.slept.append, terms, bytes, auto_ack)


def all_of(deliveries: Iterator[Delivery], nack: list[bytes] | None = None) -> list[bytes]:
    """The payloads until the connections are used up; once they are C{nack}, the last of these is to come again."""
    found = []
    with suppress(BadRequest):
        for delivery in deliveries:
            found.append(delivery.value)
            if found == nack:
                delivery.nack("not yet")
    return found


def test_acknowledged_with_the_next() -> None:
    """An event is acknowledged when the next one is asked for; one at which the loop is left is not."""
    streams = Streams([1, 2, 3])
    deliveries = streams.consume(Terms("t", "g", "earliest"))
    assert [next(deliveries).value, next(deliveries).value] == [b"1", b"2"]
    deliveries.close()  # type: ignore[attr-defined]
    assert streams.said == [["e1 ack", "left"]]


def test_goes_on() -> None:
    """A connection that breaks is replaced, after a wait which grows while there is none."""
    streams = Streams([1], *[Unavailable("away")] * 20, [2])
    assert all_of(streams.consume(Terms("t", "g", "earliest"))) == [b"1", b"2"]
    assert [request.start for request in streams.asked] == [events_pb2.EARLIEST] * 23
    assert max(streams.slept) <= LONGEST_WAIT


def test_private_goes_on() -> None:
    """Without a group it begins behind the last event that is there, and goes on with what is not done; what was done is passed over."""
    streams = Streams([5, 6, 7], [6, 7, 8], last=4)
    seen = all_of(streams.consume(Terms("t")), [b"5", b"6"])
    assert seen == [b"5", b"6", b"7", b"6", b"8"]
    assert [request.start_offset for request in streams.asked] == [5, 6, 9]
    assert streams.said[1] == ["e6 ack", "e7 ack", "e8 ack", "left"]


def test_refused() -> None:
    """A token that is refused is tried anew once; nobody is left to wait for one that never will be good."""
    streams = Streams(Unauthorized("no"), [1], Unauthorized("no"), Unauthorized("no"))
    deliveries = streams.consume(Terms("t", "g"))
    assert next(deliveries).value == b"1"
    with pytest.raises(Unauthorized):
        next(deliveries)
