"""Our blocking client behind the cases' words."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from microd.testing.interop.client import CallOptions, Ending, Pairs, Rpc
from microd.txgrpc.blocking import BlockingCall, BlockingChannel
from microd.txgrpc.status import RpcError

PATIENCE = 20.0


def ending_of(call: BlockingCall, reply: Message | None = None) -> Ending:
    """How a call ended; what it still had to say is read."""
    initial: Pairs = ()
    try:
        initial = tuple(call.initial_metadata())
        return Ending(0, "", reply, initial, tuple(call.trailing_metadata()))
    except RpcError as error:
        return Ending(int(error.code), error.message, reply, initial, tuple(error.trailing_metadata))


class BlockingConversation:
    """A streaming call of the blocking client."""

    def __init__(self, call: BlockingCall, rpc: Rpc) -> None:
        self._call = call
        self._single = rpc.kind == "stream_unary"

    async def send(self, message: Message, *, compress: bool = False) -> None:
        """Write."""
        self._call.compress = compress
        self._call.write(message)

    async def close_sending(self) -> None:
        """Half-close."""
        self._call.done_writing()

    async def receive(self) -> Message | None:
        """The next reply."""
        try:
            reply: Message | None = next(self._call, None)
        except RpcError:
            return None
        return reply

    def cancel(self) -> None:
        """Cancel."""
        self._call.cancel()

    async def ending(self) -> Ending:
        """Wait for the end."""
        reply = await self.receive() if self._single else None
        return ending_of(self._call, reply)


class BlockingPlayer:
    """L{BlockingChannel} as the cases use it."""

    picks_compression = True

    def __init__(self, channel: BlockingChannel, metadata: Pairs = ()) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)

    async def call(self, rpc: Rpc, request: Message, options: CallOptions) -> Ending:
        """Make a unary call; one that carries metadata as a stream of one reply, to see what comes back."""
        keywords = self._keywords(options)
        codec = (rpc.request.SerializeToString, rpc.reply.FromString)
        if options.metadata:
            call = self._channel.unary_stream(rpc.path, *codec)(request, **keywords)
            replies = list(call)
            return ending_of(call, replies[0] if len(replies) == 1 else None)
        try:
            return Ending(0, "", self._channel.unary_unary(rpc.path, *codec)(request, **keywords))
        except RpcError as error:
            return Ending(int(error.code), error.message, None, (), tuple(error.trailing_metadata))

    def begin(self, rpc: Rpc, options: CallOptions, request: Message | None = None) -> BlockingConversation:
        """Begin a streaming call."""
        codec = (rpc.request.SerializeToString, rpc.reply.FromString)
        if request is not None:
            call = self._channel.unary_stream(rpc.path, *codec)(request, **self._keywords(options))
        else:
            call = self._channel.stream_stream(rpc.path, *codec)(**self._keywords(options))
        return BlockingConversation(call, rpc)

    def _keywords(self, options: CallOptions) -> dict[str, Any]:
        return {
            "timeout": options.timeout or PATIENCE,
            "metadata": (*self._metadata, *options.metadata),
            "compress": options.compress,
        }
