"""What an author's function is subscribed to, and on which terms.

::

    @service.subscribe("news")                       # the broker: every copy of the service gets every message
    @service.subscribe("news.*", queue="mail")       # the broker: one copy of those with this queue gets each message
    @service.subscribe("orders", group="billing")    # events: kept until one copy of the group has dealt with them
    @service.subscribe("orders", ephemeral=True)     # events: every copy gets all of them from its start on
    async def bill(order: Order, message: Message) -> None:
        ...

The function is C{async def}, or returns a C{Deferred}, or is a plain C{def}, which runs in a thread. Its first parameter is the
message, as its annotation says: a dataclass, a protobuf message, C{dict}, C{list}, C{str}, C{bytes} or C{Any}. A parameter annotated
L{Message} gets the topic, the headers and the rest.

Events are acknowledged after the function returned. One that raises makes its event come again: after C{backoff} seconds, then
twice as long each time, up to C{backoff_max}, C{retries} times; after that it goes to the dead letters, the topic C{orders.dlq}, with the
error. So it is with every error, also with a C{BadRequest} or a C{NotFound}: what is missing now may be there in a minute. C{raise Drop("why")}
says that it will not: then the event goes to the dead letters at once, as does one whose payload is not what is wanted. While an event waits to
come again its group gets no new ones.

An event comes once more than it should where a process or a connection ends between the work and its acknowledgement. While a connection is
lost, functions which are at work go on, are not called again for the same event by this process, and are acknowledged over the next connection.

What waits to come again, and what is not begun when a service stops, goes to whichever copy of the group is there. On the broker nothing comes
again: a message whose function fails is lost, and where it has a C{Reply-To} (requests of NATS clients), what the function returns is published there.
"""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from twisted.internet.defer import Deferred

from microd.framework.handlers import Style, place_of_function
from microd.framework.messages.model import Message
from microd.framework.messages.payloads import Decode, decoder
from microd.framework.messages.questions import is_pattern
from microd.framework.messages.terms import Terms, checked_terms
from microd.framework.schema.annotations import hints_of
from microd.framework.schema.shapes import SchemaError, is_message

#: The longest name of a topic on the broker, and of a topic of events or a group, in bytes.
LONGEST_TOPIC, LONGEST_NAME = 255, 100
#: How many functions of one subscription may run at once, at most.
MOST_AT_ONCE = 1000
#: With keys, so many times more events than can run are fetched, lest those of one key fill all places.
AHEAD = 4

Key = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What C{@service.subscribe} was given.

    @ivar terms: for events; C{None}: it is the broker's.
    @ivar key: the name of a field, or a function of the message.
    """

    topic: str
    queue: str
    terms: Terms | None
    concurrency: int
    key: str | Key | None
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One subscribed function.

    @ivar name: C{Struct.Function}, as spans and the log call it.
    @ivar key: of a message: what must be in order among those of the same key; C{None}: nothing must.
    @ivar wants_message: the function takes a L{Message}, before the value if C{message_first}.
    """

    name: str
    where: str
    function: Callable[..., Any]
    style: Style
    wish: Wish
    decode: Decode
    key: Key | None
    wants_value: bool
    wants_message: bool
    message_first: bool
    kind: Any = None
    doc: str = ""

    def arguments(self, value: object, message: Message) -> tuple[object, ...]:
        """What the function is called with."""
        if not self.wants_message:
            return (value,)
        if not self.wants_value:
            return (message,)
        return (message, value) if self.message_first else (value, message)


def wish_of(
    topic: str,
    queue: str,
    group: str,
    ephemeral: bool,
    concurrency: int,
    key: str | Key | None,
    timeout: float | None,
    **terms: Any,
) -> Wish:
    """What is wished for.

    @param terms: of L{Terms}, for events; C{None} for what the author left out.
    @raise ValueError: it cannot be; the text says why.
    """
    if sum((bool(queue), bool(group), ephemeral)) > 1:
        raise ValueError(
            "give one of queue= (the broker), group= (events) and ephemeral=True (events), or none (the broker)"
        )
    if not isinstance(concurrency, int) or not 1 <= concurrency <= MOST_AT_ONCE:
        raise ValueError(f"concurrency is 1 to {MOST_AT_ONCE}, not {concurrency!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a number of seconds, more than 0, not {timeout!r}")
    if key is not None and not callable(key) and not (isinstance(key, str) and key):
        raise ValueError(f"key is the name of a field, or a function of the message, not {key!r}")
    given = {name: value for name, value in terms.items() if value is not None}
    if not group and not ephemeral:
        _require("the topic", topic, LONGEST_TOPIC)
        if queue:
            _require("the queue", queue, LONGEST_TOPIC)
        if given:
            raise ValueError(
                f"{next(iter(given))}= is for events, which are kept and come again: give group= or ephemeral=True"
            )
        return Wish(topic, queue, None, concurrency, key, timeout)
    _require("the topic", topic, LONGEST_NAME)
    if is_pattern(topic):
        raise ValueError(f"{topic!r}: events are subscribed to by topic, without wildcards")
    if group:
        _require("the group", group, LONGEST_NAME)
        if group.startswith("$"):
            raise ValueError(f"the group {group!r}: names that begin with '$' are the platform's")
    given.setdefault("start", "earliest" if group else "latest")
    in_flight = concurrency if key is None else min(MOST_AT_ONCE, AHEAD * concurrency)
    wanted = checked_terms(Terms(topic, group, in_flight=in_flight, **given))
    return Wish(topic, "", wanted, concurrency, key, timeout)


def subscriber_of(
    function: Callable[..., Any], name: str, wish: Wish, names: Mapping[str, object]
) -> Subscriber:
    """Read a function's signature.

    @param names: what annotations may name besides the globals of the function's module.
    @raise SchemaError: it cannot be subscribed; the text says where it is, and why.
    @raise NameError: an annotation names something that is not defined yet.
    """
    where = place_of_function(function)
    hints = hints_of(_plain(function), names)
    kind, wants_message, message_first = _parameters(function, hints, where)
    wants_value = kind is not _ABSENT
    if not wants_value and not wants_message:
        raise SchemaError(
            f"{where} takes nothing: give it a parameter for the message, such as 'order: Order'"
        )
    try:
        decode = decoder(kind if wants_value else bytes, names)
    except SchemaError as problem:
        said = str(problem)
        raise (problem if _has_place(said) else SchemaError(f"{where}: {said}")) from None
    return Subscriber(
        name=name,
        where=where,
        function=function,
        style=_style(function, hints.get("return", Any), where),
        wish=wish,
        decode=decode,
        key=_key(wish.key, kind, where),
        wants_value=wants_value,
        wants_message=wants_message,
        message_first=message_first,
        kind=kind if wants_value else None,
        doc=inspect.getdoc(function) or "",
    )


_ABSENT: Any = object()


def _require(what: str, text: object, longest: int) -> None:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} is missing")
    if len(text.encode()) > longest:
        raise ValueError(f"{what} is longer than {longest} bytes")
    if not text.isprintable():
        raise ValueError(f"{what} {text!r} has characters in it which cannot be printed")


def _has_place(said: str) -> bool:
    return f"{os.sep}" in said.partition(":")[0] or said.partition(":")[0].endswith(".py")


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    unwrapped = inspect.unwrap(function)
    plain: Callable[..., Any] = getattr(unwrapped, "__func__", unwrapped)
    return plain


def _parameters(function: Callable[..., Any], hints: Mapping[str, Any], where: str) -> tuple[Any, bool, bool]:
    """The message's type, whether the L{Message} is wanted, and whether it comes first."""
    kind: Any = _ABSENT
    wants_message = message_first = False
    for parameter in inspect.signature(function).parameters.values():
        optional = parameter.default is not parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            if parameter.kind is parameter.KEYWORD_ONLY and not optional:
                raise SchemaError(f"{where}: nothing would give a value to {parameter.name}")
            continue
        hint = hints.get(parameter.name, _ABSENT)
        if hint is Message:
            if wants_message:
                raise SchemaError(f"{where} takes the Message twice")
            wants_message, message_first = True, kind is _ABSENT
        elif kind is not _ABSENT:
            if not optional:
                raise SchemaError(
                    f"{where}: {parameter.name} is one too many; a subscriber takes what was published, and a Message"
                )
        elif hint is _ABSENT:
            raise SchemaError(
                f"{where}: {parameter.name} has no annotation; say what is published, such as 'order: Order'"
            )
        else:
            kind = hint
    return kind, wants_message, message_first


def _style(function: Callable[..., Any], returned: Any, where: str) -> Style:
    plain = _plain(function)
    origin = typing.get_origin(returned) or returned
    if inspect.isasyncgenfunction(plain):
        raise SchemaError(f"{where} yields; a subscriber returns")
    if inspect.iscoroutinefunction(plain):
        return Style.COROUTINE
    if inspect.isgeneratorfunction(plain):
        if not inspect.isgeneratorfunction(function):
            return Style.DEFERRED  # of Twisted's inlineCallbacks
        raise SchemaError(f"{where} yields; a subscriber returns")
    if origin is Deferred:
        return Style.DEFERRED
    return Style.COROUTINE if origin in (Awaitable, Coroutine, Generator) else Style.THREAD


def _key(key: str | Key | None, kind: Any, where: str) -> Key | None:
    """What tells the key of a message."""
    if key is None or callable(key):
        return key
    plain = typing.get_origin(kind) or kind
    if isinstance(plain, type) and is_dataclass(plain):
        known = {each.name for each in fields(plain)}
    elif isinstance(plain, type) and is_message(plain):
        known = set(plain.DESCRIPTOR.fields_by_name)
    elif plain is dict or kind is Any:
        return _item(key)
    else:
        raise SchemaError(f"{where}: key={key!r} names a field, and the message has none; give a function")
    if key not in known:
        raise SchemaError(f"{where}: key={key!r} is no field of {plain.__name__}: {', '.join(sorted(known))}")
    return _attribute(key)


def _attribute(name: str) -> Key:
    return lambda value: getattr(value, name)


def _item(name: str) -> Key:
    return lambda value: value.get(name) if isinstance(value, dict) else None
