"""Staying somebody while refresh tokens are replaced with each use, beside the auth service itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.internet.task import Clock

from microd.framework.blocking import BlockingClient
from microd.framework.identity import Credentials, Question
from microd.framework.tokens import Tokens
from microd.kernel.caller import Caller
from microd.kernel.errors import MicroError, TimedOut
from microd.services.auth import rpc
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.model import Draft
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.testing.outcome import done
from microd.txgrpc import RpcError, StatusCode
from microd.wire import auth_pb2 as wire

ADA = Credentials("ada", "s3cret", "foo")


async def _at_once(work: Any) -> bytes:
    found: bytes = work()
    return found


class World:
    """An auth service, and a client of it.

    @ivar shown: what was exchanged for tokens, in turn.
    @ivar deaf: whether answers are lost.
    """

    def __init__(self, data: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        key = generate_private_key(65537, 2048)
        hasher = ScryptHasher(_at_once, Cost(2, 1, 1))
        first = FirstAdmin(data / "admin-secret", "first")
        self.auth = Auth(self.clock, MemoryVault(), hasher, lambda: key, first)
        done(self.auth.startService())
        done(self.auth.generate("foo", Draft("ada", secret="s3cret")))
        self.shown: list[str] = []
        self.deaf = False
        self.tokens = Tokens(lambda: ADA, self.ask, self.clock.seconds)

    async def ask(self, question: Question) -> Any:
        """Put a question to the service."""
        assert isinstance(question.request, wire.TokenRequest)
        self.shown.append(question.request.secret or question.request.refresh_token)
        (endpoint,) = [each for each in rpc.endpoints(self.auth) if each.path == question.path]
        answer = await endpoint.handler(question.request, Caller())
        if self.deaf:
            raise TimedOut("context deadline exceeded")
        return answer

    def token(self) -> str:
        """The token that is shown now; it is good."""
        found = self.tokens.ready() or done(self.tokens.fetch())
        assert self.auth.inspect_cached(found) is not None
        return str(found)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An auth service."""
    return World(tmp_path)


def test_for_hours(world: World) -> None:
    """A service stays somebody with one log-in, in its own namespace, each refresh token being used once."""
    for _ in range(50):
        world.token()
        world.clock.advance(541)
    assert world.shown[0] == "s3cret"
    assert len(set(world.shown)) == len(world.shown) == 50


def test_answer_lost(world: World) -> None:
    """Where the answer to a renewal is lost, the next attempt gets the same, without another log-in."""
    world.token()
    world.clock.advance(541)
    world.deaf = True
    with pytest.raises(TimedOut):
        world.token()
    world.deaf = False
    world.clock.advance(10)
    world.token()
    world.clock.advance(541)
    world.token()
    assert world.shown.count("s3cret") == 1
    assert world.shown[1] == world.shown[2] != world.shown[3]


def test_session_ended(world: World) -> None:
    """Where the session has ended since its refresh token was used by another, the secret serves again."""
    world.token()
    stolen = done(world.auth.token("", refresh_token=_refresh_token_of(world.tokens)))
    assert world.auth.inspect_cached(stolen.access) is not None
    world.clock.advance(541)
    world.token()
    assert world.shown.count("s3cret") == 2
    with pytest.raises(MicroError, match="invalid token provided"):
        done(world.auth.token("", refresh_token=stolen.refresh))


def _refresh_token_of(tokens: Tokens) -> str:
    last = tokens._token
    assert last is not None
    return last.refresh


class OneUse:
    """A channel to an auth service whose refresh tokens are good for one use, with no tolerance at all."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def unary_unary(self, path: str) -> Any:
        """The call."""
        assert path == "/auth.Auth/Token"

        def call(data: bytes, **_: object) -> bytes:
            request = wire.TokenRequest.FromString(data)
            self.shown.append(request.secret or request.refresh_token)
            if request.refresh_token not in ("", f"r{len(self.shown) - 1}"):
                raise RpcError(StatusCode.INVALID_ARGUMENT, "invalid token provided")
            number = len(self.shown)
            token = wire.Token(access_token=f"a{number}", refresh_token=f"r{number}", expiry=number * 600)
            return wire.TokenResponse(token=token).SerializeToString()

        return call

    def close(self) -> None:
        """Nothing is open."""


def test_threads_share_a_refresh() -> None:
    """Threads which find the token ending at the same time refresh it once."""
    channel, now = OneUse(), [0.0]
    environ = {"MICRO_PROXY": "127.0.0.1:1", "MICRO_AUTH_ID": "ada", "MICRO_AUTH_SECRET": "s"}
    client = BlockingClient(environ=environ, channel=channel, now=lambda: now[0])
    ready = Barrier(8)

    def show() -> str:
        ready.wait()
        return client._shown()

    with ThreadPoolExecutor(8) as pool:
        for number in (1, 2, 3):
            found = [each.result() for each in [pool.submit(show) for _ in range(8)]]
            assert found == [f"a{number}"] * 8
            now[0] += 600
    assert channel.shown == ["s", "r1", "r2"]
    client.close()
