"""Calls to the daemon: the only module that knows how they travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from microd.cli.address import Address
from microd.cli.failure import CommandFailed
from microd.cli.naming import DEFAULT_NAMESPACE
from microd.cli.refusal import broken, innermost, refused, unreachable
from microd.txgrpc.status import RpcError, StatusCode

if TYPE_CHECKING:
    from google.protobuf.message import Message

    MessageT = TypeVar("MessageT", bound=Message)
else:
    MessageT = TypeVar("MessageT")

#: Seconds that a call may take unless the command says otherwise.
PATIENCE = 10.0
JSON = "application/grpc+json"

Pairs = Sequence[tuple[str, str]]


class IChannel(Protocol):
    """What is asked of a connection: the four kinds of call over opaque bytes (L{microd.txgrpc.blocking})."""

    def unary_unary(self, path: str) -> Callable[..., bytes]: ...

    def unary_stream(self, path: str) -> Callable[..., Iterator[bytes]]: ...

    def stream_unary(self, path: str) -> Callable[..., bytes]: ...

    def close(self) -> None: ...


class Bearer(Protocol):
    """Whose token is shown (L{microd.cli.credentials.Credentials})."""

    def token(self) -> str:
        """An access token; empty for nobody."""

    def renewed(self) -> str:
        """Another one, after the server refused the first; empty where there is none to be had."""


class Nobody:
    """Calls without a token."""

    def token(self) -> str:
        """None."""
        return ""

    def renewed(self) -> str:
        """None."""
        return ""


class Remote:
    """The proxy door of one environment, as one account.

    @param connect: opens a connection to an address; it is used when the first call is made.
    @param remedy: the sentence that helps where nobody answers.
    """

    def __init__(
        self, address: Address, connect: Callable[[Address], IChannel], bearer: Bearer, *, remedy: str = ""
    ) -> None:
        self.address = address
        self._connect = connect
        self._bearer = bearer
        self._remedy = remedy
        self._channel: IChannel | None = None
        self._logged_in = False

    def unary(
        self, path: str, request: Message, reply: type[MessageT], *, timeout: float | None = PATIENCE
    ) -> MessageT:
        """Ask a core service.

        Core services do nothing for a caller whom they refuse, so a refused token is renewed and the call repeated.
        """
        body = request.SerializeToString()
        call = self._open().unary_unary(path)
        return reply.FromString(
            self._insistently(lambda token: call(body, timeout=timeout, metadata=_metadata(token)))
        )

    def stream(self, path: str, request: Message, reply: type[MessageT]) -> Iterator[MessageT]:
        """Ask a core service for a stream of replies."""
        body = request.SerializeToString()
        call = self._open().unary_stream(path)

        def begin(token: str) -> tuple[Iterator[bytes], bytes | None]:
            replies = iter(call(body, metadata=_metadata(token)))
            return replies, next(replies, None)

        replies, first = self._insistently(begin)
        if first is None:
            return
        yield reply.FromString(first)
        try:
            for message in replies:
                yield reply.FromString(message)
        except RpcError as error:
            raise self._failure(error) from error

    def upload(self, path: str, requests: Callable[[], Iterable[Message]], reply: type[MessageT]) -> MessageT:
        """Send a core service a stream of requests; C{requests} begins it, and begins it again if it must be sent twice."""
        call = self._open().stream_unary(path)

        def send(token: str) -> bytes:
            messages = (request.SerializeToString() for request in requests())
            return call(messages, metadata=_metadata(token))

        return reply.FromString(self._insistently(send))

    def call_json(
        self,
        path: str,
        body: bytes,
        *,
        namespace: str,
        metadata: Pairs = (),
        timeout: float | None = PATIENCE,
    ) -> bytes:
        """Call any service with JSON, once."""
        call = self._open().unary_unary(path)
        headers = [*_metadata(self._token(), namespace), *metadata]
        reply: bytes = self._once(lambda: call(body, timeout=timeout, metadata=headers, content_type=JSON))
        return reply

    def stream_json(
        self, path: str, body: bytes, *, namespace: str, metadata: Pairs = (), timeout: float | None = None
    ) -> Iterator[bytes]:
        """Call any service's streaming endpoint with one JSON message."""
        call = self._open().unary_stream(path)
        headers = [*_metadata(self._token(), namespace), *metadata]
        try:
            yield from call(body, timeout=timeout, metadata=headers, content_type=JSON)
        except RpcError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> IChannel:
        if self._channel is None:
            self._channel = self._connect(self.address)
        return self._channel

    def _token(self) -> str:
        token = self._bearer.token()
        self._logged_in = bool(token)
        return token

    def _insistently(self, call: Callable[[str], Any]) -> Any:
        try:
            return call(self._token())
        except RpcError as error:
            if not _unauthorized(error):
                raise self._failure(error) from error
            renewed = self._bearer.renewed()
            if not renewed:
                raise self._failure(error) from error
        self._logged_in = True
        return self._once(lambda: call(renewed))

    def _once(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RpcError as error:
            raise self._failure(error) from error

    def _failure(self, error: RpcError) -> CommandFailed:
        if error.answered or error.code not in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
            return refused(error.code, error.message, logged_in=self._logged_in)
        if error.undelivered:
            return unreachable(self.address, error.message, self._remedy)
        return broken(self.address)


def _metadata(token: str, namespace: str = DEFAULT_NAMESPACE) -> list[tuple[str, str]]:
    found = [("micro-namespace", namespace)]
    if token:
        found.append(("authorization", f"Bearer {token}"))
    return found


def _unauthorized(error: RpcError) -> bool:
    told = innermost(error.message)
    return told.code == 401 if told else error.code == StatusCode.UNAUTHENTICATED
