"""Server reflection, over a channel in memory, in both versions."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from twisted.internet.task import Clock

from microd.testing.outcome import done
from microd.testing.wire import interop_pb2
from microd.testing.wire._pool import POOL
from microd.txgrpc import GrpcServer, StatusCode
from microd.txgrpc.memory import connect
from microd.txgrpc.reflection import Reflection, service_names
from microd.txgrpc.wire import reflection_pb2, reflection_v1alpha_pb2

INTEROP = interop_pb2.DESCRIPTOR.name


def extended_pool() -> DescriptorPool:
    """A pool of two files, one of which imports the other and extends its message."""
    pool = DescriptorPool()
    base = FileDescriptorProto(name="base.proto", package="shop")
    base.message_type.add(name="Item").extension_range.add(start=100, end=200)
    pool.Add(base)
    more = FileDescriptorProto(name="more.proto", package="shop", dependency=["base.proto"])
    for number, name in ((101, "colour"), (100, "size")):
        more.extension.add(
            name=name, extendee=".shop.Item", number=number, type=FieldDescriptorProto.TYPE_STRING, label=1
        )
    pool.Add(more)
    return pool


class Conversation:
    """One reflection stream, asked one question at a time."""

    def __init__(self, package: str, messages: ModuleType, *, pools: list[DescriptorPool]) -> None:
        self._messages = messages
        clock = Clock()
        self.services = ["grpc.testing.TestService"]
        server = GrpcServer(Reflection(lambda: self.services, pools).methods(), clock=clock)
        self._call = connect(server, clock).stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            messages.ServerReflectionRequest.SerializeToString,
            messages.ServerReflectionResponse.FromString,
        )()

    def ask(self, **question: Any) -> Any:
        """The answer to one question."""
        done(self._call.write(self._messages.ServerReflectionRequest(**question)))
        return done(self._call.__anext__())

    def files(self, **question: Any) -> list[str]:
        """The names of the files in the answer to one question."""
        answer = self.ask(**question).file_descriptor_response
        return [FileDescriptorProto.FromString(file).name for file in answer.file_descriptor_proto]


@pytest.fixture(params=["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def talk(request: pytest.FixtureRequest) -> Conversation:
    """A conversation in each of the two versions."""
    messages = reflection_pb2 if request.param == "grpc.reflection.v1" else reflection_v1alpha_pb2
    return Conversation(request.param, messages, pools=[POOL, extended_pool()])


def test_list(talk: Conversation) -> None:
    """The list has the server's services and reflection's own, sorted."""
    assert [service.name for service in talk.ask(list_services="").list_services_response.service] == [
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.testing.TestService",
    ]


def test_list_changes(talk: Conversation) -> None:
    """A service that was added while the server runs is in the next list."""
    talk.ask(list_services="")
    talk.services.append("zoo.Zoo")
    assert talk.ask(list_services="").list_services_response.service[-1].name == "zoo.Zoo"


def test_file_by_name(talk: Conversation) -> None:
    """A file is found by its name."""
    assert talk.files(file_by_filename=INTEROP) == [INTEROP]


@pytest.mark.parametrize(
    "symbol",
    [
        "grpc.testing.TestService",
        "grpc.testing.TestService.EmptyCall",
        "grpc.testing.Payload",
        "grpc.testing.Payload.body",
        "grpc.testing.PayloadType",
    ],
)
def test_file_of_symbol(talk: Conversation, symbol: str) -> None:
    """Services, methods, messages, fields and enums lead to their file."""
    assert talk.files(file_containing_symbol=symbol) == [INTEROP]


def test_imports_come_along(talk: Conversation) -> None:
    """With a file come those which it imports."""
    assert talk.files(file_by_filename="more.proto") == ["more.proto", "base.proto"]


def test_imports_come_once(talk: Conversation) -> None:
    """What was sent as an import before is not sent again in the same conversation."""
    talk.files(file_by_filename="base.proto")
    assert talk.files(file_by_filename="more.proto") == ["more.proto"]


def test_file_asked_for_again(talk: Conversation) -> None:
    """A file that is asked for twice is given twice."""
    talk.files(file_by_filename=INTEROP)
    assert talk.files(file_by_filename=INTEROP) == [INTEROP]


def test_file_of_extension(talk: Conversation) -> None:
    """An extension leads to the file which defines it."""
    question = {"containing_type": "shop.Item", "extension_number": 101}
    assert talk.files(file_containing_extension=question)[0] == "more.proto"


def test_extension_numbers(talk: Conversation) -> None:
    """The known extensions of a message are listed by number."""
    answer = talk.ask(all_extension_numbers_of_type="shop.Item").all_extension_numbers_response
    assert (answer.base_type_name, list(answer.extension_number)) == ("shop.Item", [100, 101])


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "nowhere.proto"},
        {"file_containing_symbol": "nobody.Nobody"},
        {"file_containing_symbol": "grpc.testing.TestService.Nothing"},
        {"file_containing_symbol": ""},
        {"all_extension_numbers_of_type": "nobody.Nobody"},
        {"file_containing_extension": {"containing_type": "shop.Item", "extension_number": 150}},
        {"file_containing_extension": {"containing_type": "nobody.Nobody", "extension_number": 1}},
    ],
)
def test_not_found(talk: Conversation, question: dict[str, Any]) -> None:
    """What is not known is an error in the answer; the conversation goes on."""
    assert talk.ask(**question).error_response.error_code == StatusCode.NOT_FOUND
    assert talk.files(file_by_filename=INTEROP) == [INTEROP]


def test_no_question(talk: Conversation) -> None:
    """A request that asks nothing is told so."""
    assert talk.ask(host="here").error_response.error_code == StatusCode.INVALID_ARGUMENT


def test_question_is_repeated(talk: Conversation) -> None:
    """An answer carries its question and the host that was named."""
    answer = talk.ask(host="here", file_by_filename="nowhere.proto")
    assert answer.valid_host == "here"
    assert answer.original_request.file_by_filename == "nowhere.proto"


def test_service_names() -> None:
    """The services of some methods are the middle parts of their paths."""
    assert service_names(["/a.A/X", "/a.A/Y", "/b.B/Z"]) == {"a.A", "b.B"}
