"""One daemon for all, tenants on it, and every way to reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from microd.testing.platform import Platform
from tests.compat.wires import Contracts, HttpWire, JsonWire, ProtoWire, Refused, Shown, Wire, without_absent

WIRES = ("proxy-proto", "network-proto", "proxy-json", "network-json", "http")

#: Who there is: name, namespace, type, scopes.
PEOPLE = (
    ("operator", "micro", "user", ("admin",)),
    ("guest", "micro", "user", ()),
    ("alpha-admin", "alpha", "user", ("admin",)),
    ("alpha-user", "alpha", "user", ()),
    ("alpha-service", "alpha", "service", ("service",)),
    ("beta-admin", "beta", "user", ("admin",)),
    ("beta-user", "beta", "user", ()),
    ("beta-service", "beta", "service", ("service",)),
)
_numbers = count(1)


@dataclass(frozen=True)
class Person:
    """An account and its access token."""

    id: str
    namespace: str
    secret: str
    token: str


class Daemon:
    """The daemon, as clients see it.

    @ivar people: accounts by their ids.
    """

    def __init__(self, platform: Platform, contracts: Contracts) -> None:
        self.platform = platform
        self.contracts = contracts
        self.people: dict[str, Person] = {}
        self._wires: dict[str, Wire] = {}

    def wire(self, name: str) -> Wire:
        """A way to the daemon."""
        found = self._wires.get(name)
        if found is None:
            door, _, kind = name.partition("-")
            if name == "http":
                found = HttpWire(name, self.platform.door("api"))
            elif kind == "proto":
                found = ProtoWire(name, self.platform.door(door), self.contracts)
            else:
                found = JsonWire(name, self.platform.door(door))
            self._wires[name] = found
        return found

    def enrol(self) -> None:
        """Make the accounts."""
        client = Client(self, self.wire("proxy-proto"))
        secret = (self.platform.data / "admin-secret").read_text().strip()
        self.people["admin"] = Person("admin", "micro", secret, client.token("micro", "admin", secret))
        for id, namespace, type, scopes in PEOPLE:
            draft = {"id": id, "type": type, "scopes": list(scopes), "secret": f"{id}'s secret"}
            client("/auth.Auth/Generate", {**draft, "options": {"namespace": namespace}}, by="admin")
            token = client.token(namespace, id, f"{id}'s secret")
            self.people[id] = Person(id, namespace, f"{id}'s secret", token)

    def close(self) -> None:
        """Done."""
        for wire in self._wires.values():
            wire.close()
        self.platform.close()


class Client:
    """Calls over one wire.

    @ivar unique: a word which no other test has.
    """

    def __init__(self, daemon: Daemon, wire: Wire) -> None:
        self.daemon = daemon
        self.wire = wire
        self.unique = f"t{next(_numbers)}"

    def __call__(
        self,
        path: str,
        request: Shown | None = None,
        *,
        by: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Shown:
        """One request, one reply."""
        (reply,) = self.stream(path, [request or {}], by=by, headers=headers)
        return reply

    def stream(
        self,
        path: str,
        requests: Sequence[Shown],
        *,
        by: str = "",
        headers: Mapping[str, str] | None = None,
        most: int = 0,
    ) -> list[Shown]:
        """Any number of requests and replies."""
        found = self.wire.replies(path, requests, self.headers(by, headers), most)
        return [without_absent(each) for each in found]

    def refused(
        self,
        path: str,
        request: Shown | None = None,
        *,
        by: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Refused:
        """How a call is refused."""
        outcome = self.attempt(path, request, by=by, headers=headers)
        assert isinstance(outcome, Refused), f"{path} was not refused: {outcome}"
        return outcome

    def attempt(
        self,
        path: str,
        request: Shown | None = None,
        *,
        by: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Shown | Refused:
        """The first reply, empty where there is none; or how the call is refused."""
        try:
            replies = self.stream(path, [request or {}], by=by, headers=headers, most=1)
        except Refused as refused:
            return refused
        return replies[0] if replies else {}

    def heard(
        self, path: str, requests: Sequence[Shown], act: Callable[[int], object], *, by: str, most: int = 1
    ) -> list[list[Shown]]:
        """What each of some endless streams tells first, while C{act} is called until all of them have told something.

        @param act: is told how often it was called before.
        """
        with ThreadPoolExecutor(len(requests)) as threads:
            streams = [threads.submit(self.stream, path, [request], by=by, most=most) for request in requests]
            for tries in range(1000):
                act(tries)
                if not wait(streams, 0.01).not_done:
                    break
            return [each.result() for each in streams]

    def headers(self, by: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Somebody's headers."""
        own = {"authorization": f"Bearer {self.daemon.people[by].token}"} if by else {}
        return {**own, **(more or {})}

    def token(self, namespace: str, id: str, secret: str, lifetime: int = 3600) -> str:
        """Log in."""
        request = {"id": id, "secret": secret, "token_expiry": lifetime, "options": {"namespace": namespace}}
        token: str = self("/auth.Auth/Token", request)["token"]["access_token"]
        return token


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with tenants."""
    folder: Path = tmp_path_factory.mktemp("compat")
    found = Daemon(Platform(folder / "home"), Contracts(folder))
    try:
        found.platform.start()
        found.enrol()
        yield found
    finally:
        found.close()


@pytest.fixture(params=WIRES)
def call(request: pytest.FixtureRequest, daemon: Daemon) -> Client:
    """A client on each wire."""
    return Client(daemon, daemon.wire(request.param))


@pytest.fixture(params=[name for name in WIRES if name != "http"])
def grpc_call(request: pytest.FixtureRequest, daemon: Daemon) -> Client:
    """A client on each wire which takes streams."""
    return Client(daemon, daemon.wire(request.param))
