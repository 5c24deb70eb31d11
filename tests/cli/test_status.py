"""`micro status`."""

from __future__ import annotations

from typing import Any

import pytest

from microd.wire import runtime_pb2 as pb

from .conftest import Daemon, User

READ = "/runtime.Runtime/Read"


@pytest.fixture
def running(daemon: Daemon) -> None:
    """Two services; the second has crashed."""
    daemon.answers(
        READ,
        pb.ReadResponse(
            services=[
                pb.Service(
                    name="helloworld",
                    version="latest",
                    source="source://helloworld:latest",
                    status=4,
                    metadata={
                        "source": "/src/helloworld",
                        "owner": "admin",
                        "group": "micro",
                        "started": "2023-11-14T22:13:16Z",
                        "build": "0123456789",
                    },
                ),
                pb.Service(
                    name="a",
                    version="latest",
                    source="/x/a",
                    status=7,
                    metadata={
                        "owner": "admin",
                        "group": "micro",
                        "error": "exited with code 1\nTraceback\n  ValueError: oh\n",
                        "started": "2023-11-14T22:12:16Z",
                    },
                ),
            ]
        ),
    )


def test_table(user: User, running: None) -> None:
    """Services are sorted by name; cells stand at tab stops; what is empty is n/a; an error is told in one line."""
    assert user.micro("status").out == (
        "NAME\t\tVERSION\tSOURCE\t\tSTATUS\tBUILD\tUPDATED\t\tMETADATA\n"
        "a\t\tlatest\t/x/a\t\terror\tn/a\t1m4s ago\towner=admin, group=micro, error=exited with code 1 (ValueError: oh)\n"
        "helloworld\tlatest\t/src/helloworld\trunning\t0123456\t4s ago\t\towner=admin, group=micro\n"
    )


def test_backoff(user: User, daemon: Daemon) -> None:
    """Of a service that waits for its next start one sees how often it was tried, and how long it waits."""
    crashed = {"error": "exited with code 1\noh", "restarts": "5", "retry": "2023-11-14T22:13:52Z"}
    many = {"restarts": "1", "instances": "2/3"}
    daemon.answers(
        READ,
        pb.ReadResponse(
            services=[
                pb.Service(name="a", version="latest", status=7, metadata=crashed),
                pb.Service(name="b", version="latest", status=4, metadata=many),
            ]
        ),
    )
    _, crash, several = user.micro("status").out.splitlines()
    assert crash.endswith(", error=exited with code 1 (oh), restarts=5, retry=in 32s")
    assert several.endswith(", instances=2/3")


def test_json(user: User, running: None) -> None:
    """With --json all that is known is told."""
    found = user.micro("status", "--json").json
    assert [(each["name"], each["status"]) for each in found] == [("a", "error"), ("helloworld", "running")]
    assert found[1]["source"] == "/src/helloworld"
    assert found[0]["metadata"]["error"] == "exited with code 1\nTraceback\n  ValueError: oh\n"


@pytest.mark.parametrize(
    ("words", "name", "version"),
    [
        ((), "", ""),
        (("greeter",), "greeter", "latest"),
        (("greeter", "v2"), "greeter", "v2"),
        (("greeter@v2",), "greeter", "v2"),
        (("--name=greeter",), "greeter", "latest"),
    ],
)
def test_asked(user: User, daemon: Daemon, running: None, words: Any, name: Any, version: Any) -> None:
    """All are asked for, or one by name and version."""
    user.micro("status", *words)
    options = pb.ReadRequest.FromString(daemon.asked(READ)[0].body).options
    assert (options.service, options.version, options.namespace) == (name, version, "micro")


def test_nothing(user: User, daemon: Daemon) -> None:
    """Nothing found prints nothing."""
    daemon.answers(READ, pb.ReadResponse())
    got = user.micro("status", "nope")
    assert (got.code, got.out, got.err) == (0, "", "")


def test_odd_time(user: User, daemon: Daemon) -> None:
    """A time that is none is shown as it is; none at all is unknown."""
    services = [pb.Service(name="a", metadata={"started": "soon"}), pb.Service(name="b")]
    daemon.answers(READ, pb.ReadResponse(services=services))
    lines = user.micro("status").out.splitlines()
    assert "\tsoon\t" in lines[1]
    assert "\tunknown\t" in lines[2]
