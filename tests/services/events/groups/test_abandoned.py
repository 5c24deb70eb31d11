"""Who asks for something and goes away while it is being written."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.kernel.errors import NotFound
from microd.services.events.model import Retention, Terms
from microd.testing.outcome import done

Town = Any


def abandon(town: Town, asked: Any) -> None:
    """Go away while the store has it, which answers later."""
    town.store.is_slow = True
    waiting: Deferred[Any] = Deferred.fromCoroutine(asked)
    town.turns()
    assert not waiting.called
    waiting.cancel()
    with pytest.raises(CancelledError):
        done(waiting)
    town.store.is_slow = False
    town.store.answer()
    town.turns()


def test_deletion(town: Town) -> None:
    """A topic whose deletion nobody waits for any more is deleted all the same: what is published then is another topic's, and stays."""
    town.number(3)
    abandon(town, town.events.delete_topic("acme", "orders"))
    (event,) = town.publish(b"new")
    assert event.offset == 1
    town.crash()
    events, _ = town.done(town.events.read("acme", "orders"))
    assert [event.payload for event in events] == [b"new"]


def test_retention(town: Town) -> None:
    """A retention that nobody waits for any more is the topic's, now and later."""
    town.number(3)
    abandon(town, town.events.configure("acme", "orders", Retention(age=7)))
    (topic,), _ = town.done(town.events.topics("acme"))
    assert topic.retention == Retention(age=7)


def test_stop(town: Town) -> None:
    """Events do not stop before what was asked for is done."""
    town.number(3)
    town.store.is_slow = True
    deleting = Deferred.fromCoroutine(town.events.delete_topic("acme", "orders"))
    town.turns()
    stopping = town.events.stopService()
    town.turns()
    assert not stopping.called
    town.store.is_slow = False
    town.store.answer()
    town.done(deleting)
    town.done(stopping)


def test_group_made_while_its_topic_goes(town: Town) -> None:
    """A group that is being made while its topic is deleted is nobody's in the next topic of that name."""
    town.number(3)
    town.store.is_slow = True
    deleting = Deferred.fromCoroutine(town.events.delete_topic("acme", "orders"))
    town.turns()
    town.store.is_slow = False
    consuming = Deferred.fromCoroutine(town.consumption.consume("acme", "orders", Terms(group="billing")))
    town.store.answer()
    town.turns()
    town.done(deleting)
    with pytest.raises(NotFound):
        done(consuming)
    town.number(2)
    reader = town.consume("billing")
    assert (reader.offsets, reader.marked) == ([1, 2], [])
