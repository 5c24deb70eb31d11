"""What an author's function is, as its signature says.

==========================================  ===================================================
Written                                     Called
==========================================  ===================================================
C{async def f(request) -> Reply}            on the reactor
C{def f(request) -> Deferred[Reply]}        on the reactor
C{def f(request) -> Reply}                  in a thread
C{async def f(request) -> AsyncIterator}    on the reactor; what it yields is streamed
C{def f(request) -> Iterator[Reply]}        in a thread; what it yields is streamed
==========================================  ===================================================

A request annotated C{AsyncIterator[T]} is a stream of the client's. A parameter annotated L{Call} gets the call's
circumstances, wherever it stands. There may be no request, and a reply may be C{None}: both are then empty messages.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred

from microd.framework.context import Call
from microd.framework.schema.annotations import called, hints_of
from microd.framework.schema.shapes import SchemaError, is_message

_ASYNC_STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
_STREAMS = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


class Style(Enum):
    """How a function runs."""

    COROUTINE = auto()
    DEFERRED = auto()
    THREAD = auto()
    ASYNC_STREAM = auto()
    THREAD_STREAM = auto()


@dataclass(frozen=True, slots=True)
class Handler:
    """One endpoint, as its author wrote it.

    @ivar name: C{Struct.Method}.
    @ivar request: a dataclass or generated message; C{None} for the empty message.
    @ivar wants_request: the function takes the request; C{call_first} says that the L{Call} stands before it.
    """

    name: str
    function: Callable[..., Any]
    request: type | None
    reply: type | None
    style: Style
    client_streaming: bool
    wants_request: bool
    wants_call: bool
    call_first: bool
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def server_streaming(self) -> bool:
        """Whether what it answers is a stream."""
        return self.style in (Style.ASYNC_STREAM, Style.THREAD_STREAM)

    @property
    def struct(self) -> str:
        """The first half of the name."""
        return self.name.partition(".")[0]

    @property
    def method(self) -> str:
        """The second half of the name."""
        return self.name.partition(".")[2]

    def arguments(self, request: object, call: Call) -> tuple[object, ...]:
        """What the function is called with."""
        if not self.wants_call:
            return (request,) if self.wants_request else ()
        if not self.wants_request:
            return (call,)
        return (call, request) if self.call_first else (request, call)


def handler_of(
    function: Callable[..., Any], name: str, names: Mapping[str, object], metadata: Mapping[str, str]
) -> Handler:
    """Read a function's signature.

    @param names: what annotations may name besides the globals of the function's module.
    @raise SchemaError: it cannot be an endpoint; the text says where it is, and why.
    @raise NameError: an annotation names something that is not defined yet.
    """
    where = place_of_function(function)
    hints = hints_of(_plain(function), names)
    request, client_streaming, call_first, wants_call = _parameters(function, hints, where)
    wants_request = request is not _ABSENT
    if "return" not in hints:
        raise SchemaError(f"{where} does not say what it returns; annotate it: '-> HelloReply', or '-> None'")
    reply, style = _returned(function, hints["return"], where)
    if client_streaming and style in (Style.THREAD, Style.THREAD_STREAM):
        raise SchemaError(f"{where} reads a stream, which only an 'async def' can")
    return Handler(
        name=name,
        function=function,
        request=_message(request, where) if wants_request else None,
        reply=_message(reply, where),
        style=style,
        client_streaming=client_streaming,
        wants_request=wants_request,
        wants_call=wants_call,
        call_first=call_first,
        doc=inspect.getdoc(function) or "",
        metadata=metadata,
    )


def place_of_function(function: Callable[..., Any]) -> str:
    """The file, the line and the name of a function."""
    code = getattr(_plain(function), "__code__", None)
    name = getattr(function, "__name__", repr(function))
    return f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}: {name}()" if code else f"{name}()"


_ABSENT = object()


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    unwrapped = inspect.unwrap(function)
    plain: Callable[..., Any] = getattr(unwrapped, "__func__", unwrapped)
    return plain


def _parameters(
    function: Callable[..., Any], hints: Mapping[str, Any], where: str
) -> tuple[object, bool, bool, bool]:
    """The request's type, whether it is a stream, whether the L{Call} comes first, and whether it comes at all."""
    request: object = _ABSENT
    client_streaming = call_first = wants_call = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            if parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY:
                raise SchemaError(f"{where}: nothing would give a value to {parameter.name}")
            continue
        hint = hints.get(parameter.name, _ABSENT)
        if hint is Call:
            wants_call, call_first = True, request is _ABSENT
        elif request is not _ABSENT:
            if parameter.default is parameter.empty:
                raise SchemaError(
                    f"{where}: {parameter.name} is one too many; an endpoint takes a request and a Call"
                )
        elif hint is _ABSENT:
            raise SchemaError(f"{where}: {parameter.name} has no annotation; say which message it is")
        elif typing.get_origin(hint) in _ASYNC_STREAMS:
            request, client_streaming = typing.get_args(hint)[0], True
        else:
            request = hint
    return request, client_streaming, call_first, wants_call


def _returned(function: Callable[..., Any], hint: object, where: str) -> tuple[object, Style]:
    """The type of the reply or of each, and how the function runs."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    plain = _plain(function)
    if origin in _ASYNC_STREAMS:
        if inspect.iscoroutinefunction(plain):
            raise SchemaError(f"{where} says that it streams, and yields nothing")
        return args[0], Style.ASYNC_STREAM
    if inspect.isasyncgenfunction(plain):
        raise SchemaError(f"{where} yields; its annotation is 'AsyncIterator[{called(hint)}]'")
    if inspect.iscoroutinefunction(plain):
        return hint, Style.COROUTINE
    if inspect.isgeneratorfunction(plain) and not inspect.isgeneratorfunction(function):
        # Twisted's inlineCallbacks makes a function that returns a Deferred of what the generator returns.
        return args[2] if len(args) == 3 else hint, Style.DEFERRED
    if origin in _STREAMS:
        return args[0], Style.THREAD_STREAM
    if inspect.isgeneratorfunction(plain):
        raise SchemaError(f"{where} yields; its annotation is 'Iterator[{called(hint)}]'")
    if origin is Deferred or hint is Deferred:
        if not args:
            raise SchemaError(f"{where} returns a Deferred of what? Write 'Deferred[HelloReply]'")
        return args[0], Style.DEFERRED
    if origin in (collections.abc.Awaitable, collections.abc.Coroutine):
        return args[-1], Style.COROUTINE
    return hint, Style.THREAD


def _message(kind: object, where: str) -> type | None:
    if kind is None or kind is type(None):
        return None
    if isinstance(kind, type) and (is_message(kind) or is_dataclass(kind)):
        return kind
    raise SchemaError(f"{where}: {called(kind)} is neither a dataclass nor a protobuf message")
