"""From a wish to a process, and what is said of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred

from microd.kernel.errors import BadRequest, Conflict, NotFound
from microd.services.registry.model import Node
from microd.services.runtime.backends.local.processes import BURST, LAST_RESORT, LINE, RATE
from microd.services.runtime.model import Key, Limits, Spec, Status

from .conftest import KEY, MAIN, SECRET, House, now, settles


def test_starting(house: House) -> None:
    """A service whose process runs is starting until the registry knows it."""
    house.create()
    house.clock.advance(29)
    assert house.status() is Status.STARTING


def test_running(house: House) -> None:
    """A service is running once it has registered under the id of its process."""
    house.create()
    house.register()
    assert house.status() is Status.RUNNING


def test_another_process(house: House) -> None:
    """The registration of some other process of the same name does not make a service running."""
    house.create()
    house.register_node(Node("else", "127.0.0.1:1", {"process": "somebody else's"}))
    assert house.status() is Status.STARTING


def test_another_version(house: House) -> None:
    """The registration of another version says nothing about this one."""
    house.create()
    house.register(key=Key("micro", "greeter", "v2"))
    assert house.status() is Status.STARTING


def test_anonymous(house: House) -> None:
    """A node which does not name its process is taken for ours, as long as it came after our process."""
    house.create()
    house.register_node(Node("go", "127.0.0.1:1"))
    assert house.status() is Status.RUNNING


def test_stranger(house: House) -> None:
    """A node which does not name its process and was there before is not ours."""
    house.register_node(Node("other", "127.0.0.1:1"))
    house.create()
    house.register_node(Node("other", "127.0.0.1:2"))
    assert house.status() is Status.STARTING


def test_overdue(house: House) -> None:
    """A process which does not register in time counts as an error that says so, and runs on."""
    house.create()
    house.clock.advance(30)
    view = house.view()
    assert view.status is Status.ERROR
    assert view.metadata["error"] == "it runs, but has not registered within 30 s"
    assert house.last.alive
    assert house.last.signals == []


def test_overdue_then_running(house: House) -> None:
    """A process which registers late is running all the same."""
    house.create()
    house.clock.advance(300)
    house.register()
    view = house.view()
    assert view.status is Status.RUNNING
    assert "error" not in view.metadata


def test_registration_lost(house: House) -> None:
    """A service whose registration runs out is no longer running, and in time an error."""
    house.create()
    house.register()
    house.clock.advance(90)
    assert house.status() is Status.STARTING
    assert house.view().metadata["error"] == "it is no longer registered"
    house.clock.advance(30)
    assert house.status() is Status.ERROR


def test_registration_back(house: House) -> None:
    """A service which registers again is running again."""
    house.create()
    house.register()
    house.clock.advance(90)
    house.register()
    assert house.status() is Status.RUNNING


def test_pid(house: House) -> None:
    """The pid is the program's own, not its keeper's."""
    house.create()
    house.last.says(b"pid 4", 3)
    house.last.says(b"2\n", 3)
    assert house.view().metadata["pid"] == "42"


def test_metadata(house: House) -> None:
    """A service shows who owns it, of which namespace, since when, and what its author said."""
    house.create(owner="ada", group="acme", metadata={"source": "/src/greeter", "team": "blue"})
    shown = house.view().metadata
    expected = {
        "owner": "ada",
        "group": "acme",
        "source": "/src/greeter",
        "team": "blue",
        "status": "starting",
        "started": "1970-01-12T13:46:40Z",
        "restarts": "0",
    }
    assert shown == expected


def test_environment(house: House) -> None:
    """A process sees what spec 1.2 says, and the author's variables over the first four of it."""
    house.create(
        env={"MICRO_PROXY": "mine", "COLOUR": "red", "MICRO_NAMESPACE": "other", "MICRO_AUTH_SECRET": "x"},
        secrets={"COLOUR": "blue"},
    )
    seen = house.last.environment
    assert seen["MICRO_PROFILE"] == "service"
    assert seen["MICRO_SERVICE_NAME"] == "greeter"
    assert seen["MICRO_SERVICE_VERSION"] == "latest"
    assert seen["MICRO_PROXY"] == "mine"
    assert seen["MICRO_NAMESPACE"] == "micro"
    assert seen["MICRO_AUTH_ID"] == "greeter-latest"
    assert seen["MICRO_AUTH_SECRET"] == "token of greeter-latest in micro"
    assert seen["PYTHONUNBUFFERED"] == "1"
    assert seen["COLOUR"] == "blue"
    assert seen["LANG"] == "C"


def test_no_leak(house: House) -> None:
    """Nothing of the daemon's own settings and secrets reaches a service."""
    house.create()
    assert SECRET not in house.last.environment.values()
    assert house.last.environment["MICRO_PROXY"] == "127.0.0.1:18443"


def test_command_line(house: House) -> None:
    """Without a command, the daemon's interpreter runs main.py in its folder."""
    house.create(args=("--fast",))
    *_, folder, python, main, argument = house.last.arguments
    assert (python, argument) == (sys.executable, "--fast")
    assert main == f"{folder}/main.py"


def test_crash(house: House) -> None:
    """A crashed service is an error with its exit code, its last words, and when the next attempt is due."""
    house.create()
    house.last.says(b"Traceback:\nZeroDivisionError\n", 2)
    house.crash(3)
    view = house.view()
    assert view.status is Status.ERROR
    assert view.metadata["error"] == "exited with code 3\nTraceback:\nZeroDivisionError"
    assert view.metadata["retry"] == "1970-01-12T13:46:41Z"
    assert "pid" not in view.metadata


def test_killed(house: House) -> None:
    """A service that died of a signal says which."""
    house.create()
    house.last.says(b"signal 11\n", 3)
    house.last.ends()
    assert house.view().metadata["error"] == "killed by SIGSEGV"


def test_keeper_killed(house: House) -> None:
    """When the keeper was killed, what it left behind is killed, and the service is started again."""
    house.create()
    house.last.ends(None, 9)
    assert house.swept[-1] == house.processes.spawned[0].environment["MICRO_SERVICE_PROCESS"]
    assert house.view().metadata["error"] == "its keeper killed by SIGKILL"
    house.clock.advance(1)
    assert len(house.processes.alive) == 1


def test_backoff(house: House) -> None:
    """The wait between attempts doubles up to the longest."""
    house.create()
    waits = []
    for _ in range(9):
        house.crash()
        before = house.clock.seconds()
        house.clock.advance(house.clock.getDelayedCalls()[0].getTime() - before)
        waits.append(house.clock.seconds() - before)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert house.view().metadata["restarts"] == "9"


def test_backoff_begins_anew(house: House) -> None:
    """A service which ran well for a while is started again after the first wait."""
    house.create()
    house.crash()
    house.clock.advance(1)
    house.crash()
    house.clock.advance(2)
    house.register()
    house.clock.advance(60)
    house.crash()
    house.clock.advance(1)
    assert len(house.processes.alive) == 1


def test_new_process_id(house: House) -> None:
    """Each attempt has an id of its own, so that an earlier one's registration does not count."""
    house.create()
    first = house.last
    house.crash()
    house.clock.advance(1)
    house.register(first)
    assert house.status() is Status.STARTING


def test_forgotten(house: House) -> None:
    """When a process ends, its nodes leave the registry at once."""
    house.create()
    house.register()
    house.crash()
    assert house.registry.nodes("micro", "greeter") == ()


def test_clean_exit(house: House) -> None:
    """A service which exits with code 0 is stopped, and stays so."""
    house.create()
    house.crash(0)
    house.clock.advance(1000)
    assert house.status() is Status.STOPPED
    assert house.processes.alive == []


def test_cannot_spawn(house: House) -> None:
    """When the machine cannot start a process, that is an error which is tried again."""
    house.processes.refuses = OSError("too many processes")
    house.create()
    assert house.view().metadata["error"] == "it could not be started: too many processes"
    house.processes.refuses = None
    house.clock.advance(1)
    assert house.status() is Status.STARTING


def test_delete(house: House) -> None:
    """A deleted service is asked to stop; once it has, nothing is left of it, and its credentials are void."""
    house.create()
    house.register()
    deleted = settles(house.runtime.delete(KEY))
    assert house.last.signals == ["TERM"]
    assert house.status() is Status.STOPPING
    assert house.revoked == []
    house.crash(0)
    deleted.result()
    assert house.revoked == [f"{KEY.account} in {KEY.namespace}"]
    assert now(house.runtime.read("micro")) == []
    assert list((house.folder / "sources").glob("*/*/*/*/main.py")) == []


def test_delete_by_force(house: House) -> None:
    """A service that does not stop within its grace is killed with all that it started."""
    house.create()
    deleted = settles(house.runtime.delete(KEY))
    house.clock.advance(10)
    assert house.last.signals == ["TERM", "SIGUSR1"]
    house.last.says(b"signal 9\n", 3)
    house.last.ends()
    deleted.result()


def test_delete_before_it_registered(house: House) -> None:
    """A service that takes its time to stop is not reported for not having registered meanwhile."""
    house.create()
    house.clock.advance(25)
    settles(house.runtime.delete(KEY))
    house.clock.advance(5)
    assert house.status() is Status.STOPPING


def test_delete_of_the_undying(house: House) -> None:
    """When even killing does not help, the keeper is killed and nobody waits any longer than that."""
    house.create()
    settles(house.runtime.delete(KEY))
    house.clock.advance(10)
    house.clock.advance(LAST_RESORT)
    assert house.last.signals == ["TERM", "SIGUSR1", "KILL"]
    assert house.last.closed


def test_delete_while_waiting(house: House) -> None:
    """A service that waits for its next attempt is deleted at once."""
    house.create()
    house.crash()
    now(house.runtime.delete(KEY))
    house.clock.advance(100)
    assert house.processes.alive == []


def test_delete_unknown(house: House) -> None:
    """Deleting a service that does not exist is an error which names it."""
    with pytest.raises(NotFound, match="greeter:latest was not found"):
        now(house.runtime.delete(KEY))


def test_create_twice(house: House) -> None:
    """A service that exists cannot be created again."""
    house.create()
    with pytest.raises(Conflict, match="exists already"):
        house.create()


def test_one_at_a_time(house: House) -> None:
    """While a service is being deleted it cannot be created."""
    house.create()
    settles(house.runtime.delete(KEY))
    with pytest.raises(Conflict, match="being changed"):
        house.create(force=True)


def test_versions(house: House) -> None:
    """Versions of a service live side by side, and v1 is not v10."""
    for version in ("v1", "v10"):
        house.create(key=Key("micro", "greeter", version))
    assert [view.spec.key.version for view in now(house.runtime.read("micro", "greeter", "v1"))] == ["v1"]
    assert len(now(house.runtime.read("micro", "greeter"))) == 2


def test_namespaces(house: House) -> None:
    """Nobody sees the services of another namespace."""
    house.create(key=Key("acme", "greeter"))
    assert now(house.runtime.read("micro")) == []
    assert len(now(house.runtime.read("acme"))) == 1


def test_type(house: House) -> None:
    """Services can be selected by their type."""
    house.create(type="worker")
    assert now(house.runtime.read("micro", type="cron")) == []
    assert len(now(house.runtime.read("micro", type="worker"))) == 1


def test_instances(house: House) -> None:
    """A service with several instances is running once all of them are registered."""
    house.create(instances=3)
    assert len(house.processes.alive) == 3
    nodes = []
    for process in house.processes.alive:
        assert house.status() is Status.STARTING
        nodes.append(Node(process.environment["MICRO_SERVICE_PROCESS"], "127.0.0.1:1"))
        house.register(process)
    view = house.view()
    assert view.status is Status.RUNNING
    assert view.metadata["instances"] == "3/3"


def test_an_instance_crashes(house: House) -> None:
    """When one of several instances crashes the service is an error, which says how many run."""
    house.create(instances=2)
    for process in house.processes.alive:
        house.register(process)
    house.crash(process=house.processes.spawned[0])
    view = house.view()
    assert view.status is Status.ERROR
    assert view.metadata["instances"] == "1/2"


def test_instances_bounded(house: House) -> None:
    """The number of instances has a limit, which the error names."""
    with pytest.raises(BadRequest, match="between 1 and 64"):
        house.create(instances=65)


def test_command_without_source(house: House) -> None:
    """A command needs no source."""
    now(house.runtime.create(Spec(KEY, command=("sleep", "1000")), "micro"))
    assert house.last.arguments[-2:] == ["sleep", "1000"]


def test_nothing_to_run(house: House) -> None:
    """Without source and command there is nothing to run, and the error says what to do."""
    with pytest.raises(BadRequest, match="upload one first"):
        now(house.runtime.create(Spec(KEY), "micro"))


def test_stopping_the_runtime(house: House) -> None:
    """The runtime stops all services at once, and is stopped when they are."""
    house.create()
    house.create(key=Key("micro", "other"))
    stopped = house.runtime.stopService()
    assert [process.signals for process in house.processes.alive] == [["TERM"], ["TERM"]]
    for process in house.processes.alive:
        house.crash(0, process)
    assert stopped.called


def test_stopped_meanwhile(house: House) -> None:
    """A service that is created while the runtime stops is kept, and started with the next daemon only."""
    house.store.close_gate()
    source = house.upload({"main.py": MAIN})
    created = settles(house.runtime.create(Spec(KEY, source=source), "micro"))
    assert house.runtime.stopService().called
    house.store.open_gate()
    created.result()
    assert house.processes.spawned == []
    house.restart()
    assert len(house.processes.spawned) == 1


def test_not_yet_kept(house: House) -> None:
    """Nothing is started, nor acknowledged, before it is kept."""
    house.store.close_gate()
    source = house.upload({"main.py": MAIN})
    created = settles(house.runtime.create(Spec(KEY, source=source), "micro"))
    assert not created.done
    assert house.processes.spawned == []


def test_client_goes_away(house: House) -> None:
    """A delete whose caller does not wait for it is done all the same."""
    house.create()
    deleting = Deferred.fromCoroutine(house.runtime.delete(KEY))
    deleting.addErrback(lambda failure: failure.trap(CancelledError))
    deleting.cancel()
    house.crash(0)
    assert now(house.runtime.read("micro")) == []
    house.create()


def test_settled(house: House) -> None:
    """Somebody who waits for the services to be up waits until each has registered, or is an error."""
    house.create()
    house.create(key=Key("micro", "other"))
    waiting = settles(house.runtime.settled())
    house.register(house.processes.spawned[0])
    assert not waiting.done
    house.crash(process=house.processes.spawned[1])
    assert waiting.done


def test_flood(tmp_path: Path) -> None:
    """A service that writes faster than it may is not read for a while, so that it waits; then it is again."""
    house = House(tmp_path, Limits())
    house.create()
    house.last.says(b"x" * BURST)
    assert not house.last.paused
    house.last.says(b"x" * RATE)
    assert house.last.paused
    house.clock.advance(1)
    assert not house.last.paused


def test_no_flood(tmp_path: Path) -> None:
    """A service that writes much, but not faster than it may, is never held up."""
    house = House(tmp_path, Limits())
    house.create()
    for _ in range(5):
        house.last.says(b"x" * RATE)
        assert not house.last.paused
        house.clock.advance(1)


def test_flood_of_lines(tmp_path: Path) -> None:
    """Many short lines count for more than their bytes."""
    house = House(tmp_path, Limits())
    house.create()
    house.last.says(b"\n" * (BURST // LINE + 1))
    assert house.last.paused


def test_figures(house: House) -> None:
    """Operators see how many instances are in which state."""
    house.create()
    house.register()
    instances, services = house.runtime.figures()
    assert {labels["status"]: value for labels, value in instances.samples if value} == {"running": 1}
    assert services.samples[0][1] == 1
