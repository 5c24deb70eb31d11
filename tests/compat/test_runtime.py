"""The runtime on the wire: spec micro-v3-server 6.7, 7.3, 8, Appendix A."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

CREATE, READ, UPDATE, DELETE, LOGS = (
    f"/runtime.Runtime/{name}" for name in ("Create", "Read", "Update", "Delete", "Logs")
)
UPLOAD, BUILD = "/runtime.Source/Upload", "/runtime.Build/Read"
PROGRAM = "import time; [print(f'line {n}', flush=True) for n in range(20)]; time.sleep(600)"
ALPHA = {"namespace": "alpha"}


def _resource(call: Client, **more: Any) -> Shown:
    return {"resource": {"service": {"name": call.unique, "version": "latest", **more}}, "options": ALPHA}


def _read(call: Client, **options: Any) -> list[Shown]:
    request = {"options": {"namespace": "alpha", "service": call.unique, **options}}
    services: list[Shown] = call(READ, request, by="alpha-user")["services"]
    return services


@pytest.fixture
def running(call: Client) -> Iterator[Client]:
    """A program which the runtime runs; it never registers."""
    request = _resource(call, metadata={"team": "a"})
    request["options"] = {**ALPHA, "command": ["python3", "-c", PROGRAM]}
    assert call(CREATE, request, by="alpha-admin") == {}
    yield call
    call(DELETE, _resource(call), by="operator")


def _settled(call: Client, pid: bool = True) -> Shown:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        (found,) = _read(call)
        if ("pid" in found["metadata"]) == pid:
            return found
    raise AssertionError(f"nothing runs: {found}")


def test_life(running: Client) -> None:
    """What was created is read with who owns it, until it is deleted."""
    found = _settled(running)
    assert (found["name"], found["version"]) == (running.unique, "latest")
    assert found["metadata"]["owner"] == "alpha-admin"
    assert found["metadata"]["group"] == "alpha"
    assert found["metadata"]["team"] == "a"
    assert found["metadata"]["status"]
    assert isinstance(found["status"], int)
    assert running(UPDATE, _resource(running, metadata={"team": "b"}), by="alpha-admin") == {}
    assert _settled(running)["metadata"]["team"] == "b"
    assert _read(running, version="late") == []


def test_logs(running: Client) -> None:
    """The last lines, as many as asked for, with the time."""
    request = {"service": running.unique, "count": 20, "stream": True, "options": ALPHA}
    records = running.stream(LOGS, [request], by="alpha-admin", most=20)
    said = [each["message"] for each in records if each["message"].startswith("line")]
    assert said
    assert all(abs(int(each["timestamp"]) - time.time()) < 60 for each in records)
    request = {"service": running.unique, "count": 2, "options": ALPHA}
    assert len(running.stream(LOGS, [request], by="alpha-admin", most=2)) == 2


def test_deleted(call: Client) -> None:
    """What is not there: an empty list; else 404 (the reference says 500), naming what was not found."""
    assert _read(call) == []
    for path in (DELETE, UPDATE):
        refused = call.refused(path, _resource(call), by="alpha-admin")
        assert refused.code == 404
        assert f"{call.unique}:latest was not found" in refused.detail
    refused = call.refused(LOGS, {"service": call.unique, "options": ALPHA}, by="alpha-admin")
    assert refused.detail == f"Logs not found for service {call.unique}"


def test_blank(call: Client) -> None:
    """A request for nothing."""
    for path in (CREATE, UPDATE, DELETE):
        refused = call.refused(path, {"options": ALPHA}, by="alpha-admin")
        assert refused == Refused(400, f"runtime.Runtime.{path.rpartition('/')[2]}", "blank resource")


def test_namespace(call: Client) -> None:
    """A namespace is there as soon as something is in it: to make or delete one is no error."""
    request = {"resource": {"namespace": {"name": "gamma"}}, "options": {"namespace": "micro"}}
    for path in (CREATE, UPDATE, DELETE):
        assert call(path, request, by="operator") == {}
    blank = {"resource": {"namespace": {}}, "options": {"namespace": "micro"}}
    assert call.refused(CREATE, blank, by="operator").detail == "invalid resource"


def test_upload(grpc_call: Client) -> None:
    """Source comes as a tar archive in pieces, and is named by what it is for."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("main.py")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"pass\n"))
    data = packed.getvalue()
    service = {"name": grpc_call.unique, "version": "latest"}
    pieces: list[Shown] = [
        {"service": service, "data": data[:1024]},
        *({"data": data[at : at + 1024]} for at in range(1024, len(data), 1024)),
    ]
    (reply,) = grpc_call.stream(UPLOAD, pieces, by="alpha-admin")
    assert reply["id"] == f"source://{grpc_call.unique}:latest"


def test_upload_refused(grpc_call: Client) -> None:
    """Source is for something, and from somebody."""
    assert grpc_call.refused(UPLOAD, {"data": b"x"}, by="alpha-admin") == Refused(
        400, "runtime.Source.Upload", "No service was sent"
    )
    anonymous = grpc_call.refused(UPLOAD, {"service": {"name": "x"}})
    assert anonymous.code == 401


def test_build(call: Client) -> None:
    """There are no builds: services run from source."""
    for request, code, detail in (
        ({}, 400, "Missing name"),
        ({"name": "x"}, 400, "Missing version"),
        ({"name": "x", "version": "latest"}, 404, "Build not found"),
    ):
        assert call.refused(BUILD, request, by="alpha-admin") == Refused(code, "runtime.Build.Read", detail)


@pytest.mark.parametrize("path", [CREATE, UPDATE, DELETE, LOGS])
def test_who(call: Client, path: str) -> None:
    """Members may look; only admins and services may change, and read logs."""
    request = {"service": "x", "options": ALPHA} if path == LOGS else _resource(call)
    assert call.refused(path, request).code == 401
    assert call.refused(path, request, by="alpha-user").code == 403
    assert call.refused(path, request, by="beta-admin").brief == (403, "access denied to namespace")
