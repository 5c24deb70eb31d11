"""A server's methods as a client calls them; L{microd.txgrpc.Channel} makes these.

Who knows the ids of a call's trace gives them as C{tail} (see L{microd.txgrpc.tail}), or as the last three of C{metadata}.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from microd.txgrpc import messages, requests
from microd.txgrpc.call import CURRENT
from microd.txgrpc.clientcall import UnaryCall
from microd.txgrpc.clientstream import ClientCall
from microd.txgrpc.frames import PREFIX
from microd.txgrpc.status import MetadataLike, RpcError, StatusCode
from microd.txgrpc.tail import split

if TYPE_CHECKING:
    from microd.txgrpc.channel import Channel

Serialize = Callable[[Any], bytes] | None
Deserialize = Callable[[bytes], Any] | None
Requests = Iterable[Any] | AsyncIterable[Any]

_prefix = PREFIX.pack


class _Method:
    """A method of the server, as the client calls it; the header block of plain calls is made once."""

    __slots__ = ("_block", "_channel", "_deserialize", "_path", "_serialize")

    def __init__(self, channel: Channel, path: str, serialize: Serialize, deserialize: Deserialize) -> None:
        self._channel = channel
        self._path = path
        self._serialize = serialize
        self._deserialize = deserialize
        self._block = requests.block(channel.scheme, channel.authority, path)

    def _head(
        self, metadata: MetadataLike | None, content_type: str | None, compress: bool, tail: bytes
    ) -> tuple[bytes, bytes]:
        """The header block, and its tail."""
        if metadata is None and content_type is None and not compress:
            return self._block, tail
        channel = self._channel
        block = requests.block(
            channel.scheme, channel.authority, self._path, metadata, content_type, compress=compress
        )
        return (block, tail) if tail or metadata is None else split(block)

    def _message(self, request: Any, compress: bool) -> bytes:
        return self._framed(request if self._serialize is None else self._serialize(request), compress)

    def _framed(self, data: bytes, compress: bool) -> bytes:
        most = self._channel.limits.max_message
        if len(data) > most:
            bad = messages.too_large(len(data), most)
            raise RpcError(bad.code, bad.text, delivered=False)
        return messages.frame_compressed(data) if compress else messages.frame_message(data)


class UnaryUnary(_Method):
    """One request, one reply."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        wait_for_ready: bool | None = None,
        compress: bool = False,
        content_type: str | None = None,
        tail: bytes = b"",
    ) -> Deferred[Any]:
        """Call; the Deferred fires with the reply or fails with L{RpcError}, and cancels the call when cancelled."""
        plain = metadata is None and content_type is None and not compress
        if plain:
            block = self._block
        else:
            block, tail = self._head(metadata, content_type, compress, tail)
        channel = self._channel
        serialize = self._serialize
        message = request if serialize is None else serialize(request)
        size = len(message)
        if size > channel.limits.max_message or compress:
            try:
                first = self._framed(message, compress)
            except RpcError as error:
                failed: Deferred[Any] = Deferred()
                failed.errback(error)
                return failed
        else:
            first = _prefix(0, size) + message
        call = UnaryCall(channel, block, first, True, self._deserialize)
        if tail:
            call.tail = tail
        reply = call.reply
        channel.submit(call, timeout, wait_for_ready)
        return reply


class UnaryStream(_Method):
    """One request, many replies."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        wait_for_ready: bool | None = None,
        compress: bool = False,
        content_type: str | None = None,
        tail: bytes = b"",
    ) -> ClientCall:
        """Call; iterate over what is returned.

        @raise RpcError: the request is too large.
        """
        block, tail = self._head(metadata, content_type, compress, tail)
        call = _streaming(self._channel, block, self._message(request, compress), True, self._deserialize)
        call.tail = tail
        self._channel.submit(call, timeout, wait_for_ready)
        return call


class StreamUnary(_Method):
    """Many requests, one reply."""

    __slots__ = ()

    def __call__(
        self,
        requests: Requests,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        wait_for_ready: bool | None = None,
        compress: bool = False,
        content_type: str | None = None,
        tail: bytes = b"",
    ) -> Deferred[Any]:
        """Call with C{requests}; the Deferred fires with the reply or fails with L{RpcError}."""
        block, tail = self._head(metadata, content_type, compress, tail)
        call = _streaming(self._channel, block, b"", False, self._deserialize, self._serialize, compress)
        call.tail = tail
        self._channel.submit(call, timeout, wait_for_ready)
        return Deferred.fromCoroutine(_only_reply(call, requests))


class StreamStream(_Method):
    """Many of both."""

    __slots__ = ()

    def __call__(
        self,
        requests: Requests | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        wait_for_ready: bool | None = None,
        compress: bool = False,
        content_type: str | None = None,
        tail: bytes = b"",
    ) -> ClientCall:
        """Call with C{requests}, or write them to what is returned; iterate over it for the replies."""
        block, tail = self._head(metadata, content_type, compress, tail)
        call = _streaming(self._channel, block, b"", False, self._deserialize, self._serialize, compress)
        call.tail = tail
        self._channel.submit(call, timeout, wait_for_ready)
        if requests is not None:
            call.feed(_feed(call, requests))
        return call


def _streaming(
    channel: Channel,
    block: bytes,
    first: bytes,
    whole: bool,
    deserialize: Deserialize,
    serialize: Serialize = None,
    compress: bool = False,
) -> ClientCall:
    outer = CURRENT.get()
    call = ClientCall(channel, block, first, whole, deserialize, serialize, compress, outer)
    if outer is not None:
        outer.adopt(call)
    return call


async def _feed(call: ClientCall, given: Requests) -> None:
    """Write all of C{given}; an error in making them cancels the call, the call's own end is told to its reader."""
    try:
        if isinstance(given, AsyncIterable):
            async for request in given:
                await call.write(request)
        else:
            for request in given:
                await call.write(request)
        await call.done_writing()
    except RpcError:
        if not call.over:
            raise


async def _only_reply(call: ClientCall, given: Requests) -> Any:
    call.feed(_feed(call, given))
    replies = []
    async for reply in call:
        replies.append(reply)
        if len(replies) > 1:
            break
    if len(replies) == 1:
        return replies[0]
    call.cancel()
    raise RpcError(StatusCode.INTERNAL, "the method gives one reply, and there were none, or more")
