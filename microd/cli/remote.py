"""Calls to the daemon: the only module that knows how they travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from microd.cli.address import Address
from microd.cli.failure import CommandFailed
from microd.cli.naming import DEFAULT_NAMESPACE
from microd.cli.refusal import broken, cut_off, innermost, refused, unreachable
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


class ICall(Iterator[bytes], Protocol):
    """What is asked of a call with many replies (L{microd.txgrpc.blockingcall.BlockingCall})."""

    @property
    def ready(self) -> int: ...

    def write(self, message: bytes) -> None: ...

    def cancel(self) -> None: ...


class IChannel(Protocol):
    """What is asked of a connection: the four kinds of call over opaque bytes (L{microd.txgrpc.blocking})."""

    def unary_unary(self, path: str) -> Callable[..., bytes]: ...

    def unary_stream(self, path: str) -> Callable[..., ICall]: ...

    def stream_unary(self, path: str) -> Callable[..., bytes]: ...

    def stream_stream(self, path: str) -> Callable[..., ICall]: ...

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
        self,
        path: str,
        request: Message,
        reply: type[MessageT],
        *,
        namespace: str = DEFAULT_NAMESPACE,
        timeout: float | None = PATIENCE,
    ) -> MessageT:
        """Ask a core service.

        Core services do nothing for a caller whom they refuse, so a refused token is renewed and the call repeated.
        """
        body = request.SerializeToString()
        call = self._open().unary_unary(path)
        return reply.FromString(
            self._insistently(lambda token: call(body, timeout=timeout, metadata=_metadata(token, namespace)))
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
            raise self.failure(error) from error

    def follow(
        self,
        path: str,
        request: Message,
        reply: type[MessageT],
        *,
        namespace: str = DEFAULT_NAMESPACE,
        talks: bool = False,
    ) -> Replies[MessageT]:
        """Ask a core service for replies without end. The connection is there when this returns.

        @param talks: more requests follow.
        """
        body = request.SerializeToString()
        channel = self._open()

        def begin(token: str) -> ICall:
            metadata = _metadata(token, namespace)
            if not talks:
                return channel.unary_stream(path)(body, metadata=metadata)
            call = channel.stream_stream(path)(metadata=metadata)
            call.write(body)
            return call

        return Replies(self, begin, reply)

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
        headers = [*_metadata(self.token(), namespace), *metadata]
        reply: bytes = self.once(lambda: call(body, timeout=timeout, metadata=headers, content_type=JSON))
        return reply

    def stream_json(
        self, path: str, body: bytes, *, namespace: str, metadata: Pairs = (), timeout: float | None = None
    ) -> Iterator[bytes]:
        """Call any service's streaming endpoint with one JSON message."""
        call = self._open().unary_stream(path)
        headers = [*_metadata(self.token(), namespace), *metadata]
        try:
            yield from call(body, timeout=timeout, metadata=headers, content_type=JSON)
        except RpcError as error:
            raise self.failure(error) from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> IChannel:
        if self._channel is None:
            self._channel = self._connect(self.address)
        return self._channel

    def token(self) -> str:
        """The token to show; empty for nobody's."""
        token = self._bearer.token()
        self._logged_in = bool(token)
        return token

    def _insistently(self, call: Callable[[str], Any]) -> Any:
        try:
            return call(self.token())
        except RpcError as error:
            return self.renewed(call, error)

    def renewed(self, call: Callable[[str], Any], refused: RpcError) -> Any:
        """Make a call once more which was refused for its token, if there is another token; else, fail as it did."""
        token = self._bearer.renewed() if _unauthorized(refused) else ""
        if not token:
            raise self.failure(refused) from refused
        self._logged_in = True
        return self.once(lambda: call(token))

    def once(self, call: Callable[[], Any]) -> Any:
        """Make a call."""
        try:
            return call()
        except RpcError as error:
            raise self.failure(error) from error

    def failure(self, error: RpcError) -> CommandFailed:
        """What to tell somebody whose call ended so."""
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


class Replies(Generic[MessageT]):
    """The replies to a call, without end, and a way to go on speaking. Iterate over it."""

    def __init__(self, remote: Remote, begin: Callable[[str], ICall], reply: type[MessageT]) -> None:
        self._remote = remote
        self._begin = begin
        self._reply = reply
        self._answered = False
        self._call: ICall = remote.once(lambda: begin(remote.token()))

    @property
    def ready(self) -> int:
        """How many can be had without waiting."""
        return self._call.ready

    def __iter__(self) -> Iterator[MessageT]:
        return self

    def __next__(self) -> MessageT:
        try:
            message = next(self._call)
        except RpcError as error:
            if self._answered or not _unauthorized(error):
                raise self._failure(error) from error
            self._answered = True
            self._call = self._remote.renewed(self._begin, error)
            return next(self)
        self._answered = True
        return self._reply.FromString(message)

    def write(self, message: Message) -> None:
        """Send one more request."""
        self._remote.once(lambda: self._call.write(message.SerializeToString()))

    def _failure(self, error: RpcError) -> CommandFailed:
        lost = error.code == StatusCode.UNAVAILABLE and not error.answered
        return cut_off(self._remote.address) if lost else self._remote.failure(error)

    def close(self) -> None:
        """Want no more."""
        self._call.cancel()
