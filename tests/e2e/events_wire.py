"""Events as any gRPC client gets at them, with nothing in between; and the NATS door."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import grpc

from microd.testing.nats_client import RawNats
from microd.testing.platform import LIMIT, Platform
from microd.wire import auth_pb2
from microd.wire import events_pb2 as pb


class EventsWire:
    """Connections to the running daemon, as any client has them."""

    def __init__(self, platform: Platform, token: str = "") -> None:
        self._channel = grpc.insecure_channel(platform.door("proxy"))
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._nats = (platform, token)

    def call(self, path: str, request: Any, reply: Any) -> Any:
        """Ask, and wait for the answer."""
        method = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        return method(request, metadata=self._metadata, timeout=LIMIT)

    def consume(self, requests: Iterator[Any]) -> Any:
        """The stream of a consumer."""
        method = self._channel.stream_stream(
            "/events.Stream/Consume",
            request_serializer=lambda each: each.SerializeToString(),
            response_deserializer=pb.Event.FromString,
        )
        return method(requests, metadata=self._metadata)

    def nats(self) -> RawNats:
        """A connection which is logged in."""
        platform, token = self._nats
        nats = RawNats(platform.door("nats"))
        try:
            return nats.login(auth_token=token)
        except BaseException:
            nats.close()
            raise

    def publish(self, topic: str, payload: bytes, **more: Any) -> int:
        """Store one event; its offset."""
        request = pb.PublishRequest(topic=topic, payload=payload, **more)
        return int(self.call("/events.Stream/Publish", request, pb.PublishResponse).offset)

    def publish_many(self, topic: str, payloads: Iterable[bytes]) -> range:
        """Store several; their offsets."""
        request = pb.PublishManyRequest(topic=topic, events=[pb.Event(payload=each) for each in payloads])
        answer = self.call("/events.Stream/PublishMany", request, pb.PublishManyResponse)
        return range(answer.first, answer.last + 1)

    def ack(self, topic: str, group: str, ids: Iterable[str]) -> int:
        """Acknowledge durably; how many of them were waited for."""
        acks = [pb.AckRequest(id=id, success=True) for id in ids]
        request = pb.AckManyRequest(topic=topic, group=group, acks=acks)
        return int(self.call("/events.Stream/Ack", request, pb.AckManyResponse).count)

    def configure(self, topic: str, **retention: int) -> None:
        """Have a topic keep so much."""
        request = pb.ConfigureRequest(topic=topic, **retention)
        self.call("/events.Topics/Configure", request, pb.Topic)

    def delete(self, topic: str) -> None:
        """Delete a topic."""
        self.call("/events.Topics/Delete", pb.TopicRequest(topic=topic), pb.Done)

    def events(self, topic: str, after: int = 0) -> Iterator[Any]:
        """The events of a topic, page by page."""
        while True:
            request = pb.ReadRequest(topic=topic, after=after, limit=5000)
            page = self.call("/events.Store/Read", request, pb.ReadResponse)
            yield from page.events
            if not page.next:
                return
            after = page.next

    def topics(self) -> Mapping[str, Any]:
        """What is said of each topic."""
        answer = self.call("/events.Topics/List", pb.TopicsRequest(), pb.TopicsResponse)
        return {topic.name: topic for topic in answer.topics}

    def groups(self) -> Mapping[tuple[str, str], Any]:
        """What is said of each group."""
        answer = self.call("/events.Topics/Lag", pb.LagRequest(), pb.LagResponse)
        return {(group.topic, group.name): group for group in answer.groups}

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def admin_token(platform: Platform) -> str:
    """A token that outlasts all daemons; they know it again, since their key is kept."""
    wire = EventsWire(platform)
    secret = (platform.data / "admin-secret").read_text().strip()
    request = auth_pb2.TokenRequest(id="admin", secret=secret, token_expiry=3600)
    answer = wire.call("/auth.Auth/Token", request, auth_pb2.TokenResponse)
    wire.close()
    token = answer.token.access_token
    assert isinstance(token, str)
    return token


def code_of(error: grpc.RpcError) -> int:
    """The code with which the daemon refused; 0: it was not the daemon that spoke."""
    try:
        return int(json.loads(error.details() or "{}").get("code", 0))
    except ValueError:
        return 0
