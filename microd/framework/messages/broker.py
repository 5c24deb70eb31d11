"""The broker: messages to whoever listens now. Nothing is kept, and nothing comes again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from microd.framework.bridge import Bridge
from microd.framework.config.closing import close
from microd.framework.messages.consuming import Caller
from microd.framework.messages.model import Message
from microd.framework.messages.questions import SUBSCRIBE, Belongs, Headers, Questions, message_from
from microd.framework.messages.reopening import Reopening
from microd.framework.outgoing import CORE
from microd.wire import broker_pb2


class Broker:
    """The broker, for handlers and other coroutines. Topics belong to the namespace of the account that asks.

    @ivar questions: makes the questions; C{ask} puts them.
    """

    def __init__(self, caller: Caller, bridge: Bridge, clock: IReactorTime, belongs: Belongs) -> None:
        self._caller = caller
        self._bridge = bridge
        self._clock = clock
        self.questions = Questions(belongs)

    def publish(self, topic: str, message: object, *, headers: Headers | None = None) -> Awaitable[None]:
        """Send a message to all who are subscribed to a topic now.

        @param message: a dataclass or a C{dict} (as JSON), a protobuf message, text or bytes.
        @param headers: what goes along with it.
        @raise TooLarge: it is larger than the daemon takes (C{max_message} in C{[broker]} of its settings).
        """
        return self._bridge.theirs(self._caller.ask_store(self.questions.publish(topic, message, headers)))

    def subscribe(self, topic: str, *, queue: str = "") -> AsyncIterator[Message]:
        """Iterate over the messages of a topic as they come, for ever: a daemon which restarts is waited for.

        What is published while nobody is connected is lost; so are the oldest of those which are read too slowly. Leaving the loop ends
        the subscription.

        @param topic: it may have wildcards: C{*} for one word between dots, and C{>} at the end for one or more.
        @param queue: of all who subscribe with the same one, one gets each message.
        @raise MicroError: the broker refuses.
        """
        return self._bridge.their_stream(self.messages(topic, queue, insistent=False))

    async def messages(self, topic: str, queue: str, *, insistent: bool) -> AsyncGenerator[Message, None]:
        """What L{subscribe} does, as a generator of ours.

        @param insistent: wait for the broker even if it refuses.
        """
        what = f"the subscription to {topic}" + (f" in {queue}" if queue else "")
        request = broker_pb2.SubscribeRequest(topic=topic, queue=queue)

        def opened() -> AsyncGenerator[Any, None]:
            return self._caller.answers("", SUBSCRIBE, request, broker_pb2.Message, None, None, CORE)

        found = Reopening(self._caller, self._clock, what, insistent=insistent).items(opened)
        try:
            async for each in found:
                yield message_from(topic, each)
        finally:
            await close(found)
