"""Our Twisted client behind the cases' words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message
from twisted.internet.defer import CancelledError, Deferred, DeferredQueue

from microd.testing.interop.client import CallOptions, Conversation, Ending, Pairs, Rpc
from microd.txgrpc import Channel, ClientCall, RpcError, StatusCode

PATIENCE = 20.0


def _failed(error: RpcError, initial: Pairs = ()) -> Ending:
    return Ending(int(error.code), error.message, None, initial, tuple(error.trailing_metadata))


async def ending_of(call: ClientCall, reply: Message | None = None) -> Ending:
    """How a call ended; what it still had to say is read."""
    initial: Pairs = ()
    try:
        initial = tuple(await call.initial_metadata())
        return Ending(0, "", reply, initial, tuple(await call.trailing_metadata()))
    except RpcError as error:
        return _failed(error, initial)
    except CancelledError:
        return Ending(StatusCode.CANCELLED)


class ChannelConversation:
    """A call that gives a stream of replies."""

    def __init__(self, call: ClientCall) -> None:
        self._call = call

    async def send(self, message: Message, *, compress: bool = False) -> None:
        """Write."""
        self._call.compress = compress
        await self._call.write(message)

    async def close_sending(self) -> None:
        """Half-close."""
        await self._call.done_writing()

    async def receive(self) -> Message | None:
        """The next reply."""
        try:
            reply: Message = await anext(self._call)
        except (RpcError, StopAsyncIteration):
            return None
        return reply

    def cancel(self) -> None:
        """Cancel."""
        self._call.cancel()

    async def ending(self) -> Ending:
        """Wait for the end."""
        return await ending_of(self._call)


class Upload:
    """A call that takes a stream and gives one reply; what is sent passes through a queue."""

    def __init__(self, channel: Channel, rpc: Rpc, keywords: dict[str, Any]) -> None:
        self._queue: DeferredQueue[Message | None] = DeferredQueue()
        method = channel.stream_unary(rpc.path, rpc.request.SerializeToString, rpc.reply.FromString)
        self._reply: Deferred[Message] = method(self._requests(), **keywords)

    async def _requests(self) -> AsyncIterator[Message]:
        while (message := await self._queue.get()) is not None:
            yield message

    async def send(self, message: Message, *, compress: bool = False) -> None:
        """Queue a message; this kind of call compresses all or none."""
        self._queue.put(message)

    async def close_sending(self) -> None:
        """End the requests."""
        self._queue.put(None)

    async def receive(self) -> Message | None:
        """There is no stream of replies."""
        return None

    def cancel(self) -> None:
        """Cancel."""
        self._reply.cancel()

    async def ending(self) -> Ending:
        """Wait for the reply."""
        try:
            return Ending(0, "", await self._reply)
        except RpcError as error:
            return _failed(error)
        except CancelledError:
            return Ending(StatusCode.CANCELLED)


class ChannelPlayer:
    """L{Channel} as the cases use it."""

    picks_compression = True

    def __init__(self, channel: Channel, metadata: Pairs = ()) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)

    async def call(self, rpc: Rpc, request: Message, options: CallOptions) -> Ending:
        """Make a unary call; one that carries metadata as a stream of one reply, to see what comes back."""
        keywords = self._keywords(options)
        codec = (rpc.request.SerializeToString, rpc.reply.FromString)
        if options.metadata:
            call = self._channel.unary_stream(rpc.path, *codec)(request, **keywords)
            replies = [reply async for reply in call]
            return await ending_of(call, replies[0] if len(replies) == 1 else None)
        try:
            return Ending(0, "", await self._channel.unary_unary(rpc.path, *codec)(request, **keywords))
        except RpcError as error:
            return _failed(error)

    def begin(self, rpc: Rpc, options: CallOptions, request: Message | None = None) -> Conversation:
        """Begin a streaming call."""
        codec = (rpc.request.SerializeToString, rpc.reply.FromString)
        keywords = self._keywords(options)
        if request is not None:
            return ChannelConversation(self._channel.unary_stream(rpc.path, *codec)(request, **keywords))
        if rpc.kind == "stream_unary" and not options.compress:
            return Upload(self._channel, rpc, keywords)
        return SingleReply(self._channel.stream_stream(rpc.path, *codec)(**keywords), rpc)

    def _keywords(self, options: CallOptions) -> dict[str, Any]:
        return {
            "timeout": options.timeout or PATIENCE,
            "metadata": (*self._metadata, *options.metadata),
            "compress": options.compress,
        }


class SingleReply(ChannelConversation):
    """A stream that may be known to have one reply, which belongs to its ending."""

    def __init__(self, call: ClientCall, rpc: Rpc) -> None:
        super().__init__(call)
        self._single = rpc.kind == "stream_unary"

    async def ending(self) -> Ending:
        """Wait for the end."""
        reply = await self.receive() if self._single else None
        return await ending_of(self._call, reply)
