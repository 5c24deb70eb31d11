"""Groups and their consumers on the wire: spec micro-v3-server 6.6 and 8, and what microd adds.

Half-closing ends a consumer, as in the reference, but for those who cannot do otherwise: a client which calls C{Consume} as if only the answer
were a stream half-closes along with its one message. It is known by that, and goes on to get events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from microd.kernel.access import require_admin
from microd.kernel.caller import Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest
from microd.services.events.groups.rules import check_ack
from microd.services.events.interface import IConsumer, IEvents
from microd.services.events.model import Ack, DeadLetter, GroupFacts, Position, Start, Terms, Verdict
from microd.services.events.rpc import PAGE, account_of, event_message, fill, namespace_of
from microd.wire import events_pb2 as pb

#: Seconds within which a client half-closes that sends one message and no more.
AT_ONCE = 0.25

_STARTS = {
    pb.EARLIEST: Start.EARLIEST,
    pb.LATEST: Start.LATEST,
    pb.OFFSET: Start.OFFSET,
    pb.TIME: Start.TIME,
}


def endpoints(events: IEvents, clock: IReactorTime) -> list[Endpoint]:
    """What events answer that concerns groups."""
    wire = GroupsWire(events, clock)
    return [
        Endpoint(
            "/events.Stream/Consume",
            pb.ConsumeRequest,
            pb.Event,
            wire.consume,
            client_streaming=True,
            server_streaming=True,
            endless=True,
            later=pb.AckRequest,
        ),
        Endpoint("/events.Stream/Ack", pb.AckManyRequest, pb.AckManyResponse, wire.ack),
        Endpoint("/events.Topics/Lag", pb.LagRequest, pb.LagResponse, wire.lag),
        Endpoint("/events.Groups/Seek", pb.SeekRequest, pb.Group, wire.seek),
        Endpoint("/events.Groups/Delete", pb.GroupRequest, pb.Done, wire.delete_group),
        Endpoint(
            "/events.DeadLetters/List", pb.DeadLettersRequest, pb.DeadLettersResponse, wire.dead_letters
        ),
        Endpoint("/events.DeadLetters/Retry", pb.DeadLettersRequest, pb.Done, wire.retry),
        Endpoint("/events.DeadLetters/Drop", pb.DeadLettersRequest, pb.Done, wire.drop),
    ]


class GroupsWire:
    """Turns messages into questions to events, and their answers into messages."""

    def __init__(self, events: IEvents, clock: IReactorTime) -> None:
        self._events = events
        self._clock = clock

    async def consume(self, requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[pb.Event]:
        """The events of a topic, as they come."""
        account, namespace = account_of(caller), namespace_of(caller)
        first = await anext(requests, None)
        if first is None or not first.topic:
            raise BadRequest("Missing topic")
        terms = terms_from(first)
        words = _Words(requests, terms.auto_ack, self._clock)
        hearing = Deferred.fromCoroutine(words.hear())
        try:
            consumer = await self._events.consume(
                namespace,
                first.topic,
                terms,
                reader=account,
                connection=caller.peer if caller.connection is None else caller.connection,
            )
            words.attend(consumer)
            try:
                async for delivery in consumer:
                    yield event_message(delivery)
                    del delivery
            finally:
                consumer.close()
            words.require_well()
        finally:
            hearing.cancel()

    async def ack(self, request: pb.AckManyRequest, caller: Caller) -> pb.AckManyResponse:
        namespace = namespace_of(caller)
        acks = [ack_from(each) for each in request.acks]
        count = await self._events.ack(namespace, _topic(request.topic), request.group, acks)
        return pb.AckManyResponse(count=count)

    async def lag(self, request: pb.LagRequest, caller: Caller) -> pb.LagResponse:
        found = await self._events.lag(namespace_of(caller), request.topic)
        return pb.LagResponse(groups=map(_group_message, found))

    async def seek(self, request: pb.SeekRequest, caller: Caller) -> pb.Group:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        if not request.start:
            raise BadRequest("start is to be EARLIEST, LATEST, OFFSET or TIME")
        position = _position(request.start, request.start_offset, request.start_time)
        return _group_message(
            await self._events.seek(namespace, _topic(request.topic), request.group, position)
        )

    async def delete_group(self, request: pb.GroupRequest, caller: Caller) -> pb.Done:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        await self._events.delete_group(namespace, _topic(request.topic), request.group)
        return pb.Done(count=1)

    async def dead_letters(self, request: pb.DeadLettersRequest, caller: Caller) -> pb.DeadLettersResponse:
        namespace = namespace_of(caller)
        if request.ids:
            raise BadRequest("ids are for Retry and Drop only")
        if request.limit < 0:
            raise BadRequest("limit is to be 0 or more")
        letters, next = await self._events.dead_letters(
            namespace,
            _topic(request.topic),
            group=request.group,
            after=request.after,
            limit=min(request.limit or PAGE, self._events.limits.page),
        )
        return pb.DeadLettersResponse(letters=map(_letter_message, letters), next=next)

    async def retry(self, request: pb.DeadLettersRequest, caller: Caller) -> pb.Done:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        topic = _topic(request.topic)
        return pb.Done(
            count=await self._events.retry(namespace, topic, group=request.group, ids=list(request.ids))
        )

    async def drop(self, request: pb.DeadLettersRequest, caller: Caller) -> pb.Done:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        topic = _topic(request.topic)
        return pb.Done(
            count=await self._events.drop(namespace, topic, group=request.group, ids=list(request.ids))
        )


class _Words:
    """What a client says after its first message; its consumer ends with it."""

    __slots__ = ("_auto_ack", "_began", "_clock", "_consumer", "_error", "_is_over", "_requests")

    def __init__(self, requests: AsyncIterator[Any], auto_ack: bool, clock: IReactorTime) -> None:
        self._requests = requests
        self._auto_ack = auto_ack
        self._clock = clock
        self._began = clock.seconds()
        self._consumer: IConsumer | None = None
        self._error: Exception | None = None
        self._is_over = False

    async def hear(self) -> None:
        """Pass on what is said, until the client half-closes."""
        is_silent = True
        try:
            async for message in self._requests:
                is_silent = False
                consumer = self._consumer
                # Before there is a consumer no event was sent that this could be about.
                if consumer is not None and not self._auto_ack:
                    consumer.ack(ack_from(message))
        except CancelledError:
            return
        except Exception as problem:  # noqa: BLE001 - the call ends with it, where it is looked at
            self._error = problem
        else:
            if is_silent and self._clock.seconds() - self._began <= AT_ONCE:
                if self._auto_ack:
                    return
                self._error = BadRequest(
                    "the stream was half-closed, so that nothing can be acknowledged on it: keep it open, and acknowledge "
                    "on it or with Ack; or set auto_ack"
                )
        self._is_over = True
        if self._consumer is not None:
            self._consumer.finish()

    def attend(self, consumer: IConsumer) -> None:
        """This is whom it is said to."""
        self._consumer = consumer
        if self._is_over:
            consumer.finish()

    def require_well(self) -> None:
        """@raise MicroError: the client said something that cannot be meant."""
        if self._error is not None:
            raise self._error


def terms_from(message: pb.ConsumeRequest) -> Terms:
    """On which terms a client wants to consume.

    @raise BadRequest: it cannot be meant; the texts are those of the reference where it has any (it calls them 500).
    """
    if not message.auto_ack and message.ack_wait <= 0:
        raise BadRequest("invalid AckWait passed, should be positive integer")
    if message.start:
        start = _position(message.start, message.start_offset, message.start_time)
    elif message.offset > 0:
        start = Position(Start.TIME, 1000 * message.offset)
    else:
        start = Position(Start.LATEST)
    plain = Terms()
    return Terms(
        group=message.group,
        start=start,
        auto_ack=message.auto_ack,
        ack_wait=plain.ack_wait if message.auto_ack else message.ack_wait / 1e9,
        # Nobody says there that an event has failed.
        retry_limit=-1 if message.auto_ack else message.retry_limit,
        max_in_flight=message.max_in_flight or plain.max_in_flight,
        backoff=message.backoff / 1000 if message.backoff else plain.backoff,
        backoff_max=message.backoff_max / 1000 if message.backoff_max else plain.backoff_max,
        count=message.count,
    )


def ack_from(message: pb.AckRequest) -> Ack:
    """What a client says about an event.

    @raise BadRequest: several things at once, or a delay that is out of range.
    """
    if message.success + message.drop + message.untried + message.working > 1:
        raise BadRequest("of success, drop, untried and working one may be set")
    if message.success:
        return Ack(message.id, Verdict.DONE)
    if message.drop:
        return Ack(message.id, Verdict.DROP, message.error)
    if message.working:
        return Ack(message.id, Verdict.WORKING)
    if message.untried:
        return Ack(message.id, Verdict.UNTRIED)
    ack = Ack(message.id, Verdict.AGAIN, message.error, message.delay / 1000 if message.delay else None)
    check_ack(ack)
    return ack


def _topic(topic: str) -> str:
    if not topic:
        raise BadRequest("Missing topic")
    return topic


def _position(start: int, offset: int, time: int) -> Position:
    kind = _STARTS.get(start)  # type: ignore[call-overload]
    if kind is None:
        raise BadRequest(f"start is to be EARLIEST, LATEST, OFFSET or TIME, and is {start}")
    return Position(kind, {Start.OFFSET: offset, Start.TIME: time}.get(kind, 0))


def _group_message(facts: GroupFacts) -> pb.Group:
    return pb.Group(
        topic=facts.topic,
        name=facts.name,
        consumers=facts.consumers,
        acknowledged=facts.acknowledged,
        delivered=facts.delivered,
        lag=facts.lag,
        in_flight=facts.in_flight,
        waiting=facts.waiting,
        oldest=int(facts.oldest * 1000),
        missed=facts.missed,
        redelivered=facts.redelivered,
        dead=facts.dead,
    )


def _letter_message(letter: DeadLetter) -> pb.DeadLetter:
    message = pb.DeadLetter(
        group=letter.group,
        id=letter.id,
        offset=letter.offset,
        attempts=letter.attempts,
        error=letter.error,
    )
    fill(message.event, letter.event)
    return message
