"""What others are told about messages: the registry's tree, and the .proto file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from microd.framework.schema.annotations import model_of
from microd.framework.schema.descriptors import Contract, Rpc
from microd.framework.schema.prototext import prototext
from microd.framework.schema.shapes import float32, int32, uint64
from microd.framework.schema.values import tree
from microd.wire.registry_pb2 import Service, Value


class Colour(Enum):
    RED = 1


@dataclass
class Address:
    zip: int
    city: str


@dataclass
class Person:
    name: str
    age: int32
    size: float
    weight: float32
    huge: uint64
    on: bool
    photo: bytes
    address: Address
    friends: list[Address]
    tags: list[str]
    labels: dict[str, int]
    by_number: dict[int, Address]
    born: datetime
    colour: Colour
    nick: str | None = None
    mother: Person | None = None
    reserved: str = field(default="", metadata={"name": "from", "number": 40})


def shown(value: Value) -> object:
    """A tree as Python values."""
    if not value.values:
        return f"{value.name}: {value.type}"
    return {f"{value.name}: {value.type}": [shown(child) for child in value.values]}


def test_tree(contract: Callable[[type], Contract]) -> None:
    """The registry is told names and types as the reference writes them."""

    @dataclass
    class Small:
        name: str
        age: int32
        size: float
        weight: float32
        huge: uint64
        on: bool
        photo: bytes
        address: Address
        friends: list[Address]
        tags: list[str]
        labels: dict[str, int]
        by_number: dict[int, Address]
        born: datetime
        colour: Colour

    assert shown(tree(contract(Small).descriptor(Small))) == {
        "Small: Small": [
            "name: string",
            "age: int32",
            "size: float64",
            "weight: float32",
            "huge: uint64",
            "on: bool",
            "photo: []uint8",
            {"address: Address": ["zip: int64", "city: string"]},
            "friends: []Address",
            "tags: []string",
            "labels: map[string]int64",
            "by_number: map[int64]Address",
            "born: string",
            "colour: string",
        ]
    }


def test_tree_is_cut() -> None:
    """The tree of a message that holds its own kind ends after six levels."""

    @dataclass
    class Nest:
        inner: Nest | None = None

    found = tree(Contract("t", [model_of(Nest)]).descriptor(Nest))
    depth = 1
    while found.values:
        found = found.values[0]
        depth += 1
    assert depth == 6


def test_generated_tree() -> None:
    """Generated messages have a tree by the same rules."""
    children = {value.name: value.type for value in tree(cast(Descriptor, Service.DESCRIPTOR)).values}
    assert children["metadata"] == "map[string]string"
    assert children["nodes"] == "[]Node"
    assert children["options"] == "Options"


def test_proto_file(tmp_path: Path) -> None:
    """The exported file is one that protoc reads, and means the same descriptor."""
    contract = Contract(
        "tests.v1",
        [model_of(Person)],
        [Rpc("People", "Find", Address, Person), Rpc("People", "Watch", None, Person, server_streaming=True)],
    )
    text = prototext(contract, {"People.Find": "Find somebody\nby address.", "Person": "Somebody."})
    (tmp_path / "people.proto").write_text(text)
    made = tmp_path / "made"
    assert protoc.main(["protoc", f"-I{tmp_path}", f"-I{_well_known()}", f"-o{made}", "people.proto"]) == 0
    read = FileDescriptorSet.FromString(made.read_bytes()).file[0]
    ours = FileDescriptorProto()
    contract.file.CopyToProto(ours)
    for file in (read, ours):
        file.ClearField("name")
        for message in file.message_type:
            for found in [*message.field, *(each for nested in message.nested_type for each in nested.field)]:
                found.ClearField("json_name")
    assert read == ours
    assert "  // Find somebody\n  // by address.\n  rpc Find(Address) returns (Person);" in text
    assert "// Somebody.\nmessage Person {" in text


def _well_known() -> str:
    import grpc_tools

    return str(Path(grpc_tools.__file__).parent / "_proto")
