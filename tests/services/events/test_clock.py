"""A clock that goes back, or was wrong for a while."""

from __future__ import annotations

from typing import Any

import pytest

from microd.services.events.model import Draft, Limits

Rest = Any
HOUR = 3600


def stamps(rest: Rest) -> list[int]:
    """The times of all events, in seconds from the beginning of the test."""
    start = rest.start * 1000
    return [(event.timestamp - start) // 1000 for event in rest.done(rest.log().read(1, 100))]


@pytest.fixture
def back(rest: Rest) -> Rest:
    """One event, and another one behind it that was published an hour earlier."""
    rest.start = rest.clock.seconds()
    rest.publish(b"a")
    rest.clock.rightNow -= HOUR
    rest.publish(b"b")
    return rest


def test_order(back: Rest) -> None:
    """Events stay in the order in which they were published, and each says the time that it was."""
    back.done(back.logs.join("acme", "orders", [Draft(b"c"), Draft(b"d", {}, 1000 * int(back.start) + 7000)]))
    assert back.payloads() == [b"a", b"b", b"c", b"d"]
    assert stamps(back) == [0, -HOUR, -HOUR, 7]
    back.again()
    assert back.payloads() == [b"a", b"b", b"c", b"d"]
    assert stamps(back) == [0, -HOUR, -HOUR, 7]
    assert back.publish(b"e")[0].offset == 5


def test_by_time(back: Rest) -> None:
    """Who asks for events since a time gets all that is not older; some of what lies behind may be."""
    start = int(back.start) * 1000
    for _ in range(2):
        log = back.log()
        assert back.done(log.offset_at(start - HOUR * 1000)) == 1
        assert back.done(log.offset_at(start)) == 1
        assert back.done(log.offset_at(start + 1)) == 3
        back.again()


def test_age(rest: Rest) -> None:
    """Nothing goes before its time, and nothing before what was published earlier."""
    rest.limits = rest.logs.limits = rest.logs._shared.limits = Limits(age=2 * HOUR)
    rest.start = rest.clock.seconds()
    rest.publish(b"a")
    rest.clock.rightNow -= HOUR
    rest.publish(b"b")
    rest.clock.rightNow += 2 * HOUR
    rest.done(rest.logs.sweep())
    assert rest.payloads() == [b"a", b"b"]
    rest.clock.rightNow += HOUR + 1
    rest.done(rest.logs.sweep())
    assert rest.payloads() == []
    assert rest.publish(b"c")[0].offset == 3
