"""Events on the wire: spec micro-v3-server 6.6 and Appendix A; what concerns groups is in L{microd.services.events.rpc_groups}.

A topic belongs to the namespace of the account that asks. The platform's admins may choose one with C{Micro-Namespace}.
"""

from __future__ import annotations

from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Unauthorized, Unimplemented
from microd.services.events.interface import IEvents
from microd.services.events.model import Delivery, Draft, Event, Retention, TopicFacts
from microd.wire import events_pb2 as pb

#: How many a page has unless it is said.
PAGE = 250
#: How many topics a page has at most.
TOPICS = 1000
#: What a Go client sends for a time that it does not have, in Unix seconds (spec 6.6).
NO_TIME = -62135596800


def endpoints(events: IEvents) -> list[Endpoint]:
    """What events answer, but for what concerns groups."""
    wire = EventsWire(events)
    return [
        Endpoint("/events.Stream/Publish", pb.PublishRequest, pb.PublishResponse, wire.publish),
        Endpoint(
            "/events.Stream/PublishMany", pb.PublishManyRequest, pb.PublishManyResponse, wire.publish_many
        ),
        Endpoint("/events.Store/Read", pb.ReadRequest, pb.ReadResponse, wire.read),
        Endpoint("/events.Store/Write", pb.WriteRequest, pb.WriteResponse, wire.write),
        Endpoint("/events.Topics/List", pb.TopicsRequest, pb.TopicsResponse, wire.topics),
        Endpoint("/events.Topics/Configure", pb.ConfigureRequest, pb.Topic, wire.configure),
        Endpoint("/events.Topics/Delete", pb.TopicRequest, pb.Done, wire.delete_topic),
    ]


class EventsWire:
    """Turns messages into questions to events, and their answers into messages."""

    def __init__(self, events: IEvents) -> None:
        self._events = events

    async def publish(self, request: pb.PublishRequest, caller: Caller) -> pb.PublishResponse:
        namespace = namespace_of(caller)
        seconds = request.timestamp
        id, offset = await self._events.begin_publish(
            namespace,
            request.topic,
            request.metadata,
            request.payload,
            _milliseconds(seconds) if seconds else 0,
        )
        return pb.PublishResponse(id=id, offset=offset)

    async def publish_many(self, request: pb.PublishManyRequest, caller: Caller) -> pb.PublishManyResponse:
        namespace = namespace_of(caller)
        drafts = [Draft(each.payload, each.metadata, _stamp(each)) for each in request.events]
        events = await self._events.publish(namespace, request.topic, drafts)
        return pb.PublishManyResponse(first=events[0].offset, last=events[-1].offset)

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        namespace = namespace_of(caller)
        if not request.topic:
            raise BadRequest("Missing topic")
        events, has_more = await self._events.read(
            namespace,
            request.topic,
            after=request.after,
            skip=request.offset,
            since=request.start_time,
            newest=request.newest,
            limit=min(request.limit or PAGE, self._events.limits.page),
        )
        reply = pb.ReadResponse(next=events[-1].offset if has_more else 0)
        for event in events:
            fill(reply.events.add(), event)
        return reply

    async def write(self, request: pb.WriteRequest, caller: Caller) -> pb.WriteResponse:
        namespace_of(caller)
        raise Unimplemented("Writing to the store directly is not supported")

    async def topics(self, request: pb.TopicsRequest, caller: Caller) -> pb.TopicsResponse:
        namespace = namespace_of(caller)
        if request.limit < 0:
            raise BadRequest("limit is to be 0 or more")
        limit = min(request.limit or PAGE, TOPICS)
        found, next = await self._events.topics(namespace, after=request.after, limit=limit)
        return pb.TopicsResponse(topics=map(topic_message, found), next=next)

    async def configure(self, request: pb.ConfigureRequest, caller: Caller) -> pb.Topic:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        retention = Retention(request.max_age, request.max_size)
        return topic_message(await self._events.configure(namespace, request.topic, retention))

    async def delete_topic(self, request: pb.TopicRequest, caller: Caller) -> pb.Done:
        namespace = namespace_of(caller)
        require_admin(caller, namespace)
        await self._events.delete_topic(namespace, request.topic)
        return pb.Done(count=1)


def account_of(caller: Caller) -> Account:
    """Who asks.

    @raise Unauthorized: nobody said.
    """
    if caller.account is None:
        raise Unauthorized("an account is required")
    return caller.account


def namespace_of(caller: Caller) -> str:
    """Whose topics the caller means.

    @raise Unauthorized: nobody said who they are.
    """
    account = account_of(caller)
    if account.issuer == DEFAULT_NAMESPACE and account.is_admin:
        return caller.namespace
    return account.issuer


def fill(message: pb.Event, event: Event) -> None:
    """Write an event into a message."""
    message.id = event.id
    message.topic = event.topic
    message.payload = event.payload
    message.timestamp = event.timestamp // 1000
    message.timestamp_ms = event.timestamp
    message.offset = event.offset
    if event.metadata:
        message.metadata.update(event.metadata)


def event_message(delivery: Delivery) -> pb.Event:
    """An event as a consumer gets it."""
    message = pb.Event(attempt=delivery.attempt, redelivered=delivery.redelivered)
    fill(message, delivery.event)
    return message


def topic_message(facts: TopicFacts) -> pb.Topic:
    """What there is to say about a topic."""
    return pb.Topic(
        name=facts.name,
        first=facts.first,
        last=facts.last,
        size=facts.size,
        created=facts.created,
        max_age=facts.retention.age,
        max_size=facts.retention.size,
        groups=facts.groups,
    )


def _milliseconds(seconds: int) -> int:
    return 0 if seconds == NO_TIME else 1000 * seconds


def _stamp(message: pb.Event) -> int:
    return message.timestamp_ms or _milliseconds(message.timestamp)
