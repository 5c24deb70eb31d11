"""The cases, from gRPC's public description of its interop tests (grpc/grpc, doc/interop-test-descriptions.md).

Each is a coroutine over an L{InteropClient} which raises AssertionError where the peers do not understand each other.
The sizes, names and texts are those of the description.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from google.protobuf.message import Message

from microd.testing.interop.client import CallOptions, Conversation, Ending, InteropClient, Pairs, Rpc
from microd.testing.wire import interop_pb2 as pb

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNIMPLEMENTED = 0, 1, 2, 3, 4, 12

_SERVICE = "/grpc.testing.TestService/"
EMPTY_CALL = Rpc("unary_unary", _SERVICE + "EmptyCall", pb.Empty, pb.Empty)
UNARY_CALL = Rpc("unary_unary", _SERVICE + "UnaryCall", pb.SimpleRequest, pb.SimpleResponse)
OUTPUT_CALL = Rpc(
    "unary_stream",
    _SERVICE + "StreamingOutputCall",
    pb.StreamingOutputCallRequest,
    pb.StreamingOutputCallResponse,
)
INPUT_CALL = Rpc(
    "stream_unary",
    _SERVICE + "StreamingInputCall",
    pb.StreamingInputCallRequest,
    pb.StreamingInputCallResponse,
)
DUPLEX_CALL = Rpc(
    "stream_stream",
    _SERVICE + "FullDuplexCall",
    pb.StreamingOutputCallRequest,
    pb.StreamingOutputCallResponse,
)
UNIMPLEMENTED_METHOD = Rpc("unary_unary", _SERVICE + "UnimplementedCall", pb.Empty, pb.Empty)
UNIMPLEMENTED_SERVICE = Rpc(
    "unary_unary", "/grpc.testing.UnimplementedService/UnimplementedCall", pb.Empty, pb.Empty
)

PLAIN = CallOptions()
ECHO_INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
ECHO_TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
STATUS_MESSAGE = "test status message"
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP \U0001f608\t\n"

Case = Callable[[InteropClient], Awaitable[None]]


def _same(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.200}, wanted {wanted!r:.200}")


def _payload(size: int) -> pb.Payload:
    return pb.Payload(body=bytes(size))


def _body(message: Message | None) -> bytes:
    assert isinstance(message, pb.SimpleResponse | pb.StreamingOutputCallResponse), (
        f"no payload but {message!r}"
    )
    return message.payload.body


def _ok(ending: Ending) -> Message:
    _same("status", (ending.code, ending.message), (OK, ""))
    if ending.reply is None:
        raise AssertionError("no reply in spite of an OK")
    return ending.reply


def _first(pairs: Pairs, name: str) -> str | bytes | None:
    return next((value for key, value in pairs if key == name), None)


async def empty_unary(client: InteropClient) -> None:
    """A call with a message of no bytes gets one of no bytes."""
    _same("reply", _ok(await client.call(EMPTY_CALL, pb.Empty(), PLAIN)), pb.Empty())


async def large_unary(client: InteropClient) -> None:
    """Messages of many frames pass both ways."""
    request = pb.SimpleRequest(response_size=314159, payload=_payload(271828))
    _same("body", _body(_ok(await client.call(UNARY_CALL, request, PLAIN))), bytes(314159))


async def client_compressed_unary(client: InteropClient, *, probe: bool = True) -> None:
    """The server reads compressed and plain requests, and knows which is which."""
    for expected, compress in ((True, False), (True, True), (False, False)):
        request = pb.SimpleRequest(
            response_size=314159, payload=_payload(271828), expect_compressed=pb.BoolValue(value=expected)
        )
        if expected and not compress:
            if probe:
                ending = await client.call(UNARY_CALL, request, PLAIN)
                _same("status of a request that was said to be compressed", ending.code, INVALID_ARGUMENT)
            continue
        ending = await client.call(UNARY_CALL, request, CallOptions(compress=compress))
        _same("body", _body(_ok(ending)), bytes(314159))


async def server_compressed_unary(client: InteropClient) -> None:
    """The client reads compressed and plain replies."""
    for compressed in (True, False):
        request = pb.SimpleRequest(
            response_size=314159, payload=_payload(271828), response_compressed=pb.BoolValue(value=compressed)
        )
        _same("body", _body(_ok(await client.call(UNARY_CALL, request, PLAIN))), bytes(314159))


async def client_streaming(client: InteropClient) -> None:
    """Many requests get one reply."""
    conversation = client.begin(INPUT_CALL, PLAIN)
    for size in (27182, 8, 1828, 45904):
        await conversation.send(pb.StreamingInputCallRequest(payload=_payload(size)))
    await conversation.close_sending()
    _same(
        "sum", _ok(await conversation.ending()), pb.StreamingInputCallResponse(aggregated_payload_size=74922)
    )


async def client_compressed_streaming(client: InteropClient, *, probe: bool = True) -> None:
    """Each message of a stream is compressed, or not, by itself."""

    def said_compressed(size: int, flag: bool) -> pb.StreamingInputCallRequest:
        return pb.StreamingInputCallRequest(
            payload=_payload(size), expect_compressed=pb.BoolValue(value=flag)
        )

    options = CallOptions(compress=True)
    if probe:
        conversation = client.begin(INPUT_CALL, options if client.picks_compression else PLAIN)
        await conversation.send(said_compressed(27182, True), compress=False)
        await conversation.close_sending()
        ending = await conversation.ending()
        _same("status of a message that was said to be compressed", ending.code, INVALID_ARGUMENT)
    conversation = client.begin(INPUT_CALL, options)
    await conversation.send(said_compressed(27182, True), compress=True)
    await conversation.send(said_compressed(45904, not client.picks_compression), compress=False)
    await conversation.close_sending()
    _same(
        "sum", _ok(await conversation.ending()), pb.StreamingInputCallResponse(aggregated_payload_size=73086)
    )


async def server_streaming(client: InteropClient) -> None:
    """One request gets many replies, in order."""
    await _download(client, ((31415, None), (9, None), (2653, None), (58979, None)))


async def server_compressed_streaming(client: InteropClient) -> None:
    """The client reads a stream in which some replies are compressed."""
    await _download(client, ((31415, True), (92653, False)))


async def _download(client: InteropClient, wanted: Sequence[tuple[int, bool | None]]) -> None:
    request = pb.StreamingOutputCallRequest()
    for size, compressed in wanted:
        parameters = request.response_parameters.add(size=size)
        if compressed is not None:
            parameters.compressed.value = compressed
    conversation = client.begin(OUTPUT_CALL, PLAIN, request)
    for size, _ in wanted:
        _same("body", _body(await conversation.receive()), bytes(size))
    await _finished(conversation)


async def _finished(conversation: Conversation) -> Ending:
    _same("a further reply", await conversation.receive(), None)
    ending = await conversation.ending()
    _same("status", (ending.code, ending.message), (OK, ""))
    return ending


def _question(size: int, body: int) -> pb.StreamingOutputCallRequest:
    parameters = [pb.ResponseParameters(size=size)]
    return pb.StreamingOutputCallRequest(response_parameters=parameters, payload=_payload(body))


async def ping_pong(client: InteropClient) -> None:
    """Each side answers the other's last message before the next is sent."""
    conversation = client.begin(DUPLEX_CALL, PLAIN)
    for size, body in ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904)):
        await conversation.send(_question(size, body))
        _same("body", _body(await conversation.receive()), bytes(size))
    await conversation.close_sending()
    await _finished(conversation)


async def empty_stream(client: InteropClient) -> None:
    """A stream of no messages gets one of no messages."""
    conversation = client.begin(DUPLEX_CALL, PLAIN)
    await conversation.close_sending()
    await _finished(conversation)


async def timeout_on_sleeping_server(client: InteropClient) -> None:
    """A call that nobody answers ends with its deadline."""
    conversation = client.begin(DUPLEX_CALL, CallOptions(timeout=0.001))
    with suppress(Exception):  # in a millisecond the deadline may come before the message is out
        await conversation.send(pb.StreamingOutputCallRequest(payload=_payload(27182)))
    _same("status", (await conversation.ending()).code, DEADLINE_EXCEEDED)


async def cancel_after_begin(client: InteropClient) -> None:
    """A call that is cancelled before its first message ends as cancelled."""
    conversation = client.begin(INPUT_CALL, PLAIN)
    conversation.cancel()
    _same("status", (await conversation.ending()).code, CANCELLED)


async def cancel_after_first_response(client: InteropClient) -> None:
    """A call that is cancelled in mid-stream ends as cancelled."""
    conversation = client.begin(DUPLEX_CALL, PLAIN)
    await conversation.send(_question(31415, 27182))
    _same("body", _body(await conversation.receive()), bytes(31415))
    conversation.cancel()
    _same("status", (await conversation.ending()).code, CANCELLED)


async def custom_metadata(client: InteropClient) -> None:
    """Text and binary metadata come back, in initial and in trailing metadata."""
    options = CallOptions(metadata=(ECHO_INITIAL, ECHO_TRAILING))
    request = pb.SimpleRequest(response_size=314159, payload=_payload(271828))
    ending = await client.call(UNARY_CALL, request, options)
    _ok(ending)
    _echoed(ending)
    conversation = client.begin(DUPLEX_CALL, options)
    await conversation.send(_question(314159, 271828))
    await conversation.close_sending()
    _same("body", _body(await conversation.receive()), bytes(314159))
    _echoed(await _finished(conversation))


def _echoed(ending: Ending) -> None:
    _same("initial metadata", _first(ending.initial_metadata, ECHO_INITIAL[0]), ECHO_INITIAL[1])
    _same("trailing metadata", _first(ending.trailing_metadata, ECHO_TRAILING[0]), ECHO_TRAILING[1])


async def status_code_and_message(client: InteropClient) -> None:
    """A handler's status and sentence reach the caller, of a unary call and of a stream."""
    status = pb.EchoStatus(code=UNKNOWN, message=STATUS_MESSAGE)
    ending = await client.call(UNARY_CALL, pb.SimpleRequest(response_status=status), PLAIN)
    _same("status", (ending.code, ending.message), (UNKNOWN, STATUS_MESSAGE))
    conversation = client.begin(DUPLEX_CALL, PLAIN)
    await conversation.send(pb.StreamingOutputCallRequest(response_status=status))
    await conversation.close_sending()
    _same("a reply", await conversation.receive(), None)
    ending = await conversation.ending()
    _same("status of the stream", (ending.code, ending.message), (UNKNOWN, STATUS_MESSAGE))


async def special_status_message(client: InteropClient) -> None:
    """White space and Unicode survive in a status message."""
    status = pb.EchoStatus(code=UNKNOWN, message=SPECIAL_MESSAGE)
    ending = await client.call(UNARY_CALL, pb.SimpleRequest(response_status=status), PLAIN)
    _same("status", (ending.code, ending.message), (UNKNOWN, SPECIAL_MESSAGE))


async def unimplemented_method(client: InteropClient) -> None:
    """A method that the service has not is UNIMPLEMENTED."""
    _same("status", (await client.call(UNIMPLEMENTED_METHOD, pb.Empty(), PLAIN)).code, UNIMPLEMENTED)


async def unimplemented_service(client: InteropClient) -> None:
    """A service that the server has not is UNIMPLEMENTED."""
    _same("status", (await client.call(UNIMPLEMENTED_SERVICE, pb.Empty(), PLAIN)).code, UNIMPLEMENTED)


CASES: Mapping[str, Case] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_compressed_unary,
        server_compressed_unary,
        client_streaming,
        client_compressed_streaming,
        server_streaming,
        server_compressed_streaming,
        ping_pong,
        empty_stream,
        timeout_on_sleeping_server,
        cancel_after_begin,
        cancel_after_first_response,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
    )
}
# A server whose library hides how a message was compressed cannot answer the probes of these.
PROBING: Mapping[str, Callable[..., Awaitable[None]]] = {
    "client_compressed_unary": client_compressed_unary,
    "client_compressed_streaming": client_compressed_streaming,
}


async def play(client: InteropClient, names: Sequence[str], *, probe: bool = True) -> dict[str, str | None]:
    """Play the cases in turn: what went wrong, by name, or None."""
    outcome: dict[str, str | None] = {}
    for name in names:
        try:
            await (PROBING[name](client, probe=probe) if name in PROBING else CASES[name](client))
        except Exception as error:  # noqa: BLE001 - any failure is the outcome that is asked for
            outcome[name] = f"{type(error).__name__}: {error}"
        else:
            outcome[name] = None
    return outcome
