"""Who is turned away at the HTTP door, and who may say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from microd.gateways.api import blocklist_rpc
from microd.gateways.api.blocklist import Blocklist
from microd.gateways.gate import Gate
from microd.kernel.caller import Account, Caller
from microd.kernel.errors import BadRequest, Forbidden, Unauthorized
from microd.services.auth.model import Resource
from microd.services.store.backends.memory import MemoryStore
from microd.testing.outcome import done
from microd.wire import api_pb2 as pb

ROOT = Account("admin", "user", "micro", scopes=("admin",))
ANN = Account("ann", "user", "acme", scopes=("admin",))


class Accounts:
    """Knows accounts by their ids: those are their tokens."""

    def inspect_cached(self, token: str) -> Account | None:
        return {"admin": ROOT, "ann": ANN}.get(token)

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """Everybody may."""

    def lasting(self, token: str | None) -> Callable[[], bool]:
        return lambda: True


class Door:
    """A gate with the list in front, and the endpoints."""

    def __init__(self, store: MemoryStore, *, enforced: bool = True) -> None:
        self.list = Blocklist(store, enforced=enforced)
        self.auth = Accounts()
        self.guard = self.list.guard(self.auth)
        self.gate = Gate(self.guard)
        done(self.list.startService())
        self.endpoints = {each.name: each for each in blocklist_rpc.endpoints(self.list)}

    def ask(self, name: str, request: object, account: Account | None = ROOT) -> Any:
        return done(self.endpoints[f"Api.{name}"].handler(request, Caller(account)))

    def add(self, account: Account) -> None:
        self.ask("AddToBlockList", pb.AddToBlockListRequest(id=account.id, namespace=account.issuer))

    def remove(self, account: Account) -> None:
        self.ask(
            "RemoveFromBlockList", pb.RemoveFromBlockListRequest(id=account.id, namespace=account.issuer)
        )

    def enter(self, token: str) -> Account | None:
        return self.gate.check({"authorization": f"Bearer {token}"}, "greeter", "Greeter.Hello")[0]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(now=Clock().seconds)


@pytest.fixture
def door(store: MemoryStore) -> Door:
    return Door(store)


def test_turned_away(door: Door) -> None:
    """Who is listed is turned away with the text that clients know; others, and strangers, are not."""
    assert door.enter("ann") == ANN
    door.add(ANN)
    with pytest.raises(Unauthorized, match=r"^unauthorized request$"):
        door.enter("ann")
    assert door.enter("admin") == ROOT
    assert door.enter("nobody") is None
    door.remove(ANN)
    assert door.enter("ann") == ANN


def test_same_id_elsewhere(door: Door) -> None:
    """An account of another namespace is another account."""
    door.ask("AddToBlockList", pb.AddToBlockListRequest(id="ann", namespace="micro"))
    assert door.enter("ann") == ANN


def test_kept(door: Door, store: MemoryStore) -> None:
    """The list outlives the daemon, however long it is."""
    many = [Account(f"a{number:04}", "user", "acme") for number in range(1001)]
    for account in (ANN, *many):
        door.add(account)
    door.remove(many[0])
    again = Door(store)
    assert list(again.ask("ReadBlockList", pb.ReadBlockListRequest()).ids) == [
        *(f"acme:{account.id}" for account in many[1:]),
        "acme:ann",
    ]
    with pytest.raises(Unauthorized):
        again.enter("ann")


def test_not_enforced(store: MemoryStore) -> None:
    """Where the setting is off it is only a list."""
    door = Door(store, enforced=False)
    door.add(ANN)
    assert door.enter("ann") == ANN
    assert list(door.ask("ReadBlockList", pb.ReadBlockListRequest()).ids) == ["acme:ann"]


def test_costs_nothing(door: Door) -> None:
    """While the list is empty nothing stands between the gate and auth."""
    assert door.guard.inspect_cached == door.auth.inspect_cached
    door.add(ANN)
    assert door.guard.inspect_cached != door.auth.inspect_cached
    door.remove(ANN)
    assert door.guard.inspect_cached == door.auth.inspect_cached


def test_who_was_let_in(door: Door) -> None:
    """Who was let in before is not remembered beyond a change of the list."""
    before = door.guard.lasting("ann")
    assert before()
    door.add(ANN)
    after = door.guard.lasting("admin")
    assert (before(), after()) == (False, True)
    door.remove(ANN)
    assert not after()


@pytest.mark.parametrize("name", ["AddToBlockList", "RemoveFromBlockList", "ReadBlockList"])
def test_who(door: Door, name: str) -> None:
    """Only who administers the platform may read the list or change it."""
    request = door.endpoints[f"Api.{name}"].request()
    with pytest.raises(Forbidden):
        door.ask(name, request, ANN)
    with pytest.raises(Unauthorized, match=r"^an account is required$"):
        door.ask(name, request, None)


@pytest.mark.parametrize("name", ["AddToBlockList", "RemoveFromBlockList"])
@pytest.mark.parametrize(
    ("id", "namespace", "text"),
    [
        ("", "acme", r"^Missing ID field$"),
        ("ann", "", r"^Missing Namespace field$"),
        ("ann", "a:b", "the namespace may hold"),
        ("ann", "../x", "the namespace may hold"),
        ("x" * 256, "acme", "the id is longer than 255 bytes"),
        ("a\nb", "acme", "the id has control characters"),
    ],
)
def test_bad(door: Door, name: str, id: str, namespace: str, text: str) -> None:
    """A bad account is refused with the field's name, and the list stays as it is."""
    request = door.endpoints[f"Api.{name}"].request(id=id, namespace=namespace)
    with pytest.raises(BadRequest, match=text):
        door.ask(name, request)
    assert list(door.list.all()) == []


@pytest.mark.parametrize("enforced", [True, False])
def test_what_is_open(store: MemoryStore, enforced: bool) -> None:
    """Who is put on the list is told, so that their streams end; what they have open is theirs no more."""
    door = Door(store, enforced=enforced)
    told: list[tuple[str, str]] = []
    refused: list[str] = []

    def tell(namespace: str, id: str) -> None:
        told.append((namespace, id))
        for account in (ANN, ROOT, None):
            try:
                door.gate.allow(account, "acme", "greeter", "Greeter.Count", core=False)
            except Unauthorized as error:
                refused.append(f"{account and account.id}: {error}")

    door.list.on_listed(tell)
    door.add(ANN)
    door.remove(ANN)
    assert told == [("acme", "ann")]
    assert refused == (["ann: unauthorized request"] if enforced else [])
