"""Groups of a topic which keeps so little that it is gone before they are done with it."""

from __future__ import annotations

from typing import Any

import pytest

from microd.services.events.model import Retention
from microd.services.store.model import Page, Query

Town = Any


def keep_nothing(town: Town) -> None:
    """All that is there goes."""
    town.done(town.events.configure("acme", "orders", Retention(size=0, age=1)))
    town.wait(3)
    town.done(town.logs.sweep())
    (topic,), _ = town.done(town.events.topics("acme"))
    assert topic.first == topic.last + 1


def test_not_acknowledged(town: Town) -> None:
    """What a consumer did not acknowledge and is gone meanwhile cannot come again; the consumer goes on with what comes."""
    town.number(3)
    reader = town.consume("billing", ack_wait=30.0)
    assert reader.offsets == [1, 2, 3]
    keep_nothing(town)
    town.wait(31)
    assert reader.error is None
    town.publish(b"4")
    assert reader.offsets == [1, 2, 3, 4]
    assert reader.error is None
    reader.ack(3)
    facts = town.facts("billing")
    assert (facts.acknowledged, facts.missed, facts.lag) == (4, 3, 0)


def test_gone_while_it_is_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes while a group reads it from disk is passed over, too."""
    town.number(3)
    town.crash()
    log = town.done(town.logs.open("acme", "orders", create=False))
    pages: list[Page] = []
    read = town.store.page

    async def read_then_trim(database: str, table: str, query: Query) -> Page:
        page: Page = await read(database, table, query)
        if table == "log:orders" and query.limit != 1 and not pages:
            pages.append(page)
            await log.trim(0, -1, 1 << 60)
        return page

    monkeypatch.setattr(town.store, "page", read_then_trim)
    reader = town.consume("billing")
    assert pages
    assert (reader.offsets, reader.error) == ([], None)
    town.publish(b"4")
    assert (reader.offsets, reader.error) == ([4], None)
