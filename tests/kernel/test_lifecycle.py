"""Starting in order, stopping in reverse."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from microd.kernel.lifecycle import OrderedService, TogetherService, split


class Part(Service):
    """Writes down what is asked of it, and is done when told so."""

    def __init__(self, name: str, log: list[str], start: Deferred[None] | None = None) -> None:
        self.word = name
        self.log = log
        self.start = start
        self.stop: Deferred[None] | None = None

    def startService(self) -> Deferred[None] | None:
        self.log.append(f"begin {self.word}")
        return self.start

    def stopService(self) -> Deferred[None] | None:
        self.log.append(f"stop {self.word}")
        return self.stop


def family(kind: type[OrderedService], *parts: Part) -> OrderedService:
    root = kind()
    for part in parts:
        part.setServiceParent(root)
    return root


def test_order() -> None:
    """A child begins only once the one before it is up."""
    log: list[str] = []
    first = Deferred[None]()
    root = family(OrderedService, Part("a", log, first), Part("b", log))
    started = root.startService()
    assert log == ["begin a"]
    first.callback(None)
    assert started.called
    assert log == ["begin a", "begin b"]


def test_reverse() -> None:
    """Children are stopped in reverse, each once the one after it is down."""
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    root = family(OrderedService, a, b)
    root.startService()
    b.stop = Deferred()
    root.stopService()
    assert log[2:] == ["stop b"]
    b.stop.callback(None)
    assert log[2:] == ["stop b", "stop a"]


def test_failed_start() -> None:
    """When a child fails to start, those before it are stopped, it and none after it is touched, and once only."""
    log: list[str] = []
    broken = Deferred[None]()
    root = family(OrderedService, Part("a", log), Part("b", log, broken), Part("c", log))
    started = root.startService()
    failures: list[type[BaseException] | None] = []
    started.addErrback(lambda reason: failures.append(reason.type))
    broken.errback(ZeroDivisionError())
    assert failures == [ZeroDivisionError]
    root.stopService()
    assert log == ["begin a", "begin b", "stop b", "stop a"]


def test_stop_while_starting() -> None:
    """A stop in the middle of a start leaves the rest unstarted and stops what was begun."""
    log: list[str] = []
    root = family(OrderedService, Part("a", log), Part("b", log, Deferred()), Part("c", log))
    root.startService()
    stopped = root.stopService()
    assert stopped.called
    assert log == ["begin a", "begin b", "stop b", "stop a"]


def test_stop_failure() -> None:
    """A child that fails to stop does not keep the others up, and is reported."""
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    root = family(OrderedService, a, b)
    root.startService()
    b.stop = Deferred()
    stopped = root.stopService()
    b.stop.errback(ZeroDivisionError())
    failures: list[type[BaseException] | None] = []
    stopped.addErrback(lambda reason: failures.append(reason.type))
    assert failures == [ZeroDivisionError]
    assert log[-1] == "stop a"


def test_together() -> None:
    """Children that stop together are all asked before any has finished."""
    log: list[str] = []
    a, b = Part("a", log), Part("b", log)
    root = family(TogetherService, a, b)
    root.startService()
    b.stop = Deferred()
    stopped = root.stopService()
    assert log[2:] == ["stop b", "stop a"]
    assert not stopped.called
    b.stop.callback(None)
    assert stopped.called


def test_split() -> None:
    """A part in two halves starts where the second is, and stops where the first is."""
    log: list[str] = []
    stops, starts = split(Part("late", log))
    root = OrderedService()
    for part in (Part("a", log), stops, Part("b", log), starts):
        part.setServiceParent(root)
    root.startService()
    root.stopService()
    assert log == ["begin a", "begin b", "begin late", "stop b", "stop late", "stop a"]


def test_split_unstarted() -> None:
    """A part whose start was never reached is not stopped either."""
    log: list[str] = []
    stops, starts = split(Part("late", log))
    root = OrderedService()
    for part in (stops, Part("a", log, Deferred()), starts):
        part.setServiceParent(root)
    root.startService()
    root.stopService()
    assert log == ["begin a", "stop a"]
