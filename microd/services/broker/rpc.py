"""The broker on the wire: spec 6.5 and Appendix A."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint as Rpc
from microd.kernel.errors import BadRequest, Unauthorized
from microd.services.broker import rules
from microd.services.broker.interface import IBroker
from microd.services.broker.model import Message
from microd.services.broker.subjects import is_pattern, is_subject
from microd.wire import broker_pb2 as pb

_EMPTY = pb.Empty().SerializeToString()

#: Where a message was published, which only its publisher says otherwise; clients in Go always do (spec 6.5).
TOPIC = "Micro-Topic"


def endpoints(broker: IBroker) -> list[Rpc]:
    """What the broker answers."""
    wire = BrokerWire(broker)
    path = "/broker.Broker/"
    return [
        Rpc(path + "Publish", pb.PublishRequest, pb.Empty, wire.publish, at_once=wire.publish_at_once),
        Rpc(
            path + "Subscribe",
            pb.SubscribeRequest,
            pb.Message,
            wire.subscribe,
            server_streaming=True,
            endless=True,
        ),
    ]


class BrokerWire:
    """Turns messages into questions to the broker, and its answers into messages."""

    def __init__(self, broker: IBroker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def publish(self, request: pb.PublishRequest, caller: Caller) -> pb.Empty:
        """Send a message to all who are subscribed to its topic."""
        self.publish_at_once(request, caller)
        return pb.Empty()

    def publish_at_once(self, request: pb.PublishRequest, caller: Caller) -> bytes:
        account = _account(caller)
        if not request.HasField("message"):
            raise BadRequest("Missing message")
        said = request.message
        # What the publisher wrote is measured by itself: the headers of its request have a limit of their own.
        rules.require_size(said.header, said.body, self._limits)
        header = rules.header_from(said.header, caller.metadata)
        self._broker.publish(account.issuer, request.topic, Message(header, said.body))
        return _EMPTY

    async def subscribe(self, request: pb.SubscribeRequest, caller: Caller) -> AsyncIterator[pb.Message]:
        """Read the messages of a topic as they come."""
        account = _account(caller)
        subscription = self._broker.subscribe(
            account.issuer,
            request.topic,
            request.queue,
            reader=account,
            peer=caller.peer,
            connection=caller.peer if caller.connection is None else caller.connection,
        )
        written = request.topic.encode()
        is_wild = is_pattern(written) and not is_subject(written)
        try:
            async for message in subscription:
                if is_wild and TOPIC not in message.header:
                    yield pb.Message(header={**_header(message), TOPIC: message.topic}, body=message.body)
                    continue
                shown = message.shown
                if not isinstance(shown, pb.Message):
                    shown = message.shown = pb.Message(header=_header(message), body=message.body)
                yield shown
        finally:
            subscription.close()


def _header(message: Message) -> Mapping[str, str]:
    """The headers, and as one of them where an answer goes to."""
    return {**message.header, "Reply-To": message.reply} if message.reply else message.header


def _account(caller: Caller) -> Account:
    if caller.account is None:
        raise Unauthorized("access denied to namespace")
    return caller.account
