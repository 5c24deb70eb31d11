"""Indexes that change from release to release, and releases that run side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from microd.framework.model import Index, Model
from microd.framework.model.definitions import KEY
from microd.framework.store import Store
from microd.kernel.errors import Conflict, Internal, PreconditionFailed
from microd.testing.outcome import done as run
from microd.testing.services import ServiceTester


@dataclass
class Old:
    id: str
    email: str = ""
    age: int = 0


@dataclass
class New:
    id: str
    email: str = ""
    age: int = 0
    team: str = "red"


@dataclass
class Retyped:
    id: str
    email: str = ""
    age: str = ""


@dataclass
class Timed:
    id: str
    since: datetime


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ids(page: Any) -> list[str]:
    """Whose records they are."""
    return [one.id for one in page]


@pytest.fixture
def release(store: Store) -> Callable[..., Any]:
    """Starts a process of some release, on the same table."""
    return lambda kind, *indexes: Model(kind, indexes=indexes, name="user").on(store)


Release = Callable[..., Any]
NOT_BUILT = (
    r"user: the index \w+ has not been built over the records that were there before it; call reindex\(\)"
)


def test_new_index(release: Release) -> None:
    """An index that comes later is refused until it is built, and complete afterwards."""
    old = release(Old)
    for number in range(250):
        run(old.create(Old(f"u{number:03}", age=number % 2)))
    new = release(Old, Index("age"))
    run(new.create(Old("v", age=1)))
    for ask in (new.list(age=1), new.count(age=1), new.get(age=7)):
        with pytest.raises(PreconditionFailed, match=NOT_BUILT):
            run(ask)
    assert run(new.reindex()) == 251
    assert run(new.count(age=1)) == 126
    assert run(new.reindex()) == 0


def test_known_elsewhere(release: Release) -> None:
    """Whoever was refused notices that somebody else has built the index."""
    run(release(Old).create(Old("u1", age=1)))
    one, two = release(Old, Index("age")), release(Old, Index("age"))
    with pytest.raises(PreconditionFailed):
        run(one.list(age=1))
    run(two.reindex())
    assert ids(run(one.list(age=1))) == ["u1"]


def test_no_records_yet(release: Release, tester: ServiceTester) -> None:
    """Where there are no records an index is good at once."""
    assert ids(run(release(Old, Index("age")).list(age=1))) == []
    both = release(Old, Index("age"), Index("email"))
    assert ids(run(both.list(email="a"))) == []


def test_reads_need_no_index(release: Release) -> None:
    """An index that is not built keeps nobody from reading by id, nor from writing."""
    run(release(Old).create(Old("u1")))
    new = release(Old, Index("age"))
    assert run(new.read("u1")).id == "u1"
    assert ids(run(new.list())) == ["u1"]
    assert run(new.count()) == 1
    run(new.save(Old("u1", age=3)))
    run(new.delete("u1"))


def test_unique_from_now_on(release: Release) -> None:
    """A unique index binds all writers as soon as one release declares it, and is built unless two have the same."""
    old = release(Old)
    for id, email in (("u1", "a"), ("u2", "a"), ("u3", "c")):
        run(old.create(Old(id, email)))
    new = release(Old, Index("email", unique=True))
    run(new.create(Old("u4", "d")))
    with pytest.raises(Conflict):
        run(old.create(Old("u5", "d")))
    with pytest.raises(Conflict, match=r"u\d and u\d have the same value in the unique index email"):
        run(new.reindex())
    with pytest.raises(PreconditionFailed):
        run(new.list(email="a"))
    run(old.delete("u2"))
    run(new.reindex())
    assert run(new.get(email="a")).id == "u1"


def test_side_by_side(release: Release) -> None:
    """A release that knows nothing of an index keeps it, and the field's default stands for what it does not have."""
    old = release(Old, Index("age"))
    run(old.create(Old("u1")))
    new = release(New, Index("age"), Index("team"))
    run(new.reindex())
    run(old.create(Old("u2")))
    run(old.save(Old("u1", age=5)))
    run(new.create(New("u3", team="blue")))
    assert ids(run(new.list(team="red"))) == ["u1", "u2"]
    assert ids(run(new.list(team="blue"))) == ["u3"]
    run(old.delete("u2"))
    assert run(new.count(team="red")) == 1


def test_cannot_be_kept(release: Release) -> None:
    """A release that cannot keep an index does not write, and says what to do; building its own indexes drops that one."""
    old = release(Old, Index("age"))
    run(old.create(Old("u1")))
    retyped = release(Retyped)
    with pytest.raises(
        PreconditionFailed,
        match=r"index of age, and this one has that field with another type.*call reindex\(\)",
    ):
        run(retyped.create(Retyped("u2")))
    run(old.delete("u1"))
    run(retyped.reindex())
    run(retyped.create(Retyped("u2")))
    run(release(Timed, Index("since")).create(Timed("u3", NOON)))
    with pytest.raises(PreconditionFailed, match="index of since, and this one has no such field"):
        run(old.create(Old("u4")))


def test_index_dropped(release: Release, tester: ServiceTester) -> None:
    """An index that is declared no more goes with the next building, entries and all; whoever still reads by it is told."""
    old = release(Old, Index("age"), Index("email"))
    for number in range(30):
        run(old.create(Old(f"u{number}", age=1)))
    assert len(ids(run(old.list(age=1)))) == 30
    run(release(Old, Index("email")).reindex())
    entries = {key for _, _, key in tester.daemon.records if key.startswith("index/")}
    assert {key.partition(".")[0] for key in entries} == {"index/email"}
    with pytest.raises(PreconditionFailed, match=NOT_BUILT):
        run(old.list(age=1))
    with pytest.raises(PreconditionFailed, match=NOT_BUILT):
        run(old.count(age=1))
    assert len(ids(run(old.list(email="")))) == 30


def test_index_redefined(release: Release) -> None:
    """An index that is unique no longer is another one; it is built, and the old one goes."""
    unique = release(Old, Index("email", unique=True))
    run(unique.create(Old("u1", "a")))
    plain = release(Old, Index("email"))
    with pytest.raises(PreconditionFailed):
        run(plain.list(email="a"))
    run(plain.reindex())
    run(plain.create(Old("u2", "a")))
    assert ids(run(plain.list(email="a"))) == ["u1", "u2"]


def test_anew(release: Release, tester: ServiceTester) -> None:
    """All indexes can be built anew, also where somebody has tampered with them."""
    users = release(Old, Index("age"), Index("email", unique=True))
    for number in range(5):
        run(users.create(Old(f"u{number}", f"e{number}", 1)))
    raw = tester.client.store.table("tester/user")
    for key in run(raw.list("index/")):
        run(raw.delete(key))
    assert run(users.count(age=1)) == 0
    assert run(users.reindex(anew=True)) == 5
    assert len(ids(run(users.list(age=1)))) == 5
    assert run(users.get(email="e3")).id == "u3"
    assert len(run(raw.list("index/"))) == 10


def test_broken_off(release: Release, tester: ServiceTester) -> None:
    """A building that broke off is done again; entries which nobody needs are cleared away, even without definitions."""
    run(release(Old, Index("age")).create(Old("u1", age=1)))
    raw = tester.client.store.table("tester/user")
    run(raw.delete(KEY))
    for number in range(1000):
        run(raw.write(f"index/gone.7 =x =u{number}", f"u{number}"))
    users = release(Old, Index("age"))
    run(users.reindex())
    assert ids(run(users.list(age=1))) == ["u1"]
    assert len(run(raw.list("index/"))) == 1


def test_definitions_of_another_form(release: Release, tester: ServiceTester) -> None:
    """A table that a later release has changed is not touched, nor is one that was damaged."""
    raw = tester.client.store.table("tester/user")
    run(raw.write(KEY, b'{"form":2,"indexes":[]}'))
    with pytest.raises(PreconditionFailed, match="is of form 2, and this release knows 1"):
        run(release(Old).create(Old("u1")))
    run(raw.write(KEY, b"{"))
    with pytest.raises(Internal, match="the record indexes of a model's table cannot be read"):
        run(release(Old).create(Old("u1")))


def test_unreadable_record(release: Release, tester: ServiceTester) -> None:
    """A record that is not one of the class is named in the error."""
    run(tester.client.store.table("tester/user").write("record/u1", b'{"age":"x"}'))
    with pytest.raises(Internal, match=r'kept under record/u1 is no user: field "age" wants an integer'):
        run(release(Old).read("u1"))
