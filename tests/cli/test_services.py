"""`micro services` and `micro get service`."""

from __future__ import annotations

from typing import Any

from microd.wire import registry_pb2

from .conftest import Daemon, User

LIST = "/registry.Registry/ListServices"


def test_services(user: User, daemon: Daemon) -> None:
    """Names are sorted, one line for each version."""
    found = [
        registry_pb2.Service(name=name, version=version)
        for name, version in (("b", "1"), ("a", "1"), ("b", "2"))
    ]
    daemon.answers(LIST, registry_pb2.ListResponse(services=found))
    assert user.micro("services").out == "a\nb\nb\n"
    assert user.micro("services", "--json").json[2] == {"name": "b", "version": "2", "nodes": 0}


def test_none(user: User, daemon: Daemon) -> None:
    """No services print nothing."""
    daemon.answers(LIST, registry_pb2.ListResponse())
    got = user.micro("services")
    assert (got.code, got.out, got.err) == (0, "", "")


def test_current_namespace(user: User, daemon: Daemon) -> None:
    """The namespace is the one chosen for the environment."""
    daemon.answers(LIST, registry_pb2.ListResponse())
    user.micro("user", "namespace", "set", "foo")
    user.micro("services")
    assert registry_pb2.ListRequest.FromString(daemon.asked(LIST)[0].body).options.domain == "foo"


def test_get_service(user: User, greeter: Any) -> None:
    """A service is shown with its versions, nodes and endpoints, in the reference's layout."""
    assert user.micro("get", "service", "greeter").out == (
        "service  greeter\n\nversion latest\n\nID\tAddress\tMetadata\ngreeter-1\t127.0.0.1:4000\tprotocol=grpc\n\n"
        "Endpoint: Greeter.Hello\n\nMetadata: doc=Greet somebody by name. At length.\n\n"
        "Request: {\n\tname string\n\taddress Address {\n\t\tcity string\n\t}\n}\n\nResponse: {\n\tmsg string\n}\n\n"
        "Endpoint: Greeter.CountUp\n\nMetadata: stream=true\n\nRequest: {}\n\nResponse: {}\n"
    )


def test_get_service_json(user: User, greeter: Any) -> None:
    """With --json it is the same tree."""
    (found,) = user.micro("get", "service", "greeter", "--json").json
    assert found["nodes"][0]["address"] == "127.0.0.1:4000"
    assert found["endpoints"][0]["request"]["values"][1]["values"][0] == {
        "name": "city",
        "type": "string",
        "values": [],
    }


def test_get_nothing(user: User, greeter: Any) -> None:
    """A service that is not there is told with exit code 4; without a name there is help."""
    got = user.micro("get", "service", "nope")
    assert (got.code, got.err) == (4, 'Service "nope" not found. See `micro services`.\n')
    assert user.micro("get", "service").out.startswith("micro get service - ")
