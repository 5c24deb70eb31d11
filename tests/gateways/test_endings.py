"""Streams that are open at a gRPC door end with the rights of whoever made them; others go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused

from microd.gateways.endings import AT_ONCE, MOMENT
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Forbidden, MicroError
from microd.services.auth.model import Resource
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode
from microd.wire.auth_pb2 import InspectRequest, InspectResponse

WATCH, INSPECT, CHAT = "/core.Core/Watch", "/core.Core/Inspect", "/core.Core/Chat"
TICK, HELLO, TALK = "/clock.Clock/Tick", "/clock.Clock/Hello", "/clock.Clock/Talk"
WAYS = {WATCH: "unary_stream", CHAT: "stream_stream", TICK: "unary_stream", TALK: "stream_stream"}


class Source:
    """Says what it is told to say, to all who listen, be it as a core service or as a user's."""

    def __init__(self) -> None:
        self.listening: list[Deferred[str]] = []
        self.left = 0

    def say(self, word: str) -> None:
        """Tell all; an empty word ends their streams."""
        listening, self.listening = self.listening, []
        for each in listening:
            each.callback(word)

    async def words(self) -> AsyncGenerator[bytes, None]:
        """What it says."""
        try:
            while word := await self.next():
                yield word.encode()
        finally:
            self.left += 1

    async def next(self) -> str:
        """The next word."""
        waiting: Deferred[str] = Deferred()
        self.listening.append(waiting)
        return await waiting

    async def inspect(self, request: InspectRequest, caller: Caller) -> InspectResponse:
        """Answer when something is said."""
        return reply(await self.next())

    async def watch(self, request: object, caller: Caller) -> AsyncIterator[InspectResponse]:
        """Answer whenever something is said."""
        async with aclosing(self.words()) as words:
            async for word in words:
                yield reply(word.decode())

    async def hello(self, request: bytes, call: ServerCall) -> bytes:
        """Answer when something is said."""
        return (await self.next()).encode()

    async def tick(self, request: object, call: ServerCall) -> AsyncIterator[bytes]:
        """Answer whenever something is said."""
        async with aclosing(self.words()) as words:
            async for word in words:
                yield word

    def endpoints(self) -> list[Endpoint]:
        """As a core service."""
        kinds = InspectRequest, InspectResponse
        return [
            Endpoint(WATCH, *kinds, self.watch, server_streaming=True),
            Endpoint(CHAT, *kinds, self.watch, client_streaming=True, server_streaming=True),
            Endpoint(INSPECT, *kinds, self.inspect),
        ]

    def methods(self) -> dict[str, Method]:
        """As a user's service."""
        return {
            TICK: Method("unary_stream", self.tick),
            TALK: Method("stream_stream", self.tick),
            HELLO: Method("unary_unary", self.hello),
        }


def reply(word: str) -> InspectResponse:
    """A core service's answer."""
    return InspectResponse(account={"id": word})


class Heard:
    """Somebody's stream: what came, and how it ended."""

    def __init__(self, town: Any, path: str, token: str, metadata: dict[str, str] | None = None) -> None:
        self.words: list[str] = []
        self.error: Any = None
        self.over = False
        metadata = {"authorization": f"Bearer {token}"} | (metadata or {})
        method = getattr(town.client, WAYS[path])(path)
        call = method(metadata=metadata) if WAYS[path] == "stream_stream" else method(b"", metadata=metadata)
        Deferred.fromCoroutine(self._listen(call)).addErrback(self._failed)

    async def _listen(self, call: Any) -> None:
        async for each in call:
            self.words.append(each.decode("latin-1").strip("\n\0").rpartition("\x03")[2])
        self.over = True

    def _failed(self, failure: Any) -> None:
        self.over, self.error = True, failure.value

    @property
    def refusal(self) -> tuple[StatusCode, int, str]:
        """How it was ended."""
        assert isinstance(self.error, RpcError), (self.error, self.over)
        told = MicroError.from_json(self.error.message)
        assert told is not None, self.error.message
        return self.error.code, told.code, told.detail


@pytest.fixture
def source() -> Iterator[Source]:
    """What is listened to."""
    source = Source()
    yield source
    source.say("")


@pytest.fixture
def town(source: Source, make_town: Any) -> Any:
    """A door in front of it, twice."""
    town = make_town(source.endpoints())
    town.settle("clock", source.methods())
    town.settle("clock", source.methods(), "foo")
    return town


Listen = Callable[..., Heard]


@pytest.fixture
def listen(town: Any) -> Listen:
    """Opens streams."""
    return lambda path, token, **metadata: Heard(town, path, token, metadata)


GONE = (
    StatusCode.UNAUTHENTICATED,
    401,
    "the account ada was revoked: log in again",
)


def revoke(town: Any) -> None:
    """Delete Ada."""
    del town.auth.tokens["user"]
    town.door.endings.revoked("micro", "ada")
    town.clock.advance(0)


class Closed:
    """An authority which lets nobody call an endpoint any more."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __call__(self, account: Account | None, namespace: str, resource: Resource) -> None:
        if resource.endpoint == self._endpoint:
            raise Forbidden("rule `closed`")


@pytest.mark.parametrize("path", [WATCH, CHAT, TICK, TALK])
def test_revoked(town: Any, source: Source, listen: Listen, path: str) -> None:
    """An open stream ends when its account is gone, and with it what answered; another account's goes on."""
    theirs, other = listen(path, "user"), listen(path, "root")
    source.say("one")
    revoke(town)
    source.say("two")
    assert (theirs.words, theirs.refusal) == (["one"], GONE)
    assert (other.words, other.over, source.left) == (["one", "two"], False, 1)


@pytest.mark.parametrize("path", [WATCH, CHAT, TALK])
def test_revoked_in_silence(town: Any, listen: Listen, path: str) -> None:
    """What is a stream for sure ends at once, though nothing has come on it yet."""
    theirs = listen(path, "user")
    revoke(town)
    assert theirs.refusal == GONE


@pytest.mark.parametrize("path", [INSPECT, HELLO])
def test_unary_calls_finish(town: Any, source: Source, path: str) -> None:
    """A unary call in flight gets its answer, however long it takes."""
    found: list[Any] = []
    call = town.client.unary_unary(path)(b"", metadata={"authorization": "Bearer user"})
    call.addBoth(found.append)
    revoke(town)
    town.clock.advance(10 * MOMENT)
    assert found == []
    source.say("done")
    assert found[0].endswith(b"done")


def test_relayed_in_silence(town: Any, source: Source, listen: Listen) -> None:
    """A relayed stream that might have been a unary call tells nothing, and ends a moment after its first reply."""
    theirs = listen(TICK, "user")
    revoke(town)
    town.clock.advance(10 * MOMENT)
    assert not theirs.over
    source.say("one")
    assert (theirs.words, theirs.over) == ([], False)
    town.clock.advance(MOMENT)
    town.clock.advance(0)
    assert (theirs.words, theirs.refusal, source.left) == ([], GONE, 1)


def test_relayed_chatter(town: Any, source: Source, listen: Listen) -> None:
    """It ends with its second reply, if that comes before."""
    theirs = listen(TICK, "user")
    revoke(town)
    source.say("one")
    source.say("two")
    assert (theirs.words, theirs.refusal) == ([], GONE)


def test_nothing_is_left(town: Any, source: Source, listen: Listen) -> None:
    """Once all is over nothing waits: the door's clock is at rest."""
    theirs = listen(TICK, "user")
    revoke(town)
    source.say("")
    town.clock.advance(MOMENT)
    town.clock.advance(0)
    assert (theirs.over, theirs.error) == (True, None)
    pending = [each.func for each in town.clock.getDelayedCalls()]
    assert not [each for each in pending if "Endings" in each.__qualname__]


@pytest.mark.parametrize(("path", "endpoint"), [(WATCH, "Core.Watch"), (TICK, "Clock.Tick")])
def test_rule(town: Any, source: Source, listen: Listen, path: str, endpoint: str) -> None:
    """A rule that closes an endpoint ends what is open there, with its text; other endpoints are unharmed."""
    theirs, other = listen(path, "user"), listen(TALK, "user")
    source.say("one")
    town.auth.authorize = Closed(endpoint)
    town.door.endings.ruled("micro")
    town.clock.advance(0)
    source.say("two")
    assert (theirs.words, theirs.refusal) == (
        ["one"],
        (StatusCode.PERMISSION_DENIED, 403, "rule `closed`"),
    )
    assert (other.words, other.over) == (["one", "two"], False)


def test_rule_of_another_namespace(town: Any, source: Source, listen: Listen) -> None:
    """A namespace's rules end only what is open there; those of the platform, only its own and its namespace's."""
    ours, theirs, core = listen(TICK, "user"), listen(TICK, "foo"), listen(WATCH, "foo")
    source.say("one")
    town.auth.refusal = Forbidden("rule `closed`")
    town.door.endings.ruled("foo")
    town.clock.advance(0)
    assert (ours.over, theirs.over, core.over) == (False, True, False)
    town.door.endings.ruled("micro")
    town.clock.advance(0)
    assert (ours.over, core.over) == (True, True)


def test_ended_token(town: Any, source: Source, listen: Listen) -> None:
    """A token that ends, and no more, ends no stream which it let in, whatever else changes."""
    theirs = listen(WATCH, "user"), listen(TICK, "user")
    source.say("one")
    del town.auth.tokens["user"]
    town.door.endings.ruled("micro")
    town.door.endings.revoked("micro", "bob")
    town.door.endings.revoked("foo", "ada")
    town.clock.advance(0)
    source.say("two")
    assert [each.words for each in theirs] == [["one", "two"]] * 2


def test_many(town: Any, source: Source, listen: Listen) -> None:
    """Many streams end over several turns, so that others have theirs; who comes meanwhile with a new token stays."""
    town.auth.tokens["new"] = town.auth.tokens["user"]
    theirs = [listen(TICK, "user") for _ in range(90)]
    source.say("one")
    seen: list[int] = []
    new: list[Heard] = []

    def between() -> None:
        seen.append(sum(each.over for each in theirs))
        new.append(listen(TICK, "new"))

    town.door.endings.revoked("micro", "ada")
    town.clock.callLater(0, between)
    assert not any(each.over for each in theirs)
    town.clock.advance(0)
    source.say("two")
    assert seen == [AT_ONCE]
    assert [each.refusal for each in theirs] == [GONE] * 90
    assert (new[0].words, new[0].over) == (["two"], False)


class Far:
    """Where a node is that has not been reached yet."""

    def __init__(self) -> None:
        self.reached: Deferred[Any] = Deferred()

    def connect(self, factory: object) -> Deferred[Any]:
        """Wait."""
        return self.reached


def test_not_reached_yet(town: Any, source: Source) -> None:
    """A call that its account may make no more does not go on to the next node."""
    town.services["micro", "clock"] *= 2
    far = town.endpoints[town.services["micro", "clock"][0].address] = Far()
    found: list[Any] = []
    town.client.unary_unary(HELLO)(b"", metadata={"authorization": "Bearer user"}).addBoth(found.append)
    revoke(town)
    far.reached.errback(Refused())
    assert found[0].value.code is StatusCode.UNAUTHENTICATED
