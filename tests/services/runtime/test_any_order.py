"""Whatever happens, in whatever order: the runtime keeps its head."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from microd.kernel.errors import MicroError
from microd.services.runtime.model import Limits, Spec

from .conftest import KEY, MAIN, House, now

NEEDY = {"main.py": MAIN, "requirements.txt": b"x\n"}

_processes = st.integers(0, 5)
_steps = st.one_of(
    st.tuples(st.just("create"), st.booleans(), st.integers(1, 2)),
    st.tuples(st.just("needy"), st.booleans()),
    st.tuples(st.just("update")),
    st.tuples(st.just("delete")),
    st.tuples(st.just("crash"), _processes, st.sampled_from([0, 0, 1])),
    st.tuples(st.just("kill keeper"), _processes),
    st.tuples(st.just("register"), _processes),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 1.0, 10.0, 30.0, 100.0])),
    st.tuples(st.just("restart")),
    st.tuples(st.just("stop")),
    st.tuples(st.just("disk waits")),
    st.tuples(st.just("disk writes")),
)


@implementer(ILogObserver)
class Failures:
    """The defects which were logged."""

    def __init__(self) -> None:
        self.found: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.found.append(event)


@contextmanager
def no_failures() -> Iterator[None]:
    failures = Failures()
    globalLogPublisher.addObserver(failures)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(failures)
    assert [event["log_failure"].getTraceback() for event in failures.found] == []


def tried(work: object) -> None:
    """Begin something; it may be refused, but by nothing else than an answer."""
    Deferred.fromCoroutine(work).addErrback(lambda failure: failure.trap(MicroError))  # type: ignore[arg-type]


def do(house: House, step: tuple[object, ...]) -> None:
    match step:
        case ("create", bool(force), int(instances)):
            source = house.upload({"main.py": MAIN})
            tried(house.runtime.create(Spec(KEY, source=source, instances=instances), "micro", force=force))
        case ("needy", bool(force)):
            tried(house.runtime.create(Spec(KEY, source=house.upload(NEEDY)), "micro", force=force))
        case ("update",):
            tried(house.runtime.update(Spec(KEY, instances=0), "micro"))
        case ("delete",):
            tried(house.runtime.delete(KEY))
        case ("crash", int(which), int(code)) if which < len(house.processes.alive):
            house.crash(code, house.processes.alive[which])
        case ("kill keeper", int(which)) if which < len(house.processes.alive):
            house.processes.alive[which].ends(None, 9)
        case ("register", int(which)) if which < len(house.processes.alive):
            house.register(house.processes.alive[which])
        case ("pass", float(seconds)):
            house.clock.advance(seconds)
        case ("restart",):
            house.store.open_gate()
            house.restart()
        case ("disk waits",):
            house.store.close_gate()
        case ("disk writes",):
            house.store.open_gate()
        case ("stop",):
            house.runtime.stopService()


def obeyed(house: House) -> None:
    """Every process does as its signals say, until none has any left to obey."""
    while asked := [process for process in house.processes.alive if process.signals]:
        house.crash(0, asked[0])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_steps, max_size=25))
def test_any_order(steps: list[tuple[object, ...]]) -> None:
    """No order of events is a defect; and when all was deleted, nothing is left alive or kept."""
    with tempfile.TemporaryDirectory() as folder, no_failures():
        house = House(Path(folder), Limits())
        for step in steps:
            do(house, step)
        house.store.open_gate()
        obeyed(house)
        house.restart()
        for view in now(house.runtime.read("micro")):
            tried(house.runtime.delete(view.spec.key))
        obeyed(house)
        house.clock.advance(200)
        obeyed(house)
        assert house.processes.alive == []
        assert now(house.runtime.read("micro")) == []
        kept = [path for path in Path(folder).glob("sources/*/*/*/*") if not path.is_symlink()]
        assert [path for path in kept if (path.parent / "current").resolve() != path.resolve()] == []
