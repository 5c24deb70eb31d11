"""Records with indexes: the way that authors use them."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from microd.framework.model import Index, Model, above, at_least, at_most, below, between, starting
from microd.framework.store import Store
from microd.kernel.errors import BadRequest, Conflict, NotFound
from microd.testing.outcome import done as run
from microd.testing.services import ServiceTester

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class User:
    id: str
    email: str | None = None
    age: int = 0
    team: str = ""
    created: datetime = DAY
    tags: list[str] = field(default_factory=list)


USERS = Model(
    User,
    indexes=[
        Index("email", unique=True),
        Index("age"),
        Index("team", order_by="created", descending=True),
    ],
)


@pytest.fixture
def users(store: Store) -> Any:
    """The users, none yet."""
    return USERS.on(store)


def ids(page: Any) -> list[str]:
    """Whose records they are."""
    return [user.id for user in page]


def keys(tester: ServiceTester) -> set[str]:
    """All keys of the model's table."""
    return {key for _, table, key in tester.daemon.records if table == "tester/User"}


def entries(tester: ServiceTester) -> set[str]:
    """All entries of indexes."""
    return {key for key in keys(tester) if key.startswith("index/")}


def test_create_and_read(users: Any) -> None:
    """What is created is read by its id, with all its fields."""
    ada = User("u1", "ada@example.org", 36, "red", DAY, ["x", "y"])
    run(users.create(ada))
    assert run(users.read("u1")) == ada
    with pytest.raises(NotFound, match="no User u2"):
        run(users.read("u2"))


def test_create_twice(users: Any) -> None:
    """A second record with the same id is a conflict, and the first one stays."""
    run(users.create(User("u1", age=1)))
    with pytest.raises(Conflict, match="there is a User u1 already"):
        run(users.create(User("u1", age=2)))
    assert run(users.read("u1")).age == 1


def test_unique(users: Any) -> None:
    """A unique value that is taken is a conflict which names the field, and nothing is written."""
    run(users.create(User("u1", "ada@example.org")))
    with pytest.raises(Conflict, match="another one with this email"):
        run(users.create(User("u2", "ada@example.org")))
    with pytest.raises(NotFound):
        run(users.read("u2"))
    run(users.create(User("u3", "bob@example.org")))
    with pytest.raises(Conflict, match="email"):
        run(users.save(User("u3", "ada@example.org")))
    assert run(users.read("u3")).email == "bob@example.org"


def test_unique_same_again(users: Any) -> None:
    """A record is saved again with its own unique value."""
    run(users.create(User("u1", "ada@example.org")))
    run(users.save(User("u1", "ada@example.org", 5)))
    assert run(users.get(email="ada@example.org")).age == 5


def test_unique_none(users: Any) -> None:
    """Many records may have None for a unique value, and are found by it."""
    for id in ("u1", "u2"):
        run(users.create(User(id)))
    assert ids(run(users.list(email=None))) == ["u1", "u2"]


def test_unique_is_free_again(users: Any) -> None:
    """A unique value is free once its record is deleted, or has another."""
    run(users.create(User("u1", "a")))
    run(users.save(User("u1", "b")))
    run(users.create(User("u2", "a")))
    run(users.delete("u1"))
    run(users.create(User("u3", "b")))


def test_update(users: Any) -> None:
    """A record that was read is updated, again and again, and found by what it has now."""
    run(users.create(User("u1", age=1)))
    ada = run(users.read("u1"))
    for age in (2, 3):
        ada.age = age
        run(users.update(ada))
    assert ids(run(users.list(age=3))) == ["u1"]
    assert ids(run(users.list(age=1))) == ids(run(users.list(age=2))) == []


def test_lost_update(users: Any) -> None:
    """Of two who change what they read, the second is told, and overwrites nothing."""
    run(users.create(User("u1", age=1)))
    one, two = run(users.read("u1")), run(users.read("u1"))
    one.age, two.age = 2, 3
    run(users.update(one))
    with pytest.raises(Conflict, match="the User u1 was changed by somebody else: read it again"):
        run(users.update(two))
    assert run(users.read("u1")).age == 2
    run(users.delete("u1"))
    with pytest.raises(NotFound):
        run(users.update(one))


def test_update_of_the_unknown(users: Any) -> None:
    """A record that was never read cannot be updated; the error says what else there is."""
    run(users.create(User("u1")))
    with pytest.raises(BadRequest, match=r"use save\(\), change\(\), or a field for its version"):
        run(users.update(User("u1")))


def test_created_is_known(users: Any) -> None:
    """What was created or saved can be updated without reading it again."""
    ada = User("u1")
    run(users.create(ada))
    ada.age = 2
    run(users.update(ada))
    bob = run(users.save(User("u2")))
    bob.age = 3
    run(users.update(bob))
    assert [user.age for user in run(users.list(order="age"))] == [2, 3]


def test_change(users: Any) -> None:
    """A function changes a record in place, or makes another of it."""
    run(users.create(User("u1", age=1)))

    def older(user: User) -> None:
        user.age += 1

    assert run(users.change("u1", older)).age == 2
    assert run(users.change("u1", lambda user: replace(user, age=user.age * 10))).age == 20
    assert run(users.read("u1")).age == 20
    with pytest.raises(BadRequest, match="cannot change the id"):
        run(users.change("u1", lambda user: replace(user, id="u2")))


def test_delete_cleans_up(users: Any, tester: ServiceTester) -> None:
    """With a record go all its entries; deleting what is not there is no error."""
    run(users.create(User("u1", "a", 1, "red")))
    assert len(entries(tester)) == 3
    run(users.delete("u1"))
    assert keys(tester) == {"indexes"}
    run(users.delete("u1"))


def test_stale_entries(users: Any, tester: ServiceTester) -> None:
    """A save leaves the entries of the new values, and no others."""
    run(users.create(User("u1", "a", 1, "red")))
    run(users.save(User("u1", "b", 2, "blue")))
    assert len(entries(tester)) == 3
    assert ids(run(users.list(age=1))) == ids(run(users.list(team="red"))) == []
    assert ids(run(users.list(age=2))) == ids(run(users.list(team="blue"))) == ["u1"]
    with pytest.raises(NotFound):
        run(users.get(email="a"))


def test_get(users: Any) -> None:
    """One record is got by what only one has; none is not found, two are a conflict."""
    run(users.create(User("u1", "a", 1)))
    run(users.create(User("u2", "b", 1)))
    assert run(users.get(email="b")).id == "u2"
    assert run(users.get(id="u1")).email == "a"
    with pytest.raises(NotFound, match="no User with email 'c'"):
        run(users.get(email="c"))
    with pytest.raises(Conflict, match="more than one User with age '1'"):
        run(users.get(age=1))


def test_order(users: Any) -> None:
    """A list comes in the order of a field, either way; what is alike in it comes in the order of the ids."""
    for id, age in (("c", 5), ("a", 70), ("b", -3), ("d", 5)):
        run(users.create(User(id, age=age)))
    assert ids(run(users.list(order="age"))) == ["b", "c", "d", "a"]
    assert ids(run(users.list(order="age", descending=True))) == ["a", "d", "c", "b"]
    assert ids(run(users.list())) == ["a", "b", "c", "d"]
    assert ids(run(users.list(order="id", descending=True))) == ["d", "c", "b", "a"]


def test_filter_and_order(users: Any) -> None:
    """A list is filtered by one field and ordered by another; the index says which way by itself."""
    for number, team in enumerate(("red", "blue", "red", "redder", "red")):
        run(users.create(User(f"u{number}", team=team, created=DAY + timedelta(days=-number))))
    assert ids(run(users.list(team="red"))) == ["u0", "u2", "u4"]
    assert ids(run(users.list(team="red", order="created"))) == ["u0", "u2", "u4"]
    assert ids(run(users.list(team="red", descending=False))) == ["u4", "u2", "u0"]
    since = DAY - timedelta(days=2)
    assert ids(run(users.list(team="red", created=at_least(since)))) == ["u0", "u2"]


@pytest.mark.parametrize("descending", [False, True])
def test_ranges(users: Any, descending: bool) -> None:
    """A range has the values between its ends, with or without these."""
    for age in (-10, -1, 0, 1, 2, 10, 11, 100):
        run(users.create(User(f"u{age}", age=age)))

    def found(wanted: Any) -> list[int]:
        ages = [user.age for user in run(users.list(age=wanted, descending=descending))]
        return ages[::-1] if descending else ages

    assert found(at_least(2)) == [2, 10, 11, 100]
    assert found(above(2)) == [10, 11, 100]
    assert found(at_most(-1)) == [-10, -1]
    assert found(below(-1)) == [-10]
    assert found(between(-1, 10)) == [-1, 0, 1, 2, 10]
    assert found(between(3, 9)) == []
    for wanted in (at_least(2), above(2), at_most(-1), below(-1), between(-1, 10), between(3, 9)):
        assert run(users.count(age=wanted)) == len(found(wanted))


@pytest.mark.parametrize("descending", [False, True])
def test_ranges_of_ids(users: Any, descending: bool) -> None:
    """Ids have ranges like any field."""
    for id in ("a", "ab", "abc", "b", "ba", "c"):
        run(users.create(User(id)))

    def found(wanted: Any) -> list[str]:
        return sorted(ids(run(users.list(id=wanted, descending=descending))))

    assert found(at_least("ab")) == ["ab", "abc", "b", "ba", "c"]
    assert found(above("ab")) == ["abc", "b", "ba", "c"]
    assert found(at_most("b")) == ["a", "ab", "abc", "b"]
    assert found(below("b")) == ["a", "ab", "abc"]
    assert found(starting("ab")) == ["ab", "abc"]
    assert found("ab") == ["ab"]
    assert run(users.count(id=starting("ab"))) == 2
    assert run(users.count(id=between("ab", "b"))) == 3


def test_none_is_in_no_range(users: Any) -> None:
    """None comes first in an order, and is in no range."""
    run(users.create(User("u1", None)))
    run(users.create(User("u2", "")))
    run(users.create(User("u3", "a")))
    assert ids(run(users.list(order="email"))) == ["u1", "u2", "u3"]
    assert ids(run(users.list(email=at_most("z")))) == ["u2", "u3"]
    assert ids(run(users.list(email=at_most("z"), descending=True))) == ["u3", "u2"]
    assert ids(run(users.list(email=starting("")))) == ["u2", "u3"]


@pytest.mark.parametrize("descending", [False, True])
def test_pages(users: Any, descending: bool) -> None:
    """Pages follow each other with no gap and no repetition, although records come and go in between."""
    for number in range(10):
        run(users.create(User(f"u{number}", age=number // 3)))
    page = run(users.list(order="age", limit=3, descending=descending))
    found = ids(page)
    while page.next:
        run(users.delete(page.items[-1].id))
        page = run(users.list(order="age", limit=3, after=page.next, descending=descending))
        found += ids(page)
    expected = [f"u{number}" for number in range(10)]
    assert found == (expected[::-1] if descending else expected)


def test_pages_end(users: Any) -> None:
    """The last page says that it is the last, also when it is full."""
    for number in range(4):
        run(users.create(User(f"u{number}")))
    first = run(users.list(limit=2))
    second = run(users.list(limit=2, after=first.next))
    assert (len(first), len(second), second.next) == (2, 2, "")
    assert run(users.list(limit=4)).next == ""


def test_cursor_of_another_question(users: Any) -> None:
    """A cursor goes on with its own question only, and rubbish is none."""
    for number in range(4):
        run(users.create(User(f"u{number}", team="red")))
    cursor = run(users.list(limit=2, team="red")).next
    for wrong in (cursor[:-4], "rubbish", "W10", "bnVsbA", "é"):
        with pytest.raises(BadRequest, match="the cursor is not one of this question's"):
            run(users.list(limit=2, team="red", after=wrong))
    for question in ({"team": "blue"}, {"order": "age"}, {"team": "red", "descending": False}, {}):
        with pytest.raises(BadRequest, match="the cursor is not one of this question's"):
            run(users.list(limit=2, after=cursor, **question))


def test_scan(users: Any) -> None:
    """An iteration goes over all of them, however many pages that takes."""
    for number in range(250):
        run(users.create(User(f"u{number:03}", team="red")))

    async def read() -> list[str]:
        return [user.id async for user in users.scan(team="red")]

    assert run(read()) == [f"u{number:03}" for number in range(249, -1, -1)]
    assert run(users.count(team="red")) == run(users.count()) == 250


def test_no_index(users: Any) -> None:
    """What no index answers is refused, and the error says which one to declare."""
    for conditions, order, wanted in (
        ({"team": "red", "age": 5}, "", r'declare Index\("team", "age"\)'),
        ({}, "created", r'declare Index\(order_by="created"\)'),
        ({"age": 5}, "created", r'declare Index\("age", order_by="created"\)'),
        ({"team": "red"}, "age", r'declare Index\("team", order_by="age"\)'),
        ({"age": above(5)}, "created", "a range of age comes in the order of age"),
        ({"age": above(5), "created": above(DAY)}, "", "can be a range, not those of age and created"),
        ({"tags": "x"}, "", 'no field "tags" to find records by'),
        ({"nothing": 1}, "", 'no field "nothing" to find records by'),
    ):
        with pytest.raises(BadRequest, match=wanted):
            run(users.list(conditions, order=order))


def test_conditions_of_another_type(users: Any) -> None:
    """A condition that is not of its field's type is refused, and names the field."""
    with pytest.raises(BadRequest, match='User: field "age" wants an integer, got a string'):
        run(users.list(age="5"))
    with pytest.raises(BadRequest, match='field "age" wants an integer'):
        run(users.list(age=at_least("5")))
    with pytest.raises(BadRequest, match='field "age" is no string'):
        run(users.list(age=starting("5")))
    with pytest.raises(BadRequest, match="from 1 to 1000 records, not 0"):
        run(users.list(limit=0))


def test_wrong_records(users: Any) -> None:
    """A record that does not fit its class is refused, and names the field."""
    with pytest.raises(BadRequest, match='User: field "age" wants an integer'):
        run(users.create(User("u1", age="5")))  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="the id is missing"):
        run(users.create(User("")))
    with pytest.raises(BadRequest, match="the id is longer than 1024 bytes"):
        run(users.create(User("x" * 1025)))
    with pytest.raises(BadRequest, match="this is a str"):
        run(users.create("u1"))
    with pytest.raises(BadRequest, match="not Unicode"):
        run(users.create(User("\ud800")))


def test_fields_called_as_options(store: Store) -> None:
    """A field that is called as an option of a question is asked for in a dict."""
    steps = Model(Step, indexes=[Index("order")]).on(store)
    run(steps.create(Step(1, order=5, limit=6)))
    assert [step.id for step in run(steps.list({"order": 5}, order="order", limit=7))] == [1]


@dataclass
class Step:
    id: int
    order: int
    limit: int


def test_read_many(users: Any) -> None:
    """Many records are read at once, in the order asked for, without those which are not there."""
    for number in range(600):
        run(users.create(User(f"u{number}")))
    wanted = [f"u{number}" for number in range(599, -1, -1)]
    assert ids(run(users.read_many(["nobody", *wanted]))) == wanted


def test_round_trips(users: Any, tester: ServiceTester) -> None:
    """A list by an index costs two questions, whatever its length; a read one; a creation one."""
    for number in range(200):
        run(users.create(User(f"u{number}", f"e{number}", team="red")))

    def asked(waiting: Coroutine[Any, Any, Any]) -> int:
        tester.daemon.calls.clear()
        run(waiting)
        return len(tester.daemon.calls)

    assert asked(users.list(team="red", limit=200)) == 2
    assert asked(users.get(email="e1")) == 2
    assert asked(users.list()) == 1
    assert asked(users.read("u1")) == 1
    assert asked(users.create(User("new"))) == 1
    assert asked(users.save(User("new"))) == 2
