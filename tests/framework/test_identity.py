"""Who a service is, and how it stays somebody."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from microd.framework.client import Client
from microd.framework.identity import Credentials, Identity, Nobody, OwnDaemon, identity_of
from microd.kernel.errors import BadRequest, Unauthorized
from microd.testing.daemon import FakeDaemon
from microd.testing.outcome import done
from microd.txgrpc.memory import connect
from microd.wire import auth_pb2


class World:
    """A daemon in memory, and a client of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(self.clock)

    def client(self, identity: Identity) -> Client:
        """A client with an identity."""
        channel = connect(self.daemon.server, self.clock)
        return Client(channel, lambda: identity, self.clock.seconds, namespace="micro", table="t")

    def paths(self) -> list[str]:
        """What was called, in order."""
        return [path.removeprefix("/auth.") for path, _ in self.daemon.calls]


@pytest.fixture
def world() -> World:
    """A fresh daemon."""
    return World()


def fetched(client: Client) -> str:
    """The token that a client shows now."""
    return client.tokens.ready() or done(Deferred.fromCoroutine(client.tokens.fetch()))


def test_credentials(world: World) -> None:
    """Credentials are exchanged for a token, which is kept while it is good."""
    world.daemon.accounts["micro", "a"] = "s"
    client = world.client(Credentials("a", "s", "micro"))
    assert fetched(client) == "token-a-0"
    world.clock.advance(500)
    assert fetched(client) == "token-a-0"
    assert world.paths() == ["Auth/Token"]


def test_renewal(world: World) -> None:
    """A token is renewed in its last minute, with its refresh token."""
    world.daemon.accounts["micro", "a"] = "s"
    client = world.client(Credentials("a", "s", "micro"))
    fetched(client)
    world.daemon.accounts.clear()
    world.clock.advance(541)
    assert fetched(client) == "token-a-1"


def test_renewal_after_long(world: World) -> None:
    """Where the refresh token is refused, as after a long sleep, the credentials serve again."""
    world.daemon.accounts["micro", "a"] = "s"
    client = world.client(Credentials("a", "s", "micro"))
    fetched(client)
    world.daemon.revoke()
    world.clock.advance(36_000)
    assert fetched(client) == "token-a-0"
    assert world.paths() == ["Auth/Token"] * 3


def test_one_fetch_for_many(world: World) -> None:
    """Those who need a token at the same time share one."""
    world.daemon.accounts["micro", "a"] = "s"
    client = world.client(Credentials("a", "s", "micro"))
    both = gatherResults([Deferred.fromCoroutine(client.tokens.fetch()) for _ in range(2)])
    assert done(both) == ["token-a-0", "token-a-0"]


def test_wrong_secret(world: World) -> None:
    """A secret which is not right is told as the auth service tells it."""
    world.daemon.accounts["micro", "a"] = "s"
    with pytest.raises(BadRequest, match="Secret not correct"):
        fetched(world.client(Credentials("a", "x", "micro")))


def test_own_daemon(world: World) -> None:
    """Beside a daemon of one's own, the admin's secret gets the service an account, once."""
    identity = OwnDaemon("greeter", "admin-secret", "micro")
    assert fetched(world.client(identity)).startswith("token-greeter-standalone")
    world.daemon.calls.clear()
    assert fetched(world.client(identity)).startswith("token-greeter-standalone")
    assert world.paths() == ["Auth/Token"]
    assert world.daemon.accounts["micro", "greeter-standalone"] != "admin-secret"


def test_own_daemon_with_another_secret(world: World) -> None:
    """When the admin has another secret, the service's account gets one that is derived from it."""
    fetched(world.client(OwnDaemon("greeter", "admin-secret", "micro")))
    world.daemon.accounts["micro", "admin"] = "changed"
    assert fetched(world.client(OwnDaemon("greeter", "changed", "micro"))).startswith(
        "token-greeter-standalone"
    )


def test_environment() -> None:
    """The environment's credentials come before the daemon's own secret; without either the sentence says what to do."""
    environ = {"MICRO_AUTH_ID": "a", "MICRO_AUTH_SECRET": "s"}
    assert identity_of(environ, "greeter", "n", lambda: "x") == Credentials("a", "s", "n")
    assert identity_of({}, "greeter", "n", lambda: "x") == OwnDaemon("greeter", "x", "n")
    nobody = identity_of({}, "greeter", "n", str)
    assert isinstance(nobody, Nobody)
    with pytest.raises(Unauthorized, match="set MICRO_AUTH_ID and MICRO_AUTH_SECRET"):
        next(nobody.log_in())


def test_copies_race() -> None:
    """When another copy makes the account first, this one logs in with it; its secret is left alone."""
    steps = OwnDaemon("a", "admin's", "micro").log_in()
    good = auth_pb2.TokenResponse(token=auth_pb2.Token(access_token="t", expiry=1))
    assert next(steps).path == "/auth.Auth/Token"
    assert steps.throw(BadRequest("Account not found with this ID")).path == "/auth.Auth/Token"
    assert steps.send(good).path == "/auth.Auth/Generate"
    assert steps.throw(BadRequest("Account with this ID already exists")).path == "/auth.Auth/Token"
    with pytest.raises(StopIteration) as ended:
        steps.send(good)
    assert ended.value.value.access == "t"
