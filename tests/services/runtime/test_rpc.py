"""The runtime over the wire: who may what, and what the messages say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from microd.kernel.caller import Account, Caller
from microd.kernel.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    MicroError,
    NotFound,
    Unauthorized,
    Unimplemented,
)
from microd.services.runtime.rpc import endpoints
from microd.wire import runtime_pb2 as pb

from .conftest import ADMIN, KEY, MAIN, House, now, pieces, settles, tar_of

NOBODY = Caller()
MEMBER = Caller(account=Account("ada", "user", "acme"))
ACME = Caller(account=Account("boss", "user", "acme", name="Boss", scopes=("admin",)))
OTHER = Caller(account=Account("eve", "user", "evil", scopes=("admin",)))


class Wire:
    """The endpoints, by name."""

    def __init__(self, house: House) -> None:
        self._endpoints = {
            each.path.removeprefix("/runtime."): each for each in endpoints(house.runtime, {"auth"})
        }

    def begin(self, name: str, request: Any, caller: Caller = ADMIN) -> Any:
        return self._endpoints[name].handler(request, caller)

    def call(self, name: str, request: Any, caller: Caller = ADMIN) -> Any:
        """The reply, or the replies."""
        if not self._endpoints[name].server_streaming:
            return now(self.begin(name, request, caller))

        async def collect() -> list[Any]:
            return [reply async for reply in self.begin(name, request, caller)]

        return now(collect())

    def upload(self, caller: Caller = ADMIN, name: str = "greeter", version: str = "") -> str:
        async def requests() -> AsyncIterator[pb.UploadRequest]:
            service = pb.Service(name=name, version=version)
            async for piece in pieces(tar_of({"main.py": MAIN})):
                yield pb.UploadRequest(service=service, data=piece)
                service = None  # type: ignore[assignment]

        return str(self.call("Source/Upload", requests(), caller).id)

    def create(self, caller: Caller = ADMIN, namespace: str = "", **options: Any) -> None:
        wish = pb.CreateRequest(
            resource=pb.Resource(service=pb.Service(name="greeter", source=self.upload(caller))),
            options=pb.CreateOptions(namespace=namespace, **options),
        )
        self.call("Runtime/Create", wish, caller)

    def read(self, caller: Caller = ADMIN, **options: Any) -> list[pb.Service]:
        request = pb.ReadRequest(options=pb.ReadOptions(**options))
        return list(self.call("Runtime/Read", request, caller).services)


@pytest.fixture
def wire(house: House) -> Wire:
    return Wire(house)


def service(name: str = "greeter", **rest: Any) -> pb.Resource:
    return pb.Resource(service=pb.Service(name=name, **rest))


REQUESTS: dict[str, Any] = {
    "Create": lambda: pb.CreateRequest(resource=service(), options=pb.CreateOptions(namespace="acme")),
    "Read": lambda: pb.ReadRequest(options=pb.ReadOptions(namespace="acme")),
    "Update": lambda: pb.UpdateRequest(resource=service(), options=pb.UpdateOptions(namespace="acme")),
    "Delete": lambda: pb.DeleteRequest(resource=service(), options=pb.DeleteOptions(namespace="acme")),
    "Logs": lambda: pb.LogsRequest(service="greeter", options=pb.LogsOptions(namespace="acme")),
}


@pytest.mark.parametrize("rpc", REQUESTS)
@pytest.mark.parametrize(("caller", "error"), [(NOBODY, Unauthorized), (OTHER, Forbidden)])
def test_not_theirs(wire: Wire, rpc: str, caller: Caller, error: type[MicroError]) -> None:
    """Nobody without an account, and nobody of another namespace, gets anywhere."""
    with pytest.raises(error):
        wire.call(f"Runtime/{rpc}", REQUESTS[rpc](), caller)


@pytest.mark.parametrize("rpc", ["Create", "Update", "Delete", "Logs"])
def test_member(wire: Wire, rpc: str) -> None:
    """A plain member of a namespace changes nothing and reads no logs."""
    with pytest.raises(Forbidden):
        wire.call(f"Runtime/{rpc}", REQUESTS[rpc](), MEMBER)


def test_member_reads(wire: Wire) -> None:
    """A plain member of a namespace sees what runs there."""
    wire.create(ACME, "acme")
    assert [each.name for each in wire.read(MEMBER, namespace="acme")] == ["greeter"]


def test_platform(wire: Wire) -> None:
    """The platform's admin may do everything everywhere, with sources of their own namespace."""
    wire.create(ADMIN, "acme")
    (found,) = wire.read(ADMIN, namespace="acme")
    assert (found.metadata["owner"], found.metadata["group"]) == ("admin", "micro")


def test_view(wire: Wire, house: House) -> None:
    """A service is answered with version, source, metadata and the number of its status."""
    wire.create(ACME, "acme", env=["A=b"], secrets={"S": "hidden"})
    (found,) = wire.read(ACME, namespace="acme")
    assert (found.name, found.version, found.source) == ("greeter", "latest", "source://greeter:latest")
    assert found.status == 3
    assert found.metadata["owner"] == "Boss"
    assert found.metadata["status"] == "starting"
    assert b"hidden" not in found.SerializeToString()
    assert house.last.environment["S"] == "hidden"
    assert house.last.environment["MICRO_NAMESPACE"] == "acme"


def test_metadata_of_ours(wire: Wire) -> None:
    """A request cannot say what only the runtime knows."""
    wish = pb.CreateRequest(
        resource=service(source=wire.upload(), metadata={"owner": "me", "pid": "1", "team": "blue"})
    )
    wire.call("Runtime/Create", wish)
    (found,) = wire.read()
    assert found.metadata["owner"] == "admin"
    assert "pid" not in found.metadata
    assert found.metadata["team"] == "blue"


def test_conflict(wire: Wire) -> None:
    """A service which exists is created again by force only."""
    wire.create()
    with pytest.raises(Conflict):
        wire.create()
    wire.create(force=True)


def test_update(wire: Wire, house: House) -> None:
    """An update starts the new source, and may say more of it."""
    wire.create()
    house.register()
    wire.call(
        "Runtime/Update", pb.UpdateRequest(resource=service(source=wire.upload(), metadata={"team": "red"}))
    )
    assert len(house.processes.spawned) == 2
    (found,) = wire.read()
    assert found.metadata["team"] == "red"


def test_delete(wire: Wire, house: House) -> None:
    """A delete answers when the processes are gone."""
    wire.create()
    deleted = settles(wire.begin("Runtime/Delete", pb.DeleteRequest(resource=service())))
    assert not deleted.done
    house.crash(0)
    assert deleted.result() == pb.DeleteResponse()
    assert wire.read() == []


@pytest.mark.parametrize("rpc", ["Update", "Delete"])
def test_not_found(wire: Wire, rpc: str) -> None:
    """What does not exist is a 404."""
    with pytest.raises(NotFound):
        wire.call(f"Runtime/{rpc}", REQUESTS[rpc](), ACME)


@pytest.mark.parametrize("rpc", ["Create", "Update", "Delete"])
def test_blank(wire: Wire, rpc: str) -> None:
    """A request for nothing is refused with the reference's words."""
    request = getattr(pb, f"{rpc}Request")()
    with pytest.raises(BadRequest, match="blank resource"):
        wire.call(f"Runtime/{rpc}", request)


@pytest.mark.parametrize("rpc", ["Create", "Update", "Delete"])
def test_namespace(wire: Wire, rpc: str) -> None:
    """A namespace needs no making; one without a name is refused."""
    request = getattr(pb, f"{rpc}Request")(resource=pb.Resource(namespace=pb.Namespace(name="acme")))
    wire.call(f"Runtime/{rpc}", request)
    request.resource.namespace.name = ""
    with pytest.raises(BadRequest, match="invalid resource"):
        wire.call(f"Runtime/{rpc}", request)


@pytest.mark.parametrize(
    "resource",
    [
        pb.Resource(networkpolicy=pb.NetworkPolicy(name="x", namespace="micro")),
        pb.Resource(resourcequota=pb.ResourceQuota(name="x", namespace="micro")),
    ],
)
def test_not_enforced(wire: Wire, resource: pb.Resource) -> None:
    """What cannot be enforced is not accepted."""
    with pytest.raises(Unimplemented):
        wire.call("Runtime/Create", pb.CreateRequest(resource=resource))


@pytest.mark.parametrize("options", [{"image": "busybox"}, {"volumes": {"a": "/b"}}])
def test_not_local(wire: Wire, options: dict[str, Any]) -> None:
    """What a local process cannot have is refused rather than ignored."""
    with pytest.raises(Unimplemented):
        wire.create(**options)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "a\0", "x" * 200, "ü"])
def test_names(wire: Wire, name: str) -> None:
    """Names become folders, so that only harmless ones pass, wherever they stand."""
    cases: list[tuple[pb.Resource, Any]] = [
        (service(name), {}),
        (service("ok", version=name or "/"), {}),
        (service("ok"), {"namespace": name or "/"}),
    ]
    for resource, options in cases:
        with pytest.raises(BadRequest):
            wire.call(
                "Runtime/Create", pb.CreateRequest(resource=resource, options=pb.CreateOptions(**options))
            )
    with pytest.raises(BadRequest):
        wire.upload(name=name)
    with pytest.raises(BadRequest):
        wire.call("Runtime/Logs", pb.LogsRequest(service=name))


def test_reserved(wire: Wire) -> None:
    """No service takes the name of a part of the platform, in the platform's own namespace."""
    with pytest.raises(Forbidden, match="belongs to the platform"):
        wire.call("Runtime/Create", pb.CreateRequest(resource=service("auth")))


@pytest.mark.parametrize("entry", ["novalue", "=x", "A\0=b"])
def test_bad_environment(wire: Wire, entry: str) -> None:
    """An entry which is no NAME=value is refused."""
    with pytest.raises(BadRequest):
        wire.create(env=[entry])


def test_upload_needs_a_service(wire: Wire) -> None:
    """An upload says first whose it is."""

    async def nothing() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(data=b"x")

    async def empty() -> AsyncIterator[pb.UploadRequest]:
        return
        yield

    for requests in (nothing(), empty()):
        with pytest.raises(BadRequest, match="No service was sent"):
            wire.call("Source/Upload", requests)


@pytest.mark.parametrize(("caller", "error"), [(NOBODY, Unauthorized), (MEMBER, Forbidden)])
def test_upload_not_theirs(wire: Wire, caller: Caller, error: type[MicroError]) -> None:
    """Sources are uploaded by those who may run them."""
    with pytest.raises(error):
        wire.upload(caller)


def test_upload_of_others(wire: Wire) -> None:
    """The upload of one namespace cannot be run by another."""
    id = wire.upload(ACME)
    request = pb.CreateRequest(resource=service(source=id), options=pb.CreateOptions(namespace="evil"))
    with pytest.raises(NotFound):
        wire.call("Runtime/Create", request, OTHER)


def test_git(wire: Wire) -> None:
    """A git source gets a clear no."""
    request = pb.CreateRequest(resource=service(source="github.com/micro/services/helloworld"))
    with pytest.raises(BadRequest, match="upload the folder"):
        wire.call("Runtime/Create", request)


def test_logs(wire: Wire, house: House) -> None:
    """A line of a log has its time, its stream, and no end."""
    wire.create()
    house.last.says(b"one\ntwo\n", 2)
    (record,) = wire.call("Runtime/Logs", pb.LogsRequest(service="greeter", count=1))
    assert record.message == "two"
    assert record.timestamp == 1_000_000
    assert dict(record.metadata) == {"stream": "stderr", "time": "1970-01-12T13:46:40.000Z"}


def test_logs_since(wire: Wire, house: House) -> None:
    """Lines before a moment can be left out."""
    wire.create()
    house.last.says(b"old\n")
    house.clock.advance(20)
    house.last.says(b"new\n")
    records = wire.call("Runtime/Logs", pb.LogsRequest(service="greeter", since=1_000_010))
    assert [record.message for record in records] == ["new"]


def test_logs_of_a_version(wire: Wire, house: House) -> None:
    """The log is that of the version which was asked for."""
    wire.create()
    with pytest.raises(NotFound):
        wire.call("Runtime/Logs", pb.LogsRequest(service="greeter", version="v2"))


def test_follow(wire: Wire, house: House) -> None:
    """A stream of a log goes on with what is written."""
    wire.create()
    stream = wire.begin("Runtime/Logs", pb.LogsRequest(service="greeter", stream=True))
    waiting = settles(anext(stream))
    assert not waiting.done
    house.last.says(b"hello\n")
    assert waiting.result().message == "hello"
    now(stream.aclose())


@pytest.mark.parametrize(
    ("request_", "caller", "error"),
    [
        (pb.Service(name="a", version="b"), NOBODY, "An account is required to read builds"),
        (pb.Service(version="b"), ADMIN, "Missing name"),
        (pb.Service(name="a"), ADMIN, "Missing version"),
        (pb.Service(name="a", version="b"), ADMIN, "Build not found"),
    ],
)
def test_build(wire: Wire, request_: pb.Service, caller: Caller, error: str) -> None:
    """There are no builds; the answers are the reference's."""
    with pytest.raises(MicroError, match=error):
        wire.call("Build/Read", request_, caller)


def test_paths(house: House) -> None:
    """The paths are those of Appendix A."""
    assert sorted(each.path for each in endpoints(house.runtime)) == [
        "/runtime.Build/Read",
        "/runtime.Runtime/Create",
        "/runtime.Runtime/Delete",
        "/runtime.Runtime/Logs",
        "/runtime.Runtime/Read",
        "/runtime.Runtime/Update",
        "/runtime.Source/Upload",
    ]


def test_same_key(house: House, wire: Wire) -> None:
    """An empty version stands for the latest, everywhere."""
    wire.create()
    assert house.view(KEY)
    assert [each.version for each in wire.read(service="greeter", version="latest")] == ["latest"]
