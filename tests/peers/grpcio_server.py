"""The test service on grpcio: prints its port, serves until it is ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from microd.testing.interop.cases import ECHO_INITIAL, ECHO_TRAILING
from microd.testing.wire import interop_pb2 as pb

CODES = {code.value[0]: code for code in grpc.StatusCode}


def echo_metadata(context: grpc.ServicerContext) -> None:
    """Send back what the caller wants back."""
    metadata = dict(context.invocation_metadata())
    if ECHO_INITIAL[0] in metadata:
        context.send_initial_metadata([(ECHO_INITIAL[0], metadata[ECHO_INITIAL[0]])])
    if ECHO_TRAILING[0] in metadata:
        context.set_trailing_metadata([(ECHO_TRAILING[0], metadata[ECHO_TRAILING[0]])])


def answer_status(
    request: pb.SimpleRequest | pb.StreamingOutputCallRequest, context: grpc.ServicerContext
) -> None:
    """End the call with the status that the request wishes."""
    if request.HasField("response_status"):
        context.abort(CODES[request.response_status.code], request.response_status.message)


def unary(request: pb.SimpleRequest, context: grpc.ServicerContext) -> pb.SimpleResponse:
    """UnaryCall."""
    echo_metadata(context)
    answer_status(request, context)
    if request.response_compressed.value:
        context.set_compression(grpc.Compression.Gzip)
    return pb.SimpleResponse(payload=pb.Payload(body=bytes(request.response_size)))


def replies(
    request: pb.StreamingOutputCallRequest, context: grpc.ServicerContext
) -> Iterator[pb.StreamingOutputCallResponse]:
    """What one request of a stream asks for."""
    answer_status(request, context)
    for parameters in request.response_parameters:
        time.sleep(parameters.interval_us / 1e6)
        if parameters.HasField("compressed") and not parameters.compressed.value:
            context.disable_next_message_compression()
        yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(parameters.size)))


def output(
    request: pb.StreamingOutputCallRequest, context: grpc.ServicerContext
) -> Iterator[pb.StreamingOutputCallResponse]:
    """StreamingOutputCall; the stream is compressed as soon as one reply is to be."""
    if any(parameters.compressed.value for parameters in request.response_parameters):
        context.set_compression(grpc.Compression.Gzip)
    yield from replies(request, context)


def upload(
    requests: Iterator[pb.StreamingInputCallRequest], context: grpc.ServicerContext
) -> pb.StreamingInputCallResponse:
    """StreamingInputCall."""
    return pb.StreamingInputCallResponse(
        aggregated_payload_size=sum(len(each.payload.body) for each in requests)
    )


def duplex(
    requests: Iterator[pb.StreamingOutputCallRequest], context: grpc.ServicerContext
) -> Iterator[pb.StreamingOutputCallResponse]:
    """FullDuplexCall."""
    echo_metadata(context)
    for request in requests:
        yield from replies(request, context)


def handlers() -> grpc.GenericRpcHandler:
    """The service's methods, less the one which nobody implements."""
    streamed = (pb.StreamingOutputCallRequest.FromString, pb.StreamingOutputCallResponse.SerializeToString)
    return grpc.method_handlers_generic_handler(
        "grpc.testing.TestService",
        {
            "EmptyCall": grpc.unary_unary_rpc_method_handler(
                lambda request, context: request, pb.Empty.FromString, pb.Empty.SerializeToString
            ),
            "UnaryCall": grpc.unary_unary_rpc_method_handler(
                unary, pb.SimpleRequest.FromString, pb.SimpleResponse.SerializeToString
            ),
            "StreamingInputCall": grpc.stream_unary_rpc_method_handler(
                upload,
                pb.StreamingInputCallRequest.FromString,
                pb.StreamingInputCallResponse.SerializeToString,
            ),
            "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(output, *streamed),
            "FullDuplexCall": grpc.stream_stream_rpc_method_handler(duplex, *streamed),
        },
    )


def main() -> None:
    """Serve until ended."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([handlers()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
