"""An auth in memory, whose clock stands still and whose hashes cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from microd.kernel.caller import Account, Caller
from microd.services.auth import rpc
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.model import Draft, Token
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.testing.outcome import done

NOW = 1_800_000_000
CHEAP = Cost(n=2, r=1, p=1)


async def at_once(work: Callable[[], bytes]) -> bytes:
    """Run in no other thread."""
    return work()


class Scene:
    """An auth, and what it stands on.

    @ivar chosen: the operator's choice of the first admin's secret.
    @ivar reset: whether the operator has the admin's secret reset.
    """

    admin = Account("admin", "user", "micro", "admin", ("admin",))
    anonymous: Account | None = None

    def __init__(self, key: RSAPrivateKey, data: Path) -> None:
        self.key = key
        self.data = data
        self.clock = Clock()
        self.clock.advance(NOW)
        self.vault = MemoryVault()
        self.chosen = "first-secret"
        self.reset = False

    def start(self) -> Auth:
        """Start an auth on what is kept."""
        first = FirstAdmin(self.data / "admin-secret", self.chosen, reset=self.reset)
        self.auth = Auth(self.clock, self.vault, ScryptHasher(at_once, CHEAP), lambda: self.key, first)
        self.now(self.auth.startService())
        return self.auth

    def now(self, awaitable: Coroutine[Any, Any, Any] | Deferred[Any]) -> Any:
        """What something returns or raises, without waiting."""
        return done(awaitable)

    def enrol(self, id: str, namespace: str = "micro", secret: str = "s3cret", **rest: Any) -> Account:
        """Make an account."""
        account, _ = self.now(self.auth.generate(namespace, Draft(id, secret=secret, **rest)))
        assert isinstance(account, Account)
        return account

    def lose(self, id: str) -> None:
        """Let an account of the platform be gone, as no call could do it."""
        gone = {f"{kind}/micro/{id}": None for kind in ("account", "name")}
        self.now(self.vault.apply({**gone, f"generation/micro/{id}": b"1"}))

    def told(self, work: Callable[[], object]) -> list[str]:
        """What the log says while something is done."""
        told: list[str] = []

        @provider(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            told.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        try:
            work()
        finally:
            globalLogPublisher.removeObserver(observe)
        return told

    def token(self, namespace: str = "micro", **asked: Any) -> Token:
        """Ask for a token."""
        found = self.now(self.auth.token(namespace, **asked))
        assert isinstance(found, Token)
        return found

    def call(self, path: str, request: Any, account: Account | None, namespace: str = "micro") -> Any:
        """Call an RPC as somebody."""
        (endpoint,) = [each for each in rpc.endpoints(self.auth) if each.path == path]
        assert isinstance(request, endpoint.request)
        return self.now(endpoint.handler(request, Caller(account=account, namespace=namespace)))


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    """A key to sign with."""
    return generate_private_key(65537, 2048)


@pytest.fixture
def scene(key: RSAPrivateKey, tmp_path: Path) -> Scene:
    """What an auth stands on, and an auth that is up."""
    made = Scene(key, tmp_path)
    made.start()
    return made
