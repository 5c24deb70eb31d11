"""Whatever others do in between, and wherever a process ends: records and their entries fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from microd.framework import Service
from microd.framework.model import Index, Model
from microd.framework.model.asking import Asking
from microd.framework.model.definitions import KEY, definitions_of
from microd.framework.model.plans import plan
from microd.framework.model.reading import Steps
from microd.framework.questions import Ask
from microd.framework.store import Store
from microd.kernel.errors import Conflict, MicroError, NotFound
from microd.testing.outcome import done as run
from microd.testing.services import ServiceTester


@dataclass
class User:
    id: str
    email: str = ""
    age: int = 0


INDEXES = [Index("email", unique=True), Index("age")]
USERS = Model(User, indexes=INDEXES)
PLAIN = Model(User)
WITHOUT = Model(User, indexes=INDEXES[:1])

Act = Callable[[Asking[User]], Steps[Any]]


class Walk:
    """Something that a process does, step by step.

    @ivar outcome: what it came to, or the error.
    """

    def __init__(self, store: Store, model: Model[User], act: Act) -> None:
        self._store = store
        self._steps = act(model.asking(store))
        self.ended = False
        self.outcome: Any = None
        self._question: Ask[Any]
        self._advance(lambda: next(self._steps))

    def step(self) -> None:
        """Have one question answered."""
        try:
            answer = run(self._store.ask(self._question))
        except MicroError as problem:
            refusal = problem
            self._advance(lambda: self._steps.throw(refusal))
        else:
            self._advance(lambda: self._steps.send(answer))

    def finish(self) -> Any:
        """Go on to the end."""
        while not self.ended:
            self.step()
        return self.outcome

    def _advance(self, move: Callable[[], Ask[Any]]) -> None:
        try:
            self._question = move()
        except StopIteration as end:
            self.ended, self.outcome = True, end.value
        except MicroError as problem:
            self.ended, self.outcome = True, problem


def fresh(*users: User) -> Store:
    """A store with some users."""
    store = ServiceTester(Service("crew", environ={})).client.store
    Walk(store, USERS, lambda asking: asking.known()).finish()
    for user in users:
        Walk(store, USERS, lambda asking, user=user: asking.create(user)).finish()  # type: ignore[misc]
    return store


def all_users(store: Store) -> dict[str, User]:
    """The users that there are."""
    asking = USERS.asking(store)
    found = run(store.table("tester/User").find("record/"))
    return {record.key: asking.layout.record_of(record) for record in found}


def require_fit(store: Store, complete: bool = True) -> None:
    """There are the entries of all records, and no others; in indexes which are not C{complete}, those of the newest record."""
    table = store.table("tester/User")
    asking = USERS.asking(store)
    definitions = definitions_of(run(table.read(KEY)))
    expected = {
        key: user.id for user in all_users(store).values() for key in asking.entries(definitions, user)
    }
    found = {record.key: record.text for record in run(table.find("index/"))}
    if not complete:
        newest = max(all_users(store).values(), key=lambda user: user.id)
        assert set(asking.entries(definitions, newest)) <= set(found)
        return
    assert found == expected


def set_age(user: User) -> None:
    """Change it in place."""
    user.age += 1


ACTS: dict[str, Act] = {
    "create": lambda asking: asking.create(User("u1", "new", 1)),
    "create taken": lambda asking: asking.create(User("u2", "a", 1)),
    "create other": lambda asking: asking.create(User("u2", "b", 1)),
    "save same": lambda asking: asking.save(User("u1", "a", 2)),
    "save other": lambda asking: asking.save(User("u1", "b", 3)),
    "change": lambda asking: asking.change("u1", set_age),
    "change other": lambda asking: asking.change("u1", lambda user: replace(user, email="b")),
    "delete": lambda asking: asking.delete("u1"),
}


@pytest.mark.parametrize("there", [(), (User("u1", "a", 1),)], ids=["empty", "u1"])
@pytest.mark.parametrize("first", ACTS)
def test_two_at_once(first: str, there: tuple[User, ...]) -> None:
    """Of two who do anything at once, one may be refused, but what is kept fits together, wherever the second comes in."""
    for second in ACTS.values():
        steps = 0
        while True:
            store = fresh(*there)
            slow = Walk(store, USERS, ACTS[first])
            for _ in range(steps):
                if not slow.ended:
                    slow.step()
            is_over = slow.ended
            outcomes = [Walk(store, USERS, second).finish(), slow.finish()]
            require_fit(store)
            for outcome in outcomes:
                assert not isinstance(outcome, MicroError) or isinstance(outcome, Conflict | NotFound)
            emails = [user.email for user in all_users(store).values()]
            assert len(set(emails)) == len(emails)
            if is_over:
                break
            steps += 1


@pytest.mark.parametrize("name", ACTS)
def test_crash(name: str) -> None:
    """A process that ends anywhere leaves all of its write, or nothing."""
    for steps in range(8):
        store = fresh(User("u1", "a", 1))
        walk = Walk(store, USERS, ACTS[name])
        for _ in range(steps):
            if not walk.ended:
                walk.step()
        require_fit(store)


@pytest.mark.parametrize("name", ACTS)
def test_while_building(name: str) -> None:
    """Writes of a release with an index, and of one without it, may fall anywhere into its building."""
    for model in (USERS, WITHOUT):
        steps = 0
        while True:
            store = ServiceTester(Service("crew", environ={})).client.store
            for number in range(3):
                user = User(f"u{number + 1}", "a" if not number else f"e{number}", number)
                Walk(store, WITHOUT, lambda asking, user=user: asking.create(user)).finish()  # type: ignore[misc]
            building = Walk(store, USERS, lambda asking: asking.reindex(False))
            for _ in range(steps):
                if not building.ended:
                    building.step()
            is_over = building.ended
            outcome = Walk(store, model, ACTS[name]).finish()
            assert not isinstance(outcome, MicroError) or isinstance(outcome, Conflict | NotFound)
            assert not isinstance(building.finish(), MicroError)
            require_fit(store)
            if is_over:
                break
            steps += 1


@pytest.mark.parametrize("old", ["u0", "u5"])
@pytest.mark.parametrize("ends", ["delete", "save"])
def test_double_while_building(old: str, ends: str) -> None:
    """A record that has a unique value twice over, from before, takes nothing from the one that got it first."""
    gone: Act = {
        "delete": lambda asking: asking.delete(old),
        "save": lambda asking: asking.save(User(old, "other")),
    }[ends]
    for first in range(12):
        for second in range(first, 12):
            store = ServiceTester(Service("crew", environ={})).client.store
            Walk(store, PLAIN, lambda asking: asking.create(User(old, "a"))).finish()
            building = Walk(store, USERS, lambda asking: asking.reindex(False))
            _advance(building, first)
            created = Walk(store, USERS, lambda asking: asking.create(User("u3", "a"))).finish()
            _advance(building, second - first)
            Walk(store, USERS, gone).finish()
            building.finish()
            assert not isinstance(
                Walk(store, USERS, lambda asking: asking.reindex(False)).finish(), MicroError
            )
            require_fit(store)
            if not isinstance(created, MicroError):
                found = Walk(store, USERS, lambda asking: asking.got({"email": "a"})).finish()
                assert found.id == "u3"


def _advance(walk: Walk, steps: int) -> None:
    for _ in range(steps):
        if not walk.ended:
            walk.step()


def test_unique_race() -> None:
    """Of many who create with the same unique value at the same time, exactly one does."""
    store = fresh()
    walks = [
        Walk(store, USERS, lambda asking, number=number: asking.create(User(f"u{number}", "same")))  # type: ignore[misc]
        for number in range(10)
    ]
    while not all(walk.ended for walk in walks):
        for walk in walks:
            if not walk.ended:
                walk.step()
    assert sum(isinstance(walk.outcome, Conflict) for walk in walks) == 9
    require_fit(store)


def test_counting_together() -> None:
    """Of many who change one record at the same time, none undoes what another did."""
    store = fresh(User("u1", "a", 0))
    walks = [Walk(store, USERS, lambda asking: asking.change("u1", set_age)) for _ in range(10)]
    while not all(walk.ended for walk in walks):
        for walk in walks:
            if not walk.ended:
                walk.step()
    assert not [walk.outcome for walk in walks if isinstance(walk.outcome, MicroError)]
    assert all_users(store)["record/u1"].age == 10


@pytest.mark.parametrize("name", ACTS)
def test_read_meanwhile(name: str) -> None:
    """Whoever lists by an index gets records that satisfy the condition, whatever is written meanwhile."""
    for steps in range(4):
        store = fresh(User("u1", "a", 1), User("u3", "c", 1))
        walk = Walk(store, USERS, lambda asking: asking.listed({"age": 1}, "", None, 10, ""))
        for _ in range(steps):
            if not walk.ended:
                walk.step()
        Walk(store, USERS, ACTS[name]).finish()
        found = walk.finish()
        assert {user.age for user in found} == {1}
        assert "u3" in [user.id for user in found]


def test_moved_meanwhile() -> None:
    """A record that moves while a list is made is not shown where it no longer belongs."""
    for steps in range(4):
        store = fresh(User("u1", "a", 1), User("u3", "c", 3))
        walk = Walk(store, USERS, lambda asking: asking.listed({}, "age", None, 10, ""))
        _advance(walk, steps)
        Walk(store, USERS, lambda asking: asking.save(User("u1", "a", 9))).finish()
        ages = [user.age for user in walk.finish()]
        assert ages == sorted(ages)
        assert 3 in ages


def test_new_index_while_clearing() -> None:
    """An index that somebody declares while unwanted entries are cleared away keeps its own."""
    more = Model(User, indexes=[*INDEXES, Index("age", "email")])
    steps = 0
    while True:
        store = fresh(User("u1", "a", 1))
        building = Walk(store, USERS, lambda asking: asking.reindex(True))
        _advance(building, steps)
        is_over = building.ended
        Walk(store, more, lambda asking: asking.create(User("u2", "b", 2))).finish()
        assert not isinstance(building.finish(), MicroError)
        require_fit(store, complete=False)
        assert not isinstance(Walk(store, more, lambda asking: asking.reindex(False)).finish(), MicroError)
        require_fit(store)
        if is_over:
            break
        steps += 1


def test_index_goes_meanwhile() -> None:
    """Whoever reads by an index that is dropped in that moment is told so, rather than shown nothing."""
    for steps in range(3):
        store = fresh(User("u1", "a", 1))
        walk = Walk(
            store, USERS, lambda asking: asking.page(plan(asking.layout, {"age": 1}, "", None), 10, "")
        )
        for _ in range(steps):
            walk.step()
        Walk(store, WITHOUT, lambda asking: asking.reindex(False)).finish()
        found = walk.finish()
        assert isinstance(found, MicroError) or [user.id for user in found] == ["u1"]
