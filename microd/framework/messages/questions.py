"""What can be asked of the broker and of events, whoever asks: coroutines, threads or scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from microd.framework.failures import CLIENT
from microd.framework.messages.model import Event, Message, Stored
from microd.framework.messages.payloads import BYTES, JSON, TEXT, Payload, encoded
from microd.framework.messages.terms import Moment, milliseconds
from microd.framework.questions import Ask
from microd.kernel import trace
from microd.kernel.errors import BadRequest
from microd.kernel.trace import Trace
from microd.wire import broker_pb2, events_pb2

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"
_STREAM, _STORE = "/events.Stream/", "/events.Store/"
CONSUME = _STREAM + "Consume"

Headers = Mapping[str, str]
#: The trace that a message belongs to; and whether the question must say it, as nothing else would.
Belongs = Callable[[], tuple[Trace | None, bool]]

#: What an event's payload is without saying so, as it can be seen.
_PLAIN = (BYTES, TEXT, JSON)
#: How many events a page has.
PAGE = 250


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be published along with others.

    @ivar timestamp: when it happened; C{None}: now.
    """

    value: object
    metadata: Headers = field(default_factory=dict)
    timestamp: Moment | None = None


class Page(NamedTuple):
    """Some of the events that are kept.

    @ivar next: more come behind this offset; 0: there are no more now.
    """

    events: Sequence[Event]
    next: int


class Questions:
    """Makes the questions.

    @param belongs: says which trace a message belongs to.
    """

    def __init__(self, belongs: Belongs) -> None:
        self._belongs = belongs

    def publish(self, topic: str, message: object, headers: Headers | None) -> Ask[None]:
        """To whoever listens now."""
        payload = encoded(message, proto=True)
        own, alone = self._belongs()
        _text(topic)
        # In this order: what the author says wins.
        said = {"Content-Type": payload.content_type, "Micro-Topic": topic, **_traced(own), **_texts(headers)}
        request = broker_pb2.PublishRequest(
            topic=topic, message=broker_pb2.Message(header=said, body=payload.data)
        )
        return Ask(PUBLISH, request, broker_pb2.Empty, _nothing, metadata=_beside(own, alone))

    def event(self, topic: str, event: object, metadata: Headers | None, at: Moment | None) -> Ask[Stored]:
        """To be kept."""
        own, alone = self._belongs()
        payload = encoded(event, proto=False)
        request = events_pb2.PublishRequest(
            topic=_text(topic),
            payload=payload.data,
            metadata=_metadata(payload, own, metadata),
            timestamp=0 if at is None else milliseconds(at) // 1000,
        )
        return Ask(
            _STREAM + "Publish", request, events_pb2.PublishResponse, _stored, metadata=_beside(own, alone)
        )

    def events(self, topic: str, drafts: Iterable[object]) -> Ask[Sequence[int]]:
        """The same for several, all or none; the answer has their offsets."""
        own, alone = self._belongs()
        request = events_pb2.PublishManyRequest(topic=_text(topic))
        for each in drafts:
            draft = each if isinstance(each, Draft) else Draft(each)
            payload = encoded(draft.value, proto=False)
            at = 0 if draft.timestamp is None else milliseconds(draft.timestamp)
            request.events.add(
                payload=payload.data,
                metadata=_metadata(payload, own, draft.metadata),
                timestamp=at // 1000,
                timestamp_ms=at,
            )
        if not request.events:
            raise BadRequest("there are no events to publish", CLIENT)
        return Ask(
            _STREAM + "PublishMany",
            request,
            events_pb2.PublishManyResponse,
            _offsets,
            metadata=_beside(own, alone),
        )

    def page(self, topic: str, after: int, since: Moment | None, limit: int, newest: bool) -> Ask[Page]:
        """Some of the events which are kept."""
        if after < 0 or limit < 0:
            raise BadRequest("an offset and a limit are 0 or more", CLIENT)
        request = events_pb2.ReadRequest(
            topic=_text(topic),
            after=after,
            limit=limit,
            start_time=0 if since is None else milliseconds(since),
            newest=newest,
        )
        return Ask(_STORE + "Read", request, events_pb2.ReadResponse, _page)

    def ack(self, topic: str, group: str, acks: Iterable[events_pb2.AckRequest]) -> Ask[int]:
        """Say what became of events, beside any stream; how many were waited for."""
        request = events_pb2.AckManyRequest(topic=topic, group=group, acks=acks)
        return Ask(_STREAM + "Ack", request, events_pb2.AckManyResponse, _count)


def message_from(topic: str, found: broker_pb2.Message) -> Message:
    """A message of the broker; where the subscription is to many topics, a header says which it is of."""
    headers = dict(found.header)
    if is_pattern(topic):
        topic = headers.get("Micro-Topic") or topic
    return Message(topic, found.body, headers)


def is_pattern(topic: str) -> bool:
    """Whether a subscription is to many topics: C{*} stands for one word between dots, C{>} at the end for one or more."""
    words = topic.split(".")
    return "*" in words or words[-1] == ">"


def received(found: events_pb2.Event) -> Message:
    """An event, as a consumer gets it."""
    return Message(
        found.topic,
        found.payload,
        dict(found.metadata),
        found.id,
        found.offset,
        (found.timestamp_ms or found.timestamp * 1000) / 1000,
        max(1, found.attempt),
        found.redelivered,
    )


def event_from(found: events_pb2.Event) -> Event:
    """An event, as it is kept."""
    at = (found.timestamp_ms or found.timestamp * 1000) / 1000
    return Event(found.topic, found.id, found.offset, at, dict(found.metadata), found.payload)


def _metadata(payload: Payload, own: Trace | None, given: Headers | None) -> dict[str, str]:
    said = {**_traced(own), **_texts(given)}
    if payload.content_type not in _PLAIN:
        said.setdefault("Content-Type", payload.content_type)
    return said


def _traced(own: Trace | None) -> dict[str, str]:
    if own is None:
        return {}
    made = {"Traceparent": trace.traceparent(own)}
    if own.state:
        made["Tracestate"] = own.state
    return made


def _beside(own: Trace | None, alone: bool) -> dict[str, str] | None:
    return dict(trace.headers(own)) if own is not None and alone else None


def _texts(given: Headers | None) -> dict[str, str]:
    said = dict(given or {})
    for name, value in said.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise BadRequest(f"headers and metadata are text: {name!r} is {type(value).__name__}", CLIENT)
        _text(name)
        _text(value)
    return said


def _text(said: str) -> str:
    """Let a text pass that can travel."""
    if not isinstance(said, str):
        raise BadRequest(f"a topic is text, not {type(said).__name__}", CLIENT)
    try:
        said.encode()
    except UnicodeEncodeError as problem:
        raise BadRequest(f"{said!r} is no Unicode text: {problem.reason}", CLIENT) from None
    return said


def _nothing(_: Sequence[Any]) -> None:
    return None


def _stored(replies: Sequence[events_pb2.PublishResponse]) -> Stored:
    return Stored(replies[0].id, replies[0].offset)


def _offsets(replies: Sequence[events_pb2.PublishManyResponse]) -> Sequence[int]:
    return range(replies[0].first, replies[0].last + 1)


def _page(replies: Sequence[events_pb2.ReadResponse]) -> Page:
    return Page([event_from(each) for each in replies[0].events], replies[0].next)


def _count(replies: Sequence[events_pb2.AckManyResponse]) -> int:
    return replies[0].count
