"""Lists that come in pages, and the cursors between them."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from microd.framework.model.layout import Layout
from microd.framework.model.ordered import NONE, VALUE
from microd.framework.model.plans import Plan, Position
from microd.kernel.errors import BadRequest

T = TypeVar("T")

#: What no component contains.
_IMPOSSIBLE = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the records that were asked for; iterating gives them.

    @ivar next: what to ask for the following ones C{after}; empty: there are none.
    """

    items: list[T]
    next: str = ""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def cursor_of(plan: Plan, position: Position) -> str:
    """A place in the answer to a question, to be shown to whoever goes on there; it survives that its record goes."""
    return urlsafe_b64encode(orjson.dumps([_question(plan), *position])).decode().rstrip("=")


def position_of(layout: Layout[Any], plan: Plan, cursor: str) -> Position:
    """The place that a cursor stands for.

    @raise BadRequest: it is none of this question's.
    """
    try:
        found = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        question, *position = found
    except (ValueError, TypeError):
        question, position = None, []
    if (
        question != _question(plan)
        or len(position) != len(plan.fields) + 1
        or not all(isinstance(each, str) and _is_component(each) for each in position)
        or position[-1] == NONE
        or tuple(position[: len(plan.equal)]) != plan.equal
    ):
        raise BadRequest(f"{layout.name}: the cursor is not one of this question's")
    return tuple(position)


def _question(plan: Plan) -> str:
    return ("-" if plan.descending else "+") + "+".join(plan.fields)


def _is_component(text: str) -> bool:
    return text == NONE or (text[:1] == VALUE and _IMPOSSIBLE.search(text) is None)
