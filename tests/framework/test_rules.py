"""Rules, followed by a service that is reached past the daemon's doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.framework import Service
from microd.framework.bridge import NoBridge
from microd.framework.client import Client
from microd.framework.failures import micro_error
from microd.framework.identity import Credentials
from microd.framework.node import grpc_server
from microd.framework.rules import AT_MOST_EVERY, EVERY, Rules, rule_from
from microd.framework.workers import AtOnce
from microd.kernel.errors import Forbidden, MicroError, Unauthorized, Unavailable
from microd.kernel.rules import Resource, Rule
from microd.services.auth.rpc import rule_message
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.txgrpc import Channel, RpcError
from microd.txgrpc.health import Health
from microd.txgrpc.memory import connect
from microd.wire import auth_pb2

MEMBERS = Rule("members", "*", Resource(), granted=True)
STAFF = Rule("staff", "staff", Resource("service", "greeter", "Greeter.Hello"), granted=True, priority=5)


@dataclass
class Text:
    text: str = ""


class Reached:
    """A service beside a daemon in memory, and a caller who has found its port."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.daemon = FakeDaemon(self.clock)
        self.daemon.accounts["crew", "greeter"] = self.daemon.accounts["crew", "ada"] = "secret"
        identity = Credentials("greeter", "secret", "crew")
        self.client = Client(
            Channel(self.daemon.endpoint, self.clock),
            lambda: identity,
            self.clock.seconds,
            namespace="crew",
            table="greeter",
        )
        self.rules = Rules("greeter", self.client, self.clock)
        self.server = grpc_server(
            greeter(),
            greeter().published(),
            AtOnce(),
            NoBridge(),
            self.client,
            Health(),
            self.clock,
            None,
            self.rules,
        )
        self.port = connect(self.server, self.clock)

    def token(self, namespace: str, id: str, secret: str = "secret") -> str:
        """Somebody's token, got from the daemon."""
        request = auth_pb2.TokenRequest(id=id, secret=secret, token_expiry=600)
        request.options.namespace = namespace
        reply = done(self.client.ask("/auth.Auth/Token", request, auth_pb2.TokenResponse, token=""))
        return reply.token.access_token

    def call(self, path: str = "Greeter/Hello", token: str = "", **metadata: str) -> Any:
        """Call the service's own port."""
        given = {name.replace("_", "-"): value for name, value in metadata.items()}
        if token:
            given["authorization"] = f"Bearer {token}"

        async def read() -> list[bytes]:
            method = f"/greeter.{path}"
            if path not in ("Greeter/Count", "Debug/Log"):
                return [await self.port.unary_unary(method)(b"", metadata=given)]
            return [reply async for reply in self.port.unary_stream(method)(b"", metadata=given)]

        answer = Deferred.fromCoroutine(read())
        if not answer.called:
            self.clock.advance(AT_MOST_EVERY)
        try:
            return done(answer)
        except RpcError as problem:
            raise micro_error(problem) from None

    def asked(self, path: str) -> int:
        """How often the daemon was asked for something."""
        return sum(asked == path for asked, _ in self.daemon.calls)

    def keep(self, *rules: Rule) -> None:
        """Have the daemon keep other rules."""
        self.daemon.rules = [rule_message(rule) for rule in rules]


def greeter() -> Service:
    """A service with something of each sort."""
    service = Service("greeter", environ={})

    @service.endpoint
    async def hello(request: Text) -> Text:
        return Text("hello")

    @service.endpoint
    def plain(request: Text) -> Text:
        return Text("hello")

    @service.endpoint
    async def count(request: Text) -> AsyncIterator[Text]:
        yield Text("one")
        yield Text("two")

    return service


@pytest.fixture
def reached() -> Reached:
    """A service that knows the rules, which are those of a new namespace."""
    found = Reached()
    done(found.rules.begin())
    return found


PATHS = ["Greeter/Hello", "Greeter/Plain", "Greeter/Count", "Debug/Stats", "Debug/Log"]


@pytest.mark.parametrize("path", PATHS[:-1])  # a log is for accounts in any case
def test_open(reached: Reached, path: str) -> None:
    """In a new namespace everybody may call, and nobody is asked whose token that is."""
    assert reached.call(path) is not None
    assert reached.call(path, "whatever") is not None
    assert reached.asked("/auth.Auth/Inspect") == 0


@pytest.mark.parametrize("path", PATHS)
def test_closed(reached: Reached, path: str) -> None:
    """Where only accounts of the namespace may call, others are turned away at the service's own port too."""
    reached.keep(MEMBERS)
    reached.clock.advance(EVERY)
    name = path.replace("/", ".")
    why = "no rule of namespace crew allows it; see `micro auth list rules --namespace crew`"
    for token in ("", "token-of-nobody"):
        with pytest.raises(Unauthorized, match=f"Unauthorized call made to greeter:{name}: {why}"):
            reached.call(path, token)
    stranger = reached.token("micro", "admin", "admin-secret")
    with pytest.raises(Forbidden, match=f"Forbidden call made to greeter:{name} by admin: {why}"):
        reached.call(path, stranger)
    member = reached.token("crew", "ada")
    for _ in range(3):
        assert reached.call(path, member) is not None


def test_unreadable(reached: Reached) -> None:
    """An authorization that cannot be read is refused in the reference's words."""
    for wrong, detail in (("Basic x", "Incorrect format"), ("Digest x", "expected Bearer schema")):
        with pytest.raises(Unauthorized, match=f"invalid authorization header. {detail}"):
            reached.call(authorization=wrong)


def test_the_highest_decides(reached: Reached) -> None:
    """Priorities, scopes and denials mean what they mean at the doors."""
    denied = Rule("nobody", "", Resource("service", "greeter", "Greeter.Hello"), granted=False, priority=1)
    reached.keep(MEMBERS, denied, STAFF)
    reached.clock.advance(EVERY)
    with pytest.raises(Forbidden, match="rule `nobody` of namespace crew"):
        reached.call(token=reached.token("crew", "ada"))
    assert reached.call("Greeter/Plain", reached.token("crew", "ada"))


def test_a_grant_holds_at_once(reached: Reached) -> None:
    """Before somebody is turned away the service asks again, so that whoever may by now gets in."""
    reached.keep()
    reached.clock.advance(EVERY)
    with pytest.raises(Unauthorized):
        reached.call()
    reached.keep(Rule("all", "", Resource(), granted=True))
    assert reached.call()


def test_many_who_may_not(reached: Reached) -> None:
    """However many are turned away, they make the service ask a few times a second only, and nobody else is delayed."""
    reached.keep(STAFF)
    reached.daemon.scopes["crew", "ada"] = ["staff"]
    reached.clock.advance(EVERY)
    ada = reached.token("crew", "ada")
    assert reached.call(token=ada)
    before = reached.asked("/auth.Rules/List")
    calls = [reached.port.unary_unary("/greeter.Greeter/Hello")(b"") for _ in range(50)]
    for call in calls:
        call.addErrback(lambda _: None)
    assert reached.asked("/auth.Rules/List") == before
    inspected = reached.asked("/auth.Auth/Inspect")
    assert reached.call(token=ada)
    reached.clock.advance(AT_MOST_EVERY)
    assert all(call.called for call in calls)
    assert reached.asked("/auth.Rules/List") == before + 1
    assert reached.call(token=ada)
    assert reached.asked("/auth.Auth/Inspect") == inspected


def test_caller_gone(reached: Reached) -> None:
    """Who gives up while the rules are fetched for him takes nothing from those who wait for the same."""
    reached.keep()
    reached.clock.advance(EVERY)
    first = reached.port.unary_unary("/greeter.Greeter/Hello")(b"")
    second = reached.port.unary_unary("/greeter.Greeter/Hello")(b"")
    reached.keep(Rule("all", "", Resource(), granted=True))
    first.cancel()
    first.addErrback(lambda _: None)
    reached.clock.advance(AT_MOST_EVERY)
    assert done(second)


def test_a_denial_holds_soon(reached: Reached) -> None:
    """What is closed now was open for no longer than the time between two questions."""
    assert reached.call()
    reached.keep()
    assert reached.call()
    reached.clock.advance(EVERY)
    with pytest.raises(Unauthorized):
        reached.call()


def test_remembered(reached: Reached) -> None:
    """Whose a token is, is asked once for all endpoints, and no more while that holds."""
    reached.keep(MEMBERS)
    reached.clock.advance(EVERY)
    token = reached.token("crew", "ada")
    for _ in range(5):
        for path in PATHS:
            reached.call(path, token)
    assert reached.asked("/auth.Auth/Inspect") == 1


def test_revoked(reached: Reached) -> None:
    """A token that is void by now is good for some seconds at most."""
    reached.keep(MEMBERS)
    reached.clock.advance(EVERY)
    token = reached.token("crew", "ada")
    assert reached.call(token=token)
    reached.daemon.revoke()
    reached.client.tokens.forget(reached.client.tokens.ready() or "")
    reached.clock.advance(EVERY)
    with pytest.raises(Unauthorized, match="no rule of namespace crew"):
        reached.call(token=token)


def test_never_known() -> None:
    """As long as the rules were never known nobody gets in, and from then on whoever may."""
    reached = Reached()
    reached.daemon.endpoint.refusing = True
    done(reached.rules.begin())
    for path in PATHS:
        with pytest.raises(Unavailable, match="greeter does not know the rules of crew yet: try again"):
            reached.call(path)
    reached.daemon.endpoint.refusing = False
    reached.clock.advance(EVERY)
    assert reached.call()


def test_known_from_before(reached: Reached, log: list[dict[str, Any]]) -> None:
    """While the daemon is away the rules of before hold, and the log says so once."""
    reached.keep(MEMBERS)
    reached.clock.advance(EVERY)
    member = reached.token("crew", "ada")
    assert reached.call(token=member)
    reached.daemon.endpoint.refusing = True
    reached.daemon.restart()
    for _ in range(3):
        reached.clock.advance(EVERY)
    with pytest.raises(Unauthorized):
        reached.call()
    said = [event for event in log if "cannot be fetched" in event.get("log_format", "")]
    assert [event["instead"] for event in said] == ["those of before hold"]


def test_whose_is_unknown(reached: Reached) -> None:
    """A token that nobody can be asked about is neither believed nor taken for nobody's."""
    reached.keep(MEMBERS)
    reached.clock.advance(EVERY)
    token = reached.token("crew", "ada")
    reached.daemon.endpoint.refusing = True
    reached.daemon.restart()
    with pytest.raises(Unavailable, match="greeter cannot ask whose token that is"):
        reached.call(token=token)


def test_everywhere(reached: Reached) -> None:
    """Who administers the platform may call services of all namespaces at once; nobody else may by saying so."""
    reached.keep()
    reached.clock.advance(EVERY)
    for token in ("", reached.token("crew", "ada")):
        with pytest.raises(MicroError):
            reached.call(token=token, micro_namespace="*")
    reached.daemon.scopes["micro", "admin"] = ["admin"]
    assert reached.call(token=reached.token("micro", "admin", "admin-secret"), micro_namespace="*")


TOOLS = ("/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")


@pytest.mark.parametrize("path", PATHS)
def test_another_namespace(reached: Reached, path: str) -> None:
    """A call that was routed in another namespace is refused, also when just such a one was let in, and by admins too."""
    reached.daemon.scopes["micro", "admin"] = ["admin"]
    for token in ("", reached.token("crew", "ada"), reached.token("micro", "admin", "admin-secret")):
        if token or path != "Debug/Log":
            assert reached.call(path, token, micro_namespace="crew") is not None
        for asked in ("other", "micro", "crew,other", "Crew", "crewx"):
            with pytest.raises(Forbidden, match=f"this node of greeter is not the namespace {asked}'s") as no:
                reached.call(path, token, micro_namespace=asked)
            assert no.value.code == 403
            assert "crew" not in no.value.detail.replace(asked, "")
        if token or path != "Debug/Log":
            assert reached.call(path, token, micro_namespace="crew") is not None
            assert reached.call(path, token) is not None


@pytest.mark.parametrize("path", TOOLS)
def test_tools_of_another_namespace(reached: Reached, path: str) -> None:
    """What tools ask is not answered in another namespace either."""

    async def ask(metadata: dict[str, str]) -> list[bytes]:
        async with reached.port.stream_stream(path)(metadata=metadata) as stream:
            await stream.write(b"")
            await stream.done_writing()
            return [reply async for reply in stream]

    for asked in ({}, {"micro-namespace": "crew"}, {"micro-namespace": "*"}):
        assert len(done(Deferred.fromCoroutine(ask(asked)))) == 1
    with pytest.raises(RpcError, match="is not the namespace other's"):
        done(Deferred.fromCoroutine(ask({"micro-namespace": "other"})))


def test_same_headers(reached: Reached) -> None:
    """Calls with the very same headers are let in once in each era of the rules, and not at all once that is over."""
    member = reached.token("crew", "ada")
    assert reached.call(token=member)
    assert reached.call(token=member)
    reached.keep(Rule("nobody", "*", Resource(), granted=False))
    reached.clock.advance(EVERY)
    for _ in range(2):
        with pytest.raises(Forbidden):
            reached.call(token=member)


def test_end(reached: Reached) -> None:
    """A service that has stopped asks no more."""
    reached.rules.end()
    before = reached.asked("/auth.Rules/List")
    reached.clock.advance(EVERY * 3)
    assert reached.asked("/auth.Rules/List") == before


def test_unknown_access() -> None:
    """A rule that neither grants nor denies denies."""
    message = rule_message(STAFF)
    assert rule_from(message) == STAFF
    message.access = auth_pb2.UNKNOWN
    assert not rule_from(message).granted
