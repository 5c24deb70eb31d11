"""Which processes the registry knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.kernel.errors import MicroError
from microd.services.registry.model import EVERYWHERE, Node, Service
from microd.services.runtime.interface import Registrations
from microd.services.runtime.model import Key

#: Seconds before the registry is asked again, after it cut us off.
_AGAIN = 1.0


#: The processes in which the nodes of a service run, and the ids of those nodes which do not say in which.
Seen = tuple[Collection[str], Collection[str]]
_NONE: Seen = (frozenset(), frozenset())


class Observer(Protocol):
    """Who wants to know."""

    def __call__(self, key: Key, seen: Seen, /) -> None:
        """The nodes of a service have changed."""


class Presence:
    """Reads the registry's changes, remembers them and tells of them, until it is stopped."""

    log = Logger()

    def __init__(self, registry: Registrations, clock: IReactorTime, observer: Observer) -> None:
        self._registry = registry
        self._clock = clock
        self._observer = observer
        self._work: Deferred[None] | None = None
        self._seen: dict[Key, Seen] = {}

    def of(self, key: Key) -> Seen:
        """What is known of a service now."""
        return self._seen.get(key, _NONE)

    def start(self) -> None:
        """Begin; what is registered already is told first."""
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(self._broke)

    def stop(self) -> None:
        """End."""
        if self._work is not None:
            self._work.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except MicroError as error:
                # We fell behind, or the registry is stopping: then we are about to be stopped, too.
                self.log.info("watching the registry anew: {reason}", reason=str(error))
            await deferLater(self._clock, _AGAIN)

    async def _read(self) -> None:
        changes = self._registry.watch(EVERYWHERE)
        try:
            self._tell_all(await self._registry.list(EVERYWHERE))
            async for change in changes:
                gone = change.action == "delete"
                self._tell(change.namespace, change.service, () if gone else change.service.nodes)
        finally:
            changes.close()

    def _tell_all(self, services: Sequence[Service]) -> None:
        there = {_key(service.metadata.get("domain", ""), service) for service in services}
        for key in self._seen.keys() - there:
            self._note(key, _NONE)
        for service in services:
            self._tell(service.metadata.get("domain", ""), service, service.nodes)

    def _tell(self, namespace: str, service: Service, nodes: Sequence[Node]) -> None:
        processes = frozenset(node.metadata.get("process", "") for node in nodes) - {""}
        anonymous = frozenset(node.id for node in nodes if not node.metadata.get("process"))
        self._note(_key(namespace, service), (processes, anonymous))

    def _note(self, key: Key, seen: Seen) -> None:
        if seen == _NONE:
            self._seen.pop(key, None)
        else:
            self._seen[key] = seen
        self._observer(key, seen)

    def _broke(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("watching the registry broke off", failure)


def _key(namespace: str, service: Service) -> Key:
    return Key(namespace, service.name, service.version)
