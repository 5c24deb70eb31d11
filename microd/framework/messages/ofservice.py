"""A service's subscriptions: gathered from decorators, then served from the service's start to its stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from microd.framework import naming
from microd.framework.bridge import Bridge
from microd.framework.handlers import place_of_function
from microd.framework.messages.calling import Calling
from microd.framework.messages.serving import IClient, OfBroker, OfEvents
from microd.framework.messages.subscriber import Subscriber, Wish, subscriber_of
from microd.framework.schema.shapes import SchemaError
from microd.framework.workers import Workers


@dataclass(frozen=True, slots=True)
class _Postponed:
    """A function whose annotations name what is defined further down."""

    function: Callable[..., Any]
    name: str
    wish: Wish
    names: Mapping[str, object]


class Subscribers:
    """The functions that a service has subscribed; they grow until L{published}."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._known: list[Subscriber] = []
        self._postponed: list[_Postponed] = []
        self._taken: dict[tuple[str, str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._known or self._postponed)

    def add(self, function: Callable[..., Any], wish: Wish, names: Mapping[str, object]) -> None:
        """Take a function on.

        @raise SchemaError: it cannot be subscribed; the text says where it is, and why.
        """
        where = place_of_function(function)
        group = wish.terms.group if wish.terms is not None else ""
        if wish.queue or group:
            taken = (wish.topic, wish.queue, group)
            if taken in self._taken:
                what = f"queue {wish.queue}" if wish.queue else f"group {group}"
                raise SchemaError(
                    f"{where}: {self._taken[taken]} is subscribed to {wish.topic} for the {what} already, "
                    "and each would get a part; give one another name"
                )
            self._taken[taken] = where
        name = naming.endpoint_of(self._service, getattr(function, "__name__", "subscriber").strip("_<>"))
        wanted = _Postponed(function, name, wish, names)
        try:
            self._resolve(wanted)
        except NameError:
            self._postponed.append(wanted)

    def published(self) -> list[Subscriber]:
        """All of them, once no more come.

        @raise SchemaError: an annotation names what does not exist.
        """
        waiting, self._postponed = self._postponed, []
        for wanted in waiting:
            try:
                self._resolve(wanted)
            except NameError as problem:
                raise SchemaError(f"{place_of_function(wanted.function)}: {problem}") from None
        return list(self._known)

    def _resolve(self, wanted: _Postponed) -> None:
        self._known.append(subscriber_of(wanted.function, wanted.name, wanted.wish, wanted.names))


class Subscriptions:
    """All subscriptions of one running service."""

    def __init__(
        self,
        service: str,
        subscribers: list[Subscriber],
        client: IClient,
        workers: Workers,
        bridge: Bridge,
        clock: IReactorTime,
    ) -> None:
        self._all: list[OfBroker | OfEvents] = []
        for subscriber in subscribers:
            calling = Calling(service, client.namespace, subscriber, workers, bridge, clock, client.activity)
            kind = OfBroker if subscriber.wish.terms is None else OfEvents
            self._all.append(kind(subscriber, calling, client, bridge, clock))

    def begin(self) -> None:
        """Listen; a daemon that is not there is waited for."""
        for each in self._all:
            each.begin()

    def pause(self) -> None:
        """Begin to deal with nothing more."""
        for each in self._all:
            each.pause()

    async def end(self, drain: float) -> None:
        """Let what runs finish, for at most so many seconds in all, have it acknowledged, and hang up."""
        self.pause()
        for ending in [Deferred.fromCoroutine(each.end(drain)) for each in self._all]:
            await ending

    def abandon(self) -> None:
        """Hang up at once, and wait for nothing."""
        for each in self._all:
            each.abandon()
