"""What is asked of records, by coroutines and by threads alike, and who puts the questions to the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from microd.framework.model.pages import Page
from microd.framework.model.plans import plan
from microd.framework.model.reading import MOST, Steps
from microd.framework.model.rebuilding import Rebuilding
from microd.framework.questions import Ask
from microd.kernel.errors import BadRequest, Conflict, MicroError, NotFound

T = TypeVar("T")
R = TypeVar("R")

Conditions = Mapping[str, object]


class Asking(Rebuilding[T], Generic[T]):
    """One model's table, asked by conditions."""

    def listed(
        self, conditions: Conditions, order: str, descending: bool | None, limit: int, after: str
    ) -> Steps[Page[T]]:
        """A page of the records that satisfy all conditions."""
        if not 1 <= limit <= MOST:
            raise BadRequest(f"a page has from 1 to {MOST} records, not {limit}")
        return (yield from self.page(plan(self.layout, conditions, order, descending), limit, after))

    def got(self, conditions: Conditions) -> Steps[T]:
        """The only record that satisfies all conditions."""
        found = yield from self.page(plan(self.layout, conditions, "", None), 1, "")
        name = self.layout.name
        said = ", ".join(f"{field} {str(value)[:200]!r}" for field, value in conditions.items())
        if not found.items:
            raise NotFound(f"no {name} with {said}")
        if found.next:
            raise Conflict(f"there is more than one {name} with {said}")
        return found.items[0]

    def counted(self, conditions: Conditions) -> Steps[int]:
        """How many records satisfy all conditions."""
        return (yield from self.count(plan(self.layout, conditions, "", None)))


async def walk(steps: Steps[R], ask: Callable[[Ask[Any]], Awaitable[Any]]) -> R:
    """Take the steps one after the other, in a coroutine."""
    try:
        question = next(steps)
        while True:
            try:
                answer = await ask(question)
            except MicroError as problem:
                question = steps.throw(problem)
            else:
                question = steps.send(answer)
    except StopIteration as done:
        outcome: R = done.value
        return outcome


def walk_blocking(steps: Steps[R], ask: Callable[[Ask[Any]], Any]) -> R:
    """The same, waiting for each answer."""
    try:
        question = next(steps)
        while True:
            try:
                answer = ask(question)
            except MicroError as problem:
                question = steps.throw(problem)
            else:
                question = steps.send(answer)
    except StopIteration as done:
        outcome: R = done.value
        return outcome
