"""Core endpoints behind the gate: who is let in again without being asked, and who answers at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from microd.gateways.door import Door
from microd.gateways.gate import Gate
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Forbidden, MicroError, NotFound
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.keys import load_or_make
from microd.services.auth.model import Draft, Resource
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.services.network.dialer import Dialer
from microd.services.network.router import Router
from microd.services.registry.service import Registry
from microd.testing.outcome import done
from microd.txgrpc import Channel, RpcError
from microd.txgrpc.memory import MemoryEndpoint, connect
from microd.wire import store_pb2 as pb

PATH = "/store.Store/Read"
ADA = Account("ada", "user", "micro", "ada")


def door_of(endpoint: Endpoint, auth: Any, clock: Clock) -> Channel:
    """A client of a door with one endpoint."""
    nowhere: dict[str, MemoryEndpoint] = {}
    dialer = Dialer(clock, nowhere.__getitem__)
    return connect(Door([endpoint], Gate(auth), Router(Registry(clock), dialer), dialer, clock=clock), clock)


class Steady:
    """An auth whose word lasts until it is told otherwise."""

    def __init__(self) -> None:
        self.account: Account | None = ADA
        self.refusal: MicroError | None = None
        self.asked = 0
        self.changes = 0

    def inspect_cached(self, token: str) -> Account | None:
        """Always the same."""
        self.asked += 1
        return self.account

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?"""
        if self.refusal is not None:
            raise self.refusal

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """Until something changes."""
        changes = self.changes
        return lambda: changes == self.changes


class Asked:
    """An endpoint which remembers who asked, and answers at once what it is told to."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.waited = 0
        self.answer: bytes | None = pb.ReadResponse(records=[pb.Record(key="at once")]).SerializeToString()
        self.refusal: MicroError | None = None
        self.endpoint = Endpoint(PATH, pb.ReadRequest, pb.ReadResponse, self.handle, at_once=self.at_once)

    async def handle(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        """Answer with the key."""
        self.waited += 1
        self.callers.append(caller)
        return pb.ReadResponse(records=[pb.Record(key=request.key)])

    def at_once(self, request: pb.ReadRequest, caller: Caller) -> bytes | None:
        """Answer, if there is an answer."""
        if self.refusal is not None:
            raise self.refusal
        self.callers.append(caller)
        return self.answer


class Scene:
    """A client of a door in front of an endpoint."""

    def __init__(self) -> None:
        self.auth, self.asked, self.clock = Steady(), Asked(), Clock()
        self.client = door_of(self.asked.endpoint, self.auth, self.clock)

    def read(self, **options: Any) -> str:
        """The key that comes back."""
        options = {"metadata": {"authorization": "Bearer t"}, **options}
        call = self.client.unary_unary(PATH, pb.ReadRequest.SerializeToString, pb.ReadResponse.FromString)
        key: str = done(call(pb.ReadRequest(key="k"), **options)).records[0].key
        return key


@pytest.fixture
def scene() -> Scene:
    """A client of a door."""
    return Scene()


def test_at_once(scene: Scene) -> None:
    """An endpoint which can answer at once is not asked to wait."""
    assert scene.read() == "at once"
    assert scene.asked.waited == 0


def test_not_at_once(scene: Scene) -> None:
    """Where it cannot, the handler is asked."""
    scene.asked.answer = None
    assert [scene.read() for _ in range(4)] == ["k"] * 4
    assert scene.asked.waited == 4


def test_json_is_never_at_once(scene: Scene) -> None:
    """Who speaks JSON is not given protobuf."""
    call = scene.client.unary_unary(PATH)
    for _ in range(4):
        reply = done(call(b'{"key":"k"}', content_type="application/grpc+json"))
        assert b'"k"' in reply
    assert scene.asked.waited == 4


def test_refused_at_once(scene: Scene) -> None:
    """What is raised at once is the call's answer, with the endpoint's id."""
    scene.asked.refusal = NotFound("not found")
    for _ in range(3):
        with pytest.raises(RpcError) as caught:
            scene.read()
        found = MicroError.from_json(caught.value.message)
        assert found is not None
        assert (found.code, found.id, found.detail) == (404, "store.Store.Read", "not found")


def test_remembers(scene: Scene) -> None:
    """Whoever comes again with the same headers is not inspected again, and is the same caller."""
    for _ in range(10):
        scene.read()
    assert scene.auth.asked < 5
    assert all(caller.account == ADA for caller in scene.asked.callers)
    assert len({caller.connection for caller in scene.asked.callers}) == 1


def test_asks_again(scene: Scene) -> None:
    """When what auth said does not hold any more, it is asked again, before the next call is answered."""
    for _ in range(5):
        scene.read()
    scene.auth.account, scene.auth.changes = None, 1
    scene.read()
    assert scene.asked.callers[-1].account is None
    scene.auth.refusal, scene.auth.changes = Forbidden("no longer"), 2
    for _ in range(3):
        with pytest.raises(RpcError, match="no longer"):
            scene.read()


def test_other_headers(scene: Scene) -> None:
    """Who comes with other headers on the same connection is somebody else."""
    for _ in range(5):
        scene.read()
    for _ in range(5):
        scene.read(metadata={"x": "y"})
        assert scene.asked.callers[-1].account is None
        assert scene.asked.callers[-1].metadata["x"] == "y"
        scene.read()
        assert scene.asked.callers[-1].account == ADA


async def _at_once(work: Callable[[], bytes]) -> bytes:
    return work()


@pytest.mark.parametrize("how", ["deleted", "ended"])
def test_void_tokens(tmp_path: Path, how: str) -> None:
    """A token that was good for many calls of a connection is refused with the first call after its account was deleted,
    or after its end."""
    clock, asked = Clock(), Asked()
    clock.advance(1_800_000_000)
    hasher = ScryptHasher(_at_once, Cost(n=2, r=1, p=1))
    first = FirstAdmin(tmp_path / "admin-secret", "first-secret")
    auth = Auth(clock, MemoryVault(), hasher, lambda: load_or_make(tmp_path), first)
    done(auth.startService())
    done(auth.generate("micro", Draft("ada", secret="s3cret")))
    token = done(auth.token("micro", id="ada", secret="s3cret", lifetime=60)).access
    client = door_of(asked.endpoint, auth, clock)
    call = client.unary_unary(PATH)
    headers = {"authorization": f"Bearer {token}"}

    for _ in range(5):
        done(call(b"", metadata=headers))
    assert [getattr(caller.account, "id", None) for caller in asked.callers] == ["ada"] * 5
    if how == "deleted":
        done(auth.delete("micro", "ada", Account("admin", "user", "micro", "admin", ("admin",))))
    else:
        clock.advance(200)
    for _ in range(3):
        with pytest.raises(RpcError, match="an account is required"):
            done(call(b"", metadata=headers))
    assert len(asked.callers) == 5
