"""A daemon that died, also by SIGKILL, and came back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from microd.kernel.errors import Conflict, Unavailable
from microd.services.runtime.model import Key, Record, Spec, Status
from microd.services.runtime.records import record_from, value_of

from .conftest import KEY, House, now, settles


def test_again(house: House) -> None:
    """What was acknowledged runs again, just as it was wished for."""
    house.create(env={"A": "b"}, secrets={"C": "d"}, args=("x",), instances=2, metadata={"m": "n"})
    before = house.view().spec
    house.restart()
    assert house.view().spec == before
    assert len(house.processes.alive) == 2
    assert house.last.environment["C"] == "d"


def test_sweeps_first(house: House) -> None:
    """Before anything is started, what an earlier daemon left alive is killed by its mark, which is ours alone."""
    house.create()
    mark = house.last.environment["MICRO_SERVICE_PROCESS"]
    house.restart()
    assert mark.startswith(house.swept[-1])
    other = House(house.folder / "another", house.limits)
    assert other.swept[-1] != house.swept[-1]


def test_deleted_stays_deleted(house: House) -> None:
    """A service is forgotten before it is stopped, so that a crash meanwhile does not bring it back."""
    house.create()
    house.runtime.delete(KEY).send(None)
    house.restart()
    assert now(house.runtime.read("micro")) == []


def test_deleted_source_is_removed(house: House, tmp_path: Path) -> None:
    """Sources which nothing uses any more go with the restart."""
    house.create()
    house.create(files={"main.py": b"print(1)\n"}, force=True)
    house.register()
    house.restart()
    kept = [path for path in tmp_path.glob("sources/*/*/*/*") if path.is_dir() and not path.is_symlink()]
    assert len(kept) == 1


def test_not_before_it_is_read(house: House) -> None:
    """What is asked before the records are read waits for them."""
    house.create()
    house.store.close_gate()
    house.restart()
    reading = settles(house.runtime.read("micro"))
    creating = settles(house.runtime.create(Spec(KEY, command=("x",)), "micro"))
    assert not reading.done
    house.store.open_gate()
    assert len(reading.result()) == 1
    with pytest.raises(Conflict):
        creating.result()


def test_stopping(house: House) -> None:
    """A runtime that is stopping takes no more wishes."""
    house.runtime.stopService()
    with pytest.raises(Unavailable):
        house.create()


def test_delete_beats_update(house: House) -> None:
    """An update which succeeds while its service is being deleted does not bring the service back."""
    house.create()
    house.register()
    house.update()
    house.store.close_gate()
    settles(house.runtime.delete(KEY))
    house.register()
    house.store.open_gate()
    house.restart()
    assert now(house.runtime.read("micro")) == []


def test_update_beats_update(house: House) -> None:
    """An update which is decided while the next one is being kept does not take its place."""
    house.create()
    house.register()
    house.update({"main.py": b"print(2)\n"})
    house.store.close_gate()
    updated = settles(house.runtime.update(Spec(KEY, entrypoint="main.py", instances=0), "micro"))
    house.crash()
    house.store.open_gate()
    updated.result()
    house.restart()
    assert house.view().spec.entrypoint == "main.py"
    assert house.last.alive


def test_stopped_runs_again(house: House) -> None:
    """A service that had ended by itself is started again with the daemon."""
    house.create()
    house.crash(0)
    house.restart()
    assert house.status() is Status.STARTING


def test_registered_before(house: House) -> None:
    """A registration which came before the runtime had started counts."""
    house.create()
    house.runtime.stopService()
    house.processes.spawned[0].ends()
    house.restart()
    house.register()
    assert house.status() is Status.RUNNING


def test_update_under_way(house: House) -> None:
    """An update that was not decided begins again: first the old one, and beside it the new one."""
    house.create()
    house.register()
    house.update({"main.py": b"print(2)\n"})
    house.restart()
    old, new = house.processes.spawned
    assert old.arguments != new.arguments
    house.register(old)
    house.crash(1, new)
    assert house.status() is Status.RUNNING
    assert house.processes.alive == [old]


def test_given_up_stays_given_up(house: House) -> None:
    """After an update was given up, a restart runs what was kept."""
    house.create()
    house.register()
    kept = house.last.arguments[6:]
    house.update({"main.py": b"print(2)\n"})
    house.crash()
    house.restart()
    (only,) = house.processes.spawned
    assert only.arguments[6:] == kept
    assert "error" not in house.view().metadata


def test_taken_over_stays(house: House) -> None:
    """After an update has succeeded, a restart runs the new one."""
    house.create()
    house.register()
    house.update({"main.py": b"print(2)\n"})
    house.register()
    new = house.last.arguments[6:]
    house.restart()
    (only,) = house.processes.spawned
    assert only.arguments[6:] == new


def test_source_gone(house: House) -> None:
    """A service whose source has vanished is an error that says so; the others run."""
    house.create()
    house.create(key=Key("micro", "other"))
    (main,) = house.folder.glob("sources/micro/greeter/latest/*[!t]/main.py")
    main.unlink()
    house.restart()
    assert house.view().metadata["error"].startswith("there is no main.py")
    assert house.view(Key("micro", "other")).status is Status.STARTING


SPEC = Spec(
    Key("a", "b", "c"),
    "source://b:c",
    "a/b/c/0",
    "sub",
    ("run", "it"),
    ("fast",),
    {"A": "b"},
    {"S": "t"},
    "worker",
    3,
    {"m": "n"},
    "ada",
    "acme",
    12.5,
)


@pytest.mark.parametrize("former", [None, replace(SPEC, source="")])
def test_record(former: Spec | None) -> None:
    """Everything in a record survives being kept."""
    record = Record(SPEC, former)
    assert record_from(value_of(record)) == record


def test_older_record() -> None:
    """A record which knows less than we do is completed by defaults."""
    value = b'{"spec":{"key":{"namespace":"a","name":"b","version":"c"},"source":"s","unknown":1}}'
    assert record_from(value) == Record(Spec(Key("a", "b", "c"), source="s"))


def test_secrets_are_not_shown() -> None:
    """No secret is in what is printed of a spec."""
    assert "'t'" not in repr(SPEC)
