"""A config in memory, whose clock stands still."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.kernel.caller import Account, Caller
from microd.services.config import rpc
from microd.services.config.backends.store import StoredDocuments
from microd.services.config.keyring import Keyring
from microd.services.config.model import Limits
from microd.services.config.service import Config
from microd.services.store.backends.memory import MemoryStore
from microd.services.store.interface import IStore
from microd.testing.outcome import done
from microd.wire import config_pb2 as pb

NOW = 1_800_000_000
ADMIN = Account("admin", "user", "micro", "admin", ("admin",))
KEY = b"k" * 32


class Reader:
    """Somebody who watches."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages

    def next(self) -> Any:
        """The message that is there."""
        return done(self._messages.__anext__())

    def asked(self) -> Deferred[Any]:
        """The message which is to come."""
        return Deferred.fromCoroutine(self._messages.__anext__())  # type: ignore[arg-type]

    def close(self) -> None:
        """Hang up."""
        done(self._messages.aclose())  # type: ignore[attr-defined]


class Scene:
    """A config, and what it stands on.

    @ivar keys: the first one seals.
    """

    admin = ADMIN

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store: IStore = MemoryStore(now=self.clock.seconds)
        self.keys = [KEY]
        self.limits = Limits()

    def start(self) -> Config:
        """Start a config on what is kept."""

        def ring(used: Sequence[str]) -> Keyring:
            return Keyring(self.keys)

        self.config = Config(self.clock, StoredDocuments(self.store), ring, self.limits)
        done(self.config.startService())
        return self.config

    def stop(self) -> None:
        """Stop it."""
        done(self.config.stopService())

    def call(self, method: str, request: Any, account: Account | None = ADMIN) -> Any:
        """Call an RPC as somebody; twice, where there are two ways to the answer, which must be the same."""
        endpoint = self.endpoint(method)
        caller = Caller(account=account)
        asked = Deferred.fromCoroutine(endpoint.handler(request, caller))
        self.clock.advance(0)
        reply = done(asked)
        if endpoint.at_once is not None:
            quick = endpoint.at_once(request, caller)
            assert quick is None or endpoint.reply.FromString(quick) == reply
        return reply

    def endpoint(self, method: str) -> Any:
        """The endpoint of that name."""
        (found,) = [each for each in rpc.endpoints(self.config) if each.name == f"Config.{method}"]
        return found

    def set(
        self, path: str, value: Any, *, secret: bool = False, account: Account = ADMIN, **rest: Any
    ) -> int:
        """Set a value, given as what JSON is made of or as JSON's text in bytes; the version it made."""
        data = value.decode() if isinstance(value, bytes) else json.dumps(value)
        request = pb.SetRequest(
            path=path, value=pb.Value(data=data), options=pb.Options(secret=secret), **rest
        )
        return int(self.call("Set", request, account).version)

    def delete(self, path: str, **rest: Any) -> int:
        """Delete a path; the version it made."""
        return int(self.call("Delete", pb.DeleteRequest(path=path, **rest)).version)

    def text(self, path: str = "", *, secret: bool = False, **rest: Any) -> str:
        """The JSON at a path."""
        request = pb.GetRequest(path=path, options=pb.Options(secret=secret), **rest)
        return str(self.call("Get", request).value.data)

    def get(self, path: str = "", **rest: Any) -> Any:
        """The value at a path."""
        return json.loads(self.text(path, **rest))

    def watch(self, path: str = "", *, secret: bool = False, namespace: str = "") -> Reader:
        """Watch a path."""
        request = pb.WatchRequest(namespace=namespace, path=path, options=pb.Options(secret=secret))
        return Reader(self.endpoint("Watch").handler(request, Caller(account=ADMIN)))

    def history(self, *, secret: bool = False, **rest: Any) -> Any:
        """The answer of C{History}."""
        return self.call("History", pb.HistoryRequest(options=pb.Options(secret=secret), **rest))


@pytest.fixture
def scene() -> Scene:
    """A config that is up."""
    made = Scene()
    made.start()
    return made
