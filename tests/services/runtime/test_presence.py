"""Learning from the registry, also when it cuts us off."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock

from microd.kernel.errors import Unavailable
from microd.services.registry.interface import IWatch
from microd.services.registry.model import Change, Node, Service
from microd.services.registry.watch import Watch
from microd.services.runtime.model import Key
from microd.services.runtime.presence import Presence, Seen

KEY = Key("micro", "greeter", "latest")
GREETER = Service("greeter", metadata={"domain": "micro"}, nodes=(Node("1", "h:1", {"process": "p"}),))


class Registry:
    """Just what is asked of it."""

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.watches: list[Watch] = []

    def watch(self, namespace: str, name: str = "") -> IWatch:
        self.watches.append(Watch(namespace, name, 10))
        return self.watches[-1]

    async def list(self, namespace: str) -> Sequence[Service]:
        return self.services

    def forget_process(self, namespace: str, name: str, version: str, process: str) -> None:
        raise AssertionError("nobody should ask for it")


class Scene:
    def __init__(self, *services: Service) -> None:
        self.clock = Clock()
        self.registry = Registry()
        self.registry.services += services
        self.told: dict[Key, Seen] = {}
        self.presence = Presence(self.registry, self.clock, self.told.__setitem__)
        self.presence.start()

    @property
    def greeter(self) -> Seen:
        assert self.presence.of(KEY) == self.told[KEY]
        return self.told[KEY]


def test_there_already() -> None:
    """What is registered when we begin is known."""
    assert Scene(GREETER).greeter == ({"p"}, set())


def test_changes() -> None:
    """What changes is known at once: who comes, who goes."""
    scene = Scene()
    scene.registry.watches[0].offer(Change("create", GREETER, "micro"))
    assert scene.greeter == ({"p"}, set())
    scene.registry.watches[0].offer(Change("delete", GREETER, "micro"))
    assert scene.greeter == (set(), set())


def test_anonymous() -> None:
    """A node that does not name its process is told by its id."""
    scene = Scene(Service("greeter", metadata={"domain": "micro"}, nodes=(Node("7", "h:1"),)))
    assert scene.greeter == (set(), {"7"})


def test_cut_off() -> None:
    """When changes were lost all is asked anew, so that also what has vanished meanwhile is known."""
    scene = Scene(GREETER)
    scene.registry.services.clear()
    scene.registry.watches[0].end(Unavailable("too slow"))
    scene.clock.advance(1)
    assert scene.greeter == (set(), set())
    scene.registry.watches[1].offer(Change("create", GREETER, "micro"))
    assert scene.greeter == ({"p"}, set())


def test_stopped() -> None:
    """Once stopped nothing is asked any more, and the watch is closed."""
    scene = Scene()
    scene.presence.stop()
    scene.clock.advance(100)
    assert len(scene.registry.watches) == 1
    assert not scene.registry.watches[0].watched
    assert scene.clock.getDelayedCalls() == []
