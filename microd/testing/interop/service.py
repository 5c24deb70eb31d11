"""The test service, on our server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from microd.testing.interop.cases import ECHO_INITIAL, ECHO_TRAILING
from microd.testing.wire import interop_pb2 as pb
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode


class TestService:
    """What C{grpc.testing.TestService} promises, less the method which nobody implements."""

    __test__ = False  # a name of gRPC's; not a class of tests

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def methods(self) -> Mapping[str, Method]:
        """What a server adds to its methods to have this service."""
        serialize = pb.StreamingOutputCallResponse.SerializeToString
        output = pb.StreamingOutputCallRequest.FromString
        table = {
            "EmptyCall": Method("unary_unary", self.empty, pb.Empty.FromString, pb.Empty.SerializeToString),
            "UnaryCall": Method(
                "unary_unary", self.unary, pb.SimpleRequest.FromString, pb.SimpleResponse.SerializeToString
            ),
            "StreamingOutputCall": Method("unary_stream", self.output, output, serialize),
            "StreamingInputCall": Method(
                "stream_unary",
                self.input,
                pb.StreamingInputCallRequest.FromString,
                pb.StreamingInputCallResponse.SerializeToString,
            ),
            "FullDuplexCall": Method("stream_stream", self.full_duplex, output, serialize),
            "HalfDuplexCall": Method("stream_stream", self.half_duplex, output, serialize),
        }
        return {f"/grpc.testing.TestService/{name}": method for name, method in table.items()}

    async def empty(self, request: pb.Empty, call: ServerCall) -> pb.Empty:
        """Answer nothing with nothing."""
        return request

    async def unary(self, request: pb.SimpleRequest, call: ServerCall) -> pb.SimpleResponse:
        """Answer as the request wishes."""
        _echo_metadata(call)
        _expect(request, call)
        _answer_status(request)
        if request.HasField("response_compressed"):
            call.compress = request.response_compressed.value
        return pb.SimpleResponse(payload=pb.Payload(body=bytes(request.response_size)))

    async def input(
        self, requests: AsyncIterator[pb.StreamingInputCallRequest], call: ServerCall
    ) -> pb.StreamingInputCallResponse:
        """Count the bytes of all payloads."""
        total = 0
        async for request in requests:
            _expect(request, call)
            total += len(request.payload.body)
        return pb.StreamingInputCallResponse(aggregated_payload_size=total)

    async def output(
        self, request: pb.StreamingOutputCallRequest, call: ServerCall
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        """Answer with the sizes asked for, at the pace asked for."""
        _echo_metadata(call)
        async for reply in self._replies(request, call):
            yield reply

    async def full_duplex(
        self, requests: AsyncIterator[pb.StreamingOutputCallRequest], call: ServerCall
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        """Answer each request when it comes."""
        _echo_metadata(call)
        async for request in requests:
            async for reply in self._replies(request, call):
                yield reply

    async def half_duplex(
        self, requests: AsyncIterator[pb.StreamingOutputCallRequest], call: ServerCall
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        """Answer every request after the last."""
        _echo_metadata(call)
        kept = [request async for request in requests]
        for request in kept:
            async for reply in self._replies(request, call):
                yield reply

    async def _replies(
        self, request: pb.StreamingOutputCallRequest, call: ServerCall
    ) -> AsyncIterator[pb.StreamingOutputCallResponse]:
        _answer_status(request)
        for parameters in request.response_parameters:
            if parameters.interval_us:
                await deferLater(self._clock, parameters.interval_us / 1e6)
            if parameters.HasField("compressed"):
                call.compress = parameters.compressed.value
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(parameters.size)))


def _echo_metadata(call: ServerCall) -> None:
    initial = call.metadata.get(ECHO_INITIAL[0])
    if initial is not None:
        call.send_initial_metadata([(ECHO_INITIAL[0], initial)])
    trailing = call.metadata.get(ECHO_TRAILING[0])
    if trailing is not None:
        call.trailing_metadata = [(ECHO_TRAILING[0], trailing)]


def _expect(request: pb.SimpleRequest | pb.StreamingInputCallRequest, call: ServerCall) -> None:
    if request.HasField("expect_compressed") and request.expect_compressed.value != call.was_compressed:
        raise RpcError(StatusCode.INVALID_ARGUMENT, "the message was not sent as the request says")


def _answer_status(request: pb.SimpleRequest | pb.StreamingOutputCallRequest) -> None:
    if request.HasField("response_status"):
        raise RpcError(StatusCode(request.response_status.code), request.response_status.message)
