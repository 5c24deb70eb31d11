"""Plays the interop cases with grpcio's blocking client; prints one JSON object of outcomes."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator

import grpc
from google.protobuf.message import Message

from microd.testing.interop.cases import play
from microd.testing.interop.client import CallOptions, Ending, Pairs, Rpc
from microd.testing.interop.playing import order_from, order_parser, run_at_once

PATIENCE = 20
# Told to be unlimited, since one case's replies come compressed and count when they are large again.
OPTIONS = [("grpc.max_receive_message_length", -1)]


def ending_of(call: grpc.Call, reply: Message | None = None) -> Ending:
    """How a finished call ended."""
    return Ending(
        code=call.code().value[0],
        message=call.details() or "",
        reply=reply,
        initial_metadata=tuple(call.initial_metadata() or ()),
        trailing_metadata=tuple(call.trailing_metadata() or ()),
    )


class GrpcioConversation:
    """A streaming call; requests pass through a queue to grpcio's own thread."""

    def __init__(self, client: GrpcioClient, rpc: Rpc, options: CallOptions, request: Message | None) -> None:
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._single = rpc.kind == "stream_unary"
        first = request if rpc.kind == "unary_stream" else self._feed()
        made = client.callable(rpc, options)
        arguments = client.arguments(options)
        self._call = made.future(first, **arguments) if self._single else made(first, **arguments)

    def _feed(self) -> Iterator[Message]:
        while (message := self._requests.get()) is not None:
            yield message

    async def send(self, message: Message, *, compress: bool = False) -> None:
        """Queue a message; grpcio's Python cannot choose the compression of one."""
        self._requests.put(message)

    async def close_sending(self) -> None:
        """End the requests."""
        self._requests.put(None)

    async def receive(self) -> Message | None:
        """The next reply."""
        try:
            reply: Message = next(self._call)
        except (StopIteration, grpc.RpcError, grpc.FutureCancelledError):
            return None
        return reply

    def cancel(self) -> None:
        """Cancel, and let the feeding thread go."""
        self._call.cancel()
        self._requests.put(None)

    async def ending(self) -> Ending:
        """Wait for the status."""
        reply = None
        if self._single:
            try:
                reply = self._call.result(PATIENCE)
            except (grpc.RpcError, grpc.FutureCancelledError):
                reply = None
        code = self._call.code()
        assert code is not None
        self._requests.put(None)
        return ending_of(self._call, reply)


class GrpcioClient:
    """grpcio behind the cases' words."""

    picks_compression = False

    def __init__(self, target: str, metadata: Pairs) -> None:
        self._plain = grpc.insecure_channel(target, OPTIONS)
        # A channel for those that compress, since future() forgets what a single call asks for.
        self._packed = grpc.insecure_channel(target, OPTIONS, compression=grpc.Compression.Gzip)
        self._metadata = tuple(metadata)

    def callable(self, rpc: Rpc, options: CallOptions) -> grpc.UnaryUnaryMultiCallable:
        """grpcio's callable for a method."""
        make = getattr(self._packed if options.compress else self._plain, rpc.kind)
        return make(rpc.path, rpc.request.SerializeToString, rpc.reply.FromString)

    def arguments(self, options: CallOptions) -> dict[str, object]:
        """grpcio's keywords for a call."""
        return {
            "metadata": (*self._metadata, *options.metadata),
            "timeout": options.timeout or PATIENCE,
        }

    async def call(self, rpc: Rpc, request: Message, options: CallOptions) -> Ending:
        """Make a unary call."""
        try:
            reply, call = self.callable(rpc, options).with_call(request, **self.arguments(options))
        except grpc.RpcError as error:
            return ending_of(error)
        return ending_of(call, reply)

    def begin(self, rpc: Rpc, options: CallOptions, request: Message | None = None) -> GrpcioConversation:
        """Begin a streaming call."""
        return GrpcioConversation(self, rpc, options, request)


def main() -> None:
    """Play, print, end."""
    order = order_from(order_parser().parse_args())
    client = GrpcioClient(order.target, order.metadata)
    print(json.dumps(run_at_once(play(client, order.names, probe=order.probe))))


if __name__ == "__main__":
    main()
