"""Consuming a topic's events for as long as one wants, over as many connections as it takes.

::

    connection:   1 ─────────────✗          2 ───────────────
    given:        e1 e2 e3                  e1 e2 e4
    being done:   ├──── e1 ────────────────────┤ done, said on 2; it is not begun a second time
                     ├─ e2 ──────┤ done while nobody listened: said on 2, when it comes again
                        e3 ─┤ said on 1

For a group the daemon remembers what is done. A private consumer ends with its connection: there L{Consumer} remembers, and goes on
behind what it has seen, with what was to come again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.messages.model import Message
from microd.framework.messages.private import Private
from microd.framework.messages.questions import CONSUME, Questions, received
from microd.framework.messages.reopening import Caller as Reopener
from microd.framework.messages.reopening import Chance, Reopening
from microd.framework.messages.terms import Terms, consume
from microd.framework.outgoing import CORE
from microd.framework.questions import Ask
from microd.kernel.errors import BadRequest, NotFound, Unimplemented
from microd.wire import events_pb2

#: So many words about events are kept until these come again.
MOST_SAID = 1000
#: Seconds which the daemon has to take note of the last words.
FAREWELL = 5.0


class Caller(Reopener, Protocol):
    """What is asked of L{microd.framework.client.Client}."""

    def ask_store(self, ask: Ask[Any]) -> Awaitable[Any]: ...


class Outbox(AsyncIterator[Any]):
    """What goes out on one stream.

    @param bridge: how whoever sends it can wait.
    """

    def __init__(self, bridge: Bridge, first: Any) -> None:
        self._bridge = bridge
        self._due: deque[Any] = deque([first])
        self._over = False
        self._waiting: Deferred[None] | None = None

    def put(self, message: Any) -> None:
        """Send a message."""
        self._due.append(message)
        self._wake()

    def end(self) -> None:
        """Send what there is, and half-close."""
        self._over = True
        self._wake()

    async def __anext__(self) -> Any:
        if self._due:
            return self._due.popleft()
        if not self._over:
            await self._bridge.theirs(self._more())
        if self._due:
            return self._due.popleft()
        raise StopAsyncIteration

    async def _more(self) -> None:
        while not self._due and not self._over:
            self._waiting = Deferred()
            await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class Consumer:
    """One consumer.

    @param keep: events which are here and about which nothing was said stay here: the daemon is told that they are worked on.
    @param insistent: see L{Reopening}.
    @param on_lost: called when a stream is gone: what is not being worked on comes again.
    """

    def __init__(
        self,
        caller: Caller,
        clock: IReactorTime,
        bridge: Bridge,
        terms: Terms,
        *,
        keep: bool,
        insistent: bool,
        on_lost: Callable[[], None] = lambda: None,
        chance: Chance = random.uniform,
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._bridge = bridge
        self._terms = terms
        self._keep = keep
        self._on_lost = on_lost
        what = f"the consumer of {terms.topic}" + (f" for {terms.group}" if terms.group else "")
        self._reopening = Reopening(caller, clock, what, insistent=insistent, chance=chance)
        self._outbox: Outbox | None = None
        self._here: dict[str, None] = {}
        self._open: dict[str, None] = {}
        self._said: dict[str, events_pb2.AckRequest] = {}
        self._private = None if terms.group else Private()
        self._ending = False
        self._timer: IDelayedCall | None = None

    async def messages(self) -> AsyncGenerator[Message, None]:
        """The events, but for those which are being worked on or done with; say of each what became of it.

        @raise MicroError: the daemon will not give them, and the consumer is not insistent.
        """
        replies = self._reopening.items(self._stream)
        try:
            async for found in replies:
                if not self._ending and self._is_wanted(found):
                    yield received(found)
        finally:
            self._stop_timer()
            await close(replies)

    def say(self, id: str, word: events_pb2.AckRequest, *, final: bool) -> None:
        """Say what became of an event.

        @param final: it does not come again.
        """
        self._open.pop(id, None)
        if final and self._private is not None:
            self._private.done(id)
        outbox = self._outbox
        # That something is done is believed of anybody of the group, also if the daemon takes another for its holder by now.
        if outbox is not None and (id in self._here or (word.success and self._terms.group)):
            self._here.pop(id, None)
            outbox.put(word)
        elif final:
            if len(self._said) >= MOST_SAID:
                del self._said[next(iter(self._said))]
            self._said[id] = word

    def working(self, id: str) -> None:
        """An event is being worked on: its C{ack_wait} begins anew."""
        if id in self._here and self._outbox is not None:
            self._outbox.put(events_pb2.AckRequest(id=id, working=True))

    def release(self, id: str) -> None:
        """Nobody has begun to work on an event: let somebody else have it."""
        self._open.pop(id, None)
        if id in self._here and self._outbox is not None:
            del self._here[id]
            self._outbox.put(events_pb2.AckRequest(id=id, untried=True))

    def leave(self) -> None:
        """Have what was said arrive, and end; whoever iterates sees it to its end. What is here then goes to others of the group."""
        self._ending = True
        self._reopening.stop()
        if self._outbox is not None:
            self._outbox.end()

    # -- how

    async def _stream(self) -> AsyncGenerator[events_pb2.Event, None]:
        await self._catch_up()
        if self._ending:
            return
        start = None if self._private is None else self._private.start
        outbox = Outbox(self._bridge, consume(self._terms, start))
        replies = self._caller.answers("", CONSUME, outbox, events_pb2.Event, None, None, CORE)
        self._outbox = outbox
        self._here.clear()
        self._tick_later()
        try:
            async for found in replies:
                yield found
        finally:
            self._outbox = None
            self._here.clear()
            outbox.end()
            await close(replies)
            if not self._keep:
                self._open.clear()
            self._on_lost()

    async def _catch_up(self) -> None:
        """Say what could not be said before; and find out where the end is, for who is to begin there."""
        terms = self._terms
        questions = Questions(lambda: (None, False))
        if terms.group and any(word.success for word in self._said.values()):
            # Of what nobody holds any more, only that it is done is believed.
            words = {id: word for id, word in self._said.items() if word.success}
            # The topic or the group may have gone meanwhile, and the events with it.
            with suppress(BadRequest, NotFound, Unimplemented):
                await self._caller.ask_store(questions.ack(terms.topic, terms.group, words.values()))
            for id in words:
                self._said.pop(id, None)
        private = self._private
        if private is not None and private.seen is None and terms.start == "latest":
            # So that nothing is left out, should the first connection break before the first event.
            page = await self._caller.ask_store(questions.page(terms.topic, 0, None, 1, True))
            private.seen = page.events[-1].offset if page.events else 0

    def _is_wanted(self, found: events_pb2.Event) -> bool:
        id = found.id
        self._here[id] = None
        said = self._said.pop(id, None)
        if said is None and self._private is not None and not self._private.admit(id, found.offset):
            said = events_pb2.AckRequest(id=id, success=True)
        if said is not None:
            self.say(id, said, final=True)
            return False
        if id in self._open and self._keep:
            return False
        self._open[id] = None
        return True

    def _tick_later(self) -> None:
        self._stop_timer()
        if self._keep:
            self._timer = self._clock.callLater(self._terms.ack_wait / 2, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._outbox is not None:
            for id in self._here:
                self._outbox.put(events_pb2.AckRequest(id=id, working=True))
            self._tick_later()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
