"""Routes and what makes them the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microd.services.network import rules
from microd.services.network.model import Query, Route

ROUTE = Route("greeter", "127.0.0.1:4000", "micro", "router-1")


@pytest.mark.parametrize(
    ("text", "hash"),
    # From the reference vectors of FNV-1, 64 bits (draft-eastlake-fnv).
    [("", 0xCBF29CE484222325), ("a", 0xAF63BD4C8601B7BE), ("foobar", 0x340D8765A4DDA9C2)],
)
def test_fnv(text: str, hash: int) -> None:
    """It is FNV-1, not FNV-1a."""
    assert rules.fnv64(text) == hash


def test_identity() -> None:
    """Six fields make a route the same; metric and metadata do not."""
    assert rules.identity(ROUTE) == str(rules.fnv64("greeter127.0.0.1:4000microrouter-1local"))
    assert rules.identity(replace(ROUTE, metric=9, metadata={"a": "b"})) == rules.identity(ROUTE)
    others = [
        replace(ROUTE, service="x"),
        replace(ROUTE, address="x"),
        replace(ROUTE, gateway="x"),
        replace(ROUTE, network="x"),
        replace(ROUTE, router="x"),
        replace(ROUTE, link="x"),
    ]
    assert len({rules.identity(route) for route in (ROUTE, *others)}) == 7


def test_stars() -> None:
    """A star matches on either side."""
    assert rules.matches(Query(), ROUTE)
    assert rules.matches(Query(service="x"), replace(ROUTE, service="*"))
    assert not rules.matches(Query(service="x"), ROUTE)


def test_nearest_first() -> None:
    """Routes are sorted by metric."""
    far, near = replace(ROUTE, address="a:1", metric=20), replace(ROUTE, address="b:1", metric=2)
    assert rules.chosen(Query(), [far, near]) == [near, far]
