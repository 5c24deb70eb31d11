"""A gRPC client for scripts and command lines: it waits, and needs neither Twisted nor threads.

::

    with BlockingChannel("127.0.0.1:8081") as channel:
        hello = channel.unary_unary("/greeter.Greeter/Hello", HelloRequest.SerializeToString, HelloReply.FromString)
        reply = hello(HelloRequest(name="Ada"), timeout=5)

        for line in channel.unary_stream("/runtime.Runtime/Logs")(request): ...

        with channel.stream_stream("/chat.Chat/Talk")() as call:        # leaving the block early cancels the call
            call.write(b"...")
            call.done_writing()
            for reply in call: ...

The same connection and the same errors as L{microd.txgrpc.Channel}; started quickly, hence imports that come late. A channel, with all its
calls, belongs to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from microd.txgrpc import requests
from microd.txgrpc.blockingcall import BlockingCall, Deserialize, Serialize, framed, too_late
from microd.txgrpc.limits import DEFAULT, Limits
from microd.txgrpc.sockets import Target, Wire
from microd.txgrpc.status import MetadataLike, RpcError, StatusCode
from microd.txgrpc.timeouts import FOREVER

__all__ = ["BlockingCall", "BlockingChannel"]


class BlockingChannel:
    """Calls to the server at one address: C{host:port}, C{unix:path}, C{tls:host:port}.

    It connects with the first call, and again when the connection is gone.

    @param tls: whether to speak TLS. True trusts the system's authorities, a path those in a PEM file; an
        C{ssl.SSLContext} is used as it is (ALPN must be set to C{h2}).
    @param connect_timeout: seconds for connecting, the server's first words included.
    """

    def __init__(
        self,
        target: str,
        tls: Any = False,
        *,
        authority: str = "",
        limits: Limits = DEFAULT,
        connect_timeout: float = 5.0,
    ) -> None:
        self.limits = limits
        self._target = Target(target)
        self._tls = tls
        self._connect_timeout = connect_timeout
        self.scheme = "https" if tls or self._target.secure else "http"
        self.authority = authority or ("localhost" if self._target.path else self._target.text)
        self._wire: Wire | None = None
        self._old: list[Wire] = []
        self._closed = False

    def unary_unary(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> UnaryUnary:
        """One request, one reply."""
        return UnaryUnary(self, path, serialize, deserialize)

    def unary_stream(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> UnaryStream:
        """One request, many replies."""
        return UnaryStream(self, path, serialize, deserialize)

    def stream_unary(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> StreamUnary:
        """Many requests, one reply."""
        return StreamUnary(self, path, serialize, deserialize)

    def stream_stream(
        self, path: str, serialize: Serialize = None, deserialize: Deserialize = None
    ) -> StreamStream:
        """Many of both."""
        return StreamStream(self, path, serialize, deserialize)

    def wire(self, timeout: float | None) -> Wire:
        """A connection on which a call can be opened.

        @raise RpcError: there is none to be had.
        """
        if self._closed:
            raise RpcError(StatusCode.UNAVAILABLE, "the channel is closed", delivered=False)
        for old in [old for old in self._old if not old.connection.streams]:
            self._old.remove(old)
            old.close()
        wire = self._wire
        if wire is not None:
            # The server may have gone since; better to learn it before the call than by it.
            wire.push()
            if wire.connection.exhausted:
                self._retire(wire)
                wire = None
        if wire is None:
            patience = self._connect_timeout if timeout is None else min(timeout, self._connect_timeout)
            wire = self._wire = Wire(self._target, self._tls, self.limits, patience)
        return wire

    def _retire(self, wire: Wire) -> None:
        if wire.connection.streams:
            self._old.append(wire)
        else:
            wire.close()

    def close(self) -> None:
        """Hang up; calls under way end as UNAVAILABLE."""
        self._closed = True
        if self._wire is not None:
            self._old.append(self._wire)
            self._wire = None
        while self._old:
            self._old.pop().close()

    def __enter__(self) -> BlockingChannel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Callable:
    """A method of the server."""

    __slots__ = ("_channel", "_deserialize", "_path", "_serialize")

    def __init__(
        self, channel: BlockingChannel, path: str, serialize: Serialize, deserialize: Deserialize
    ) -> None:
        self._channel = channel
        self._path = path
        self._serialize = serialize
        self._deserialize = deserialize

    def _begin(
        self,
        request: Any,
        whole: bool,
        timeout: float | None,
        metadata: MetadataLike | None,
        compress: bool,
        content_type: str | None,
    ) -> BlockingCall:
        """Open a call: with its one request, or, if that is not the C{whole}, with none yet."""
        channel = self._channel
        if timeout is not None:
            if not timeout > 0:
                raise too_late(delivered=False)
            if timeout >= FOREVER:
                timeout = None
        expires = None if timeout is None else time.monotonic() + timeout
        block = requests.block(
            channel.scheme, channel.authority, self._path, metadata, content_type, compress=compress
        )
        first = framed(request, self._serialize, channel.limits, compress) if whole else b""
        call = BlockingCall(channel.wire(timeout), channel.limits, self._serialize, self._deserialize)
        call.compress = compress
        call.begin(block, first, whole, expires)
        return call


def _only(call: BlockingCall) -> Any:
    """The one reply of a call.

    @raise RpcError: it did not end with OK, or there were more or none.
    """
    with call:
        replies = []
        for reply in call:
            replies.append(reply)
            if len(replies) > 1:
                break
    if len(replies) != 1:
        raise RpcError(StatusCode.INTERNAL, "the method gives one reply, and there were none, or more")
    return replies[0]


class UnaryUnary(_Callable):
    """One request, one reply."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        compress: bool = False,
        content_type: str | None = None,
    ) -> Any:
        """Call and wait; the timeout is in seconds, and without any left nothing is sent."""
        return _only(self._begin(request, True, timeout, metadata, compress, content_type))


class UnaryStream(_Callable):
    """One request, many replies."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        compress: bool = False,
        content_type: str | None = None,
    ) -> BlockingCall:
        """Call; iterate over what is returned."""
        return self._begin(request, True, timeout, metadata, compress, content_type)


class StreamUnary(_Callable):
    """Many requests, one reply."""

    __slots__ = ()

    def __call__(
        self,
        given: Iterable[Any],
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        compress: bool = False,
        content_type: str | None = None,
    ) -> Any:
        """Call with the requests given and wait."""
        call = self._begin(None, False, timeout, metadata, compress, content_type)
        call.feed(given)
        return _only(call)


class StreamStream(_Callable):
    """Many of both."""

    __slots__ = ()

    def __call__(
        self,
        given: Iterable[Any] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        compress: bool = False,
        content_type: str | None = None,
    ) -> BlockingCall:
        """Call with the requests given, or write them to what is returned; iterate over it for the replies."""
        call = self._begin(None, False, timeout, metadata, compress, content_type)
        if given is not None:
            call.feed(given)
        return call
