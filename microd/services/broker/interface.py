"""What others may ask of the broker, and what it asks of those who listen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from microd.kernel.caller import Account
from microd.services.broker.model import Limits, Message


class Receiver(Protocol):
    """Who listens, whatever protocol it speaks.

    @ivar waiting: what it was given and has not passed on; a queue prefers who has little.
    @ivar subjects_only: it can be told of NATS subjects only, and gets no messages of other topics.
    """

    subjects_only: bool

    @property
    def waiting(self) -> int:
        """See above."""

    def deliver(self, topic: str, message: Message) -> None:
        """A message has come. Must not wait, raise, or keep more than a bounded number."""


class ISubscription(Protocol):
    """The messages of a topic from the moment it was asked for, in the order of each publisher.

    Messages that wait are bounded; what becomes of the rest is a setting: the oldest of them go, or the new one, or
    iteration raises L{microd.kernel.errors.Unavailable}.

    @ivar dropped: how many were lost because they were not read in time.
    """

    dropped: int

    def __aiter__(self) -> ISubscription:
        """The subscription itself."""

    async def __anext__(self) -> Message:
        """Wait for the next message."""

    def close(self) -> None:
        """Get no more; iteration ends. May be called twice."""


class IBroker(Protocol):
    """Hands messages to whoever is subscribed to their topic at that moment. Nothing is kept, nothing is sent again.

    Topics are literal, and those of one namespace have nothing to do with another's.
    """

    @property
    def limits(self) -> Limits:
        """What those check who take messages from outside (L{microd.services.broker.rules.require_size})."""

    def publish(self, namespace: str, topic: str, message: Message) -> int:
        """Hand out a message. Waits for nothing: who reads slowly costs nobody else anything.

        @return: how many got it.
        @raise BadRequest: the topic can be none.
        """

    def interested(self, namespace: str, topic: str) -> bool:
        """Whether anybody would get a message; else it need not be made."""

    def subscribe(
        self,
        namespace: str,
        topic: str,
        queue: str = "",
        *,
        reader: Account | None = None,
        peer: str = "",
        connection: Hashable = None,
    ) -> ISubscription:
        """Listen to a topic.

        @param queue: of all who name the same one, one gets each message.
        @param reader: who it is; the subscription ends with the account. None: the platform itself.
        @param peer: where it is, for the log.
        @param connection: what to count by; None: it is not counted.
        @raise BadRequest: topic or queue can be none.
        @raise Unavailable: there are too many subscriptions.
        """

    def attach(
        self, namespace: str, topic: str, queue: str, receiver: Receiver, connection: Hashable = None
    ) -> Callable[[], None]:
        """The same for who does its own waiting: another protocol.

        @return: ends it; may be called twice.
        """

    def revoked(self, namespace: str, id: str) -> None:
        """End the subscriptions of an account, whose tokens are void."""
