"""Replacing what runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from microd.kernel.errors import NotFound
from microd.services.runtime.model import Spec, Status

from .conftest import KEY, House, now, settles


def folders(house: House) -> list[Path]:
    """The sources that are kept."""
    found = house.folder.glob("sources/*/*/*/*")
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def running(house: House, **wish: object) -> None:
    house.create(**wish)  # type: ignore[arg-type]
    house.register()


def test_beside(house: House) -> None:
    """The new one is started while the old one serves, and what is shown is how the new one does."""
    running(house)
    house.update()
    assert len(house.processes.alive) == 2
    assert house.processes.spawned[0].signals == []
    assert house.status() is Status.STARTING


def test_taken_over(house: House) -> None:
    """Once the new one has registered, the old one is stopped."""
    running(house)
    house.update()
    house.register()
    old, new = house.processes.spawned
    assert (old.signals, new.signals) == (["TERM"], [])
    assert house.status() is Status.RUNNING
    house.crash(0, old)
    assert house.processes.alive == [new]
    assert house.status() is Status.RUNNING


def test_new_source(house: House) -> None:
    """The new one runs from the new source, and the old source goes when the old one is gone."""
    running(house)
    house.update({"main.py": b"print(2)\n"})
    house.register()
    assert len(folders(house)) == 2
    house.crash(0, house.processes.spawned[0])
    (folder,) = folders(house)
    assert (folder / "main.py").read_bytes() == b"print(2)\n"
    assert str(folder) in house.last.arguments


def test_given_up(house: House) -> None:
    """When the new one crashes, the old one serves on, and the error says why."""
    running(house)
    house.update({"main.py": b"import nothing\n"})
    house.last.says(b"ModuleNotFoundError: nothing\n", 2)
    house.crash()
    view = house.view()
    assert view.status is Status.RUNNING
    assert view.metadata["error"].startswith("the update was given up")
    assert "ModuleNotFoundError: nothing" in view.metadata["error"]
    (old,) = house.processes.alive
    assert old.signals == []
    house.clock.advance(100)
    assert house.processes.alive == [old]
    assert len(folders(house)) == 1


def test_is_no_restart(house: House) -> None:
    """A new one that fails is not started again, while one which took over is."""
    running(house)
    house.update()
    house.crash()
    house.clock.advance(50)
    assert len(house.processes.spawned) == 2
    house.update()
    house.register()
    house.crash()
    house.clock.advance(1)
    assert len(house.processes.spawned) == 4


def test_last_words(house: House) -> None:
    """The error of an update does not repeat what the old one had said before."""
    running(house)
    house.last.says(b"all is well\n")
    house.clock.advance(1)
    house.update()
    house.last.says(b"no\n")
    house.crash()
    assert "all is well" not in house.view().metadata["error"]
    assert house.messages()[-2] == "exited with code 1; it is not tried again"


def test_overdue(house: House) -> None:
    """A new one which does not register in time is stopped, and the old one stays."""
    running(house)
    house.update()
    house.clock.advance(30)
    old, new = house.processes.spawned
    assert (old.signals, new.signals) == ([], ["TERM"])
    assert house.status() is Status.RUNNING


def test_exits(house: House) -> None:
    """A new one which exits before it has registered is no replacement."""
    running(house)
    house.update()
    house.crash(0)
    assert house.processes.alive == [house.processes.spawned[0]]
    assert house.status() is Status.RUNNING


def test_after_given_up(house: House) -> None:
    """An update which succeeds takes the error of the one before away."""
    running(house)
    house.update()
    house.crash()
    house.update()
    house.register()
    assert "error" not in house.view().metadata


def test_of_a_broken_one(house: House) -> None:
    """A service that does not serve is not worth keeping: it is stopped first."""
    house.create()
    house.crash()
    house.update()
    assert len(house.processes.alive) == 1
    assert house.status() is Status.STARTING
    house.register()
    assert house.status() is Status.RUNNING


def test_of_a_stopped_one(house: House) -> None:
    """A service which had ended by itself is started by an update."""
    house.create()
    house.crash(0)
    house.update()
    assert house.status() is Status.STARTING


def test_twice(house: House) -> None:
    """A second update takes the place of a first that is under way."""
    running(house)
    house.update()
    house.update({"main.py": b"print(3)\n"})
    old, first = house.processes.spawned
    assert (old.signals, first.signals) == ([], ["TERM"])
    house.crash(0, first)
    house.register()
    assert house.status() is Status.RUNNING
    assert old.signals == ["TERM"]
    house.crash(0, old)
    assert len(folders(house)) == 1


def test_same_source(house: House) -> None:
    """An update which names no source starts the present one anew."""
    running(house, env={"A": "b"}, args=("x",))
    now(house.runtime.update(Spec(KEY, instances=0), "micro"))
    house.register()
    house.crash(0, house.processes.spawned[0])
    assert house.last.arguments == house.processes.spawned[0].arguments
    assert house.last.environment["A"] == "b"
    assert len(folders(house)) == 1


def test_instances(house: House) -> None:
    """An update can change the number of instances."""
    running(house)
    now(house.runtime.update(Spec(KEY, instances=2), "micro"))
    for process in house.processes.spawned[1:]:
        house.register(process)
    house.crash(0, house.processes.spawned[0])
    assert len(house.processes.alive) == 2
    assert house.view().metadata["instances"] == "2/2"


def test_of_a_limping_one(house: House) -> None:
    """As long as one of several instances serves, none is stopped before the new ones run."""
    house.create(instances=2)
    well, ill = house.processes.spawned
    house.register(well)
    house.crash(1, ill)
    house.update(instances=1)
    assert well.signals == []
    house.register()
    assert well.signals == ["TERM"]


def test_force(house: House) -> None:
    """Creating by force replaces everything that was wished before, without a gap."""
    running(house, env={"A": "b"})
    house.create(force=True, env={"C": "d"})
    assert len(house.processes.alive) == 2
    assert "A" not in house.last.environment
    house.register()
    assert house.processes.spawned[0].signals == ["TERM"]


def test_unknown(house: House) -> None:
    """What does not exist cannot be updated."""
    with pytest.raises(NotFound):
        house.update()


def test_delete_meanwhile(house: House) -> None:
    """Deleting a service that is being updated stops the old one and the new one."""
    running(house)
    house.update()
    deleted = settles(house.runtime.delete(KEY))
    for process in house.processes.alive:
        assert process.signals == ["TERM"]
        house.crash(0, process)
    deleted.result()
    assert folders(house) == []
    house.clock.advance(100)
    assert house.processes.alive == []


def test_delete_while_old_stops(house: House) -> None:
    """Deleting a service also waits for the one that an update has just replaced."""
    running(house)
    house.update()
    house.register()
    deleted = settles(house.runtime.delete(KEY))
    old, new = house.processes.spawned
    house.crash(0, new)
    assert not deleted.done
    house.clock.advance(10)
    assert old.signals == ["TERM", "SIGUSR1"]
    house.crash(0, old)
    assert deleted.done
