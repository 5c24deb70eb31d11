"""The object that an author makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from microd.framework import SchemaError, Service
from microd.framework.node import CannotStart, entry_of, listening_at
from microd.testing.outcome import done
from microd.testing.services import ServiceTester
from microd.txgrpc.memory import connect
from microd.txgrpc.wire.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse


@dataclass
class HelloRequest:
    """Whom to greet."""

    name: str


@dataclass
class HelloReply:
    msg: str


def greeter(**environ: str) -> Service:
    """The issue's service."""
    service = Service("greeter", environ=environ)

    @service.endpoint
    async def hello(request: HelloRequest) -> HelloReply:
        """Greet somebody by name."""
        return HelloReply(msg=f"Hello {request.name}")

    @service.endpoint(metadata={"path": "/hi"})
    async def greetings(request: HelloRequest) -> AsyncIterator[HelloReply]:
        yield HelloReply(msg="Hello")

    return service


def test_runtime_has_the_last_word() -> None:
    """The runtime's name, version and address win over those in the source; endpoints are named after the runtime's name."""
    service = greeter(MICRO_SERVICE_NAME="foo-bar", MICRO_SERVICE_VERSION="v2", MICRO_SERVICE_ADDRESS=":9")
    assert (service.name, service.version, service.address) == ("foo-bar", "v2", ":9")
    assert list(service.published().handlers) == ["FooBar.Greetings", "FooBar.Hello"]
    tester = ServiceTester(service)
    assert tester.call("FooBar.Hello", HelloRequest("Ada"), HelloReply) == HelloReply("Hello Ada")


def test_registered_entry() -> None:
    """The registry is told endpoints in order of their names, with docs; a streaming one by the reference's names."""
    service = greeter()
    service.metadata["zone"] = "a"
    environ = {"MICRO_NAMESPACE": "ns", "MICRO_SERVICE_PROCESS": "7"}
    entry = entry_of(service, service.published(), "127.0.0.1:9", environ)
    streaming, plain = entry.endpoints
    assert (streaming.name, dict(streaming.metadata)) == (
        "Greeter.Greetings",
        {"path": "/hi", "stream": "true"},
    )
    assert (streaming.request.name, streaming.request.type) == ("Context", "Context")
    assert (streaming.response.name, streaming.response.type) == ("Stream", "Stream")
    assert [(field.name, field.type) for field in streaming.request.values] == [("name", "string")]
    assert [(field.name, field.type) for field in streaming.response.values] == [("msg", "string")]
    assert (plain.name, dict(plain.metadata)) == ("Greeter.Hello", {"doc": "Greet somebody by name."})
    assert (plain.request.type, plain.response.type) == ("HelloRequest", "HelloReply")
    assert entry.options.domain == "ns"
    assert dict(entry.nodes[0].metadata) == {
        "zone": "a",
        "process": "7",
        "broker": "service",
        "registry": "service",
        "server": "grpc",
        "transport": "grpc",
        "protocol": "grpc",
    }


def test_proto() -> None:
    """The contract can be had as a .proto file, with the author's prose."""
    assert greeter().proto() == (
        'syntax = "proto3";\n'
        "\n"
        "package greeter;\n"
        "\n"
        "service Greeter {\n"
        "  // Greet somebody by name.\n"
        "  rpc Hello(HelloRequest) returns (HelloReply);\n"
        "  rpc Greetings(HelloRequest) returns (stream HelloReply);\n"
        "}\n"
        "\n"
        "// Whom to greet.\n"
        "message HelloRequest {\n"
        "  string name = 1;\n"
        "}\n"
        "\n"
        "message HelloReply {\n"
        "  string msg = 1;\n"
        "}\n"
    )


def test_reflection() -> None:
    """Tools are told the service, and the descriptor of its messages."""
    tester = ServiceTester(greeter())
    call = connect(tester.server, tester.clock).stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ServerReflectionRequest.SerializeToString,
        ServerReflectionResponse.FromString,
    )

    async def ask() -> list[ServerReflectionResponse]:
        questions = [
            ServerReflectionRequest(list_services=""),
            ServerReflectionRequest(file_containing_symbol="greeter.Greeter"),
        ]
        return [answer async for answer in call(questions)]

    listed, described = done(ask())
    assert "greeter.Greeter" in {service.name for service in listed.list_services_response.service}
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert [message.name for message in file.message_type] == ["HelloRequest", "HelloReply"]


def test_two_in_one_process() -> None:
    """Two services may have classes of the same names: each has its own pool."""
    assert ServiceTester(greeter()).call("Greeter.Hello", {"name": "a"}) == {"msg": "Hello a"}
    assert ServiceTester(greeter()).call("Greeter.Hello", {"name": "b"}) == {"msg": "Hello b"}


def test_contract_first() -> None:
    """A service whose contract is the author's own .proto keeps that contract, service and all."""
    file = descriptor_pb2.FileDescriptorProto(name="greeter.proto", package="greeter", syntax="proto3")
    file.message_type.add(name="Word").field.add(name="text", number=4, type=9, label=1)
    method = file.service.add(name="Greeter").method.add(name="Say")
    method.input_type = method.output_type = ".greeter.Word"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    word = GetMessageClass(pool.FindMessageTypeByName("greeter.Word"))
    service = Service("greeter", environ={})

    async def say(request: object) -> object:
        return request

    say.__annotations__ = {"request": word, "return": word}
    service.endpoint(say)
    assert ServiceTester(service).call("Greeter.Say", {"text": "a"}) == {"text": "a"}
    found = service.published().contract.pool.FindServiceByName("greeter.Greeter")
    assert found.methods_by_name["Say"].input_type.fields_by_name["text"].number == 4


def test_unknown_annotation() -> None:
    """An annotation that names nothing is told when the service starts, with the place."""
    service = greeter()

    @service.endpoint
    async def broken(request: Nothing) -> None:  # type: ignore[name-defined]  # noqa: F821
        """It cannot work."""

    with pytest.raises(SchemaError, match=r"test_service\.py:\d+: broken\(\): name 'Nothing' is not defined"):
        service.published()


def test_class_called_like_the_struct() -> None:
    """A class with the name that the service's struct has is refused, as protobuf could not tell them apart."""
    service = Service("greeter", environ={})

    @dataclass
    class Greeter:
        x: int

    @service.endpoint
    async def make() -> Greeter:
        return Greeter(1)

    with pytest.raises(SchemaError, match="the class Greeter has the name of the struct"):
        service.published()


@pytest.mark.parametrize(
    ("address", "local", "expected"),
    [
        ("", True, ("127.0.0.1", 0)),
        ("", False, ("", 0)),
        (":8080", True, ("", 8080)),
        ("10.0.0.1:0", True, ("10.0.0.1", 0)),
        ("[::1]:5", True, ("::1", 5)),
    ],
)
def test_listening(address: str, local: bool, expected: tuple[str, int]) -> None:
    """A service listens on this host only, if its daemon is on it too, unless it is told where."""
    assert listening_at(address, local) == expected


def test_not_listening() -> None:
    """An address that is none is refused in a sentence."""
    with pytest.raises(CannotStart, match="write host:port or :port"):
        listening_at("8080", True)


def test_unknown_reactor() -> None:
    """There are two reactors to choose from."""
    with pytest.raises(ValueError, match="there is no reactor 'trio'"):
        Service("greeter", reactor="trio")
