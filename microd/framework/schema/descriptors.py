"""Protobuf descriptors, made from the shapes of dataclasses and the endpoints of a service.

Everything lives in a pool of its own, so that two services in one process, or a service and its author's generated messages,
cannot clash. One file holds a service: its messages, its enums and the C{service} blocks; what generated messages need
is copied in from their own pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from google.protobuf import duration_pb2, empty_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from microd.framework.schema.shapes import (
    Choice,
    Instant,
    Keyed,
    Many,
    Model,
    Part,
    Record,
    Scalar,
    SchemaError,
    Single,
    Span,
    is_message,
)

_TYPES: dict[str, FieldDescriptorProto.Type.ValueType] = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}
_EMPTY: Descriptor = empty_pb2.DESCRIPTOR.message_types_by_name["Empty"]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method of a service, as its descriptor has it; a class of C{None} is an empty message."""

    struct: str
    method: str
    request: type | None
    reply: type | None
    client_streaming: bool = False
    server_streaming: bool = False
    doc: str = ""


class Contract:
    """A set of messages, and the services that speak them, in one pool.

    @ivar file: the descriptor of the file in which all of it is.
    """

    def __init__(self, package: str, models: Iterable[Model], rpcs: Iterable[Rpc] = ()) -> None:
        self.pool = DescriptorPool()
        self._package = package
        self._kinds: dict[str, type] = {}
        self._names: dict[type, str] = {}
        self._parts: dict[type, tuple[Part, ...]] = {}
        self._imported: dict[str, FileDescriptor] = {}
        rpcs = list(rpcs)
        self.rpcs = rpcs
        for rpc in rpcs:
            for kind in (rpc.request, rpc.reply):
                if is_message(kind):
                    self._import(_file_of(kind))
        made = FileDescriptorProto(name=self._file_name(), package=package, syntax="proto3")
        choices: dict[type[Enum], Choice] = {}
        for model in models:
            choices |= model.choices
            for known, parts in model.records.items():
                self._claim(known)
                self._parts[known] = parts
        self._place_choices(made, choices.values())
        for known, parts in self._parts.items():
            made.message_type.append(self._message(made, known, parts))
        self._place_services(made, rpcs)
        made.dependency.sort()
        self.pool.AddSerializedFile(made.SerializeToString())
        self.file: FileDescriptor = self.pool.FindFileByName(made.name)

    def message(self, kind: type) -> type[Message]:
        """The message class, in this pool, that stands for a dataclass or for a generated message."""
        if is_message(kind):
            return GetMessageClass(self.pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))
        return GetMessageClass(self.pool.FindMessageTypeByName(self._names[kind]))

    def descriptor(self, kind: type | None) -> Descriptor:
        """The descriptor of a dataclass, of a generated message, or of nothing."""
        return _EMPTY if kind is None else cast(Descriptor, self.message(kind).DESCRIPTOR)

    def _file_name(self) -> str:
        name = f"{self._package.replace('.', '/')}.proto"
        return f"microd/{name}" if name in self._imported else name

    def _import(self, file: FileDescriptor) -> None:
        if file.name not in self._imported:
            self._imported[file.name] = file
            for needed in file.dependencies:
                self._import(needed)
            self.pool.AddSerializedFile(file.serialized_pb)

    def _claim(self, kind: type) -> None:
        """Give a class its name in the package."""
        name = f"{self._package}.{kind.__name__}" if self._package else kind.__name__
        other = self._kinds.setdefault(name, kind)
        if other is not kind:
            raise SchemaError(
                f"two classes are called {kind.__name__}: {other.__module__}.{other.__qualname__} and "
                f"{kind.__module__}.{kind.__qualname__}; one service needs a name for each"
            )
        self._names[kind] = name

    def _place_choices(self, file: FileDescriptorProto, choices: Iterable[Choice]) -> None:
        """protobuf counts an enum's members among the names around it; where they clash, a message keeps them apart."""
        taken = {name.rpartition(".")[2] for name in self._kinds}
        for choice in choices:
            self._claim(choice.kind)
            made = EnumDescriptorProto(name=choice.kind.__name__)
            if choice.zero is None:
                made.value.add(name=f"{_shout(choice.kind.__name__)}_UNSPECIFIED", number=0)
            for name, number in choice.members:
                made.value.add(name=name, number=number)
            names = {value.name for value in made.value}
            if names & taken or made.name in taken:
                file.message_type.add(name=made.name, enum_type=[made])
                made = file.message_type[-1].enum_type[0]
                made.name = "Value"
                self._names[choice.kind] += ".Value"
            else:
                file.enum_type.append(made)
                taken |= names
            taken.add(choice.kind.__name__)

    def _message(self, file: FileDescriptorProto, kind: type, parts: tuple[Part, ...]) -> DescriptorProto:
        made = DescriptorProto(name=kind.__name__)
        for part in parts:
            field = made.field.add(name=part.name, number=part.number, json_name=part.json)
            field.label = FieldDescriptorProto.LABEL_OPTIONAL
            match part.shape:
                case Many(item, _):
                    field.label = FieldDescriptorProto.LABEL_REPEATED
                    self._type(file, field, item)
                case Keyed(key, value):
                    field.label = FieldDescriptorProto.LABEL_REPEATED
                    entry = made.nested_type.add(name=_entry_name(part.name))
                    entry.options.map_entry = True
                    self._type(file, entry.field.add(name="key", number=1, label=1), key)
                    self._type(file, entry.field.add(name="value", number=2, label=1), value)
                    field.type = FieldDescriptorProto.TYPE_MESSAGE
                    field.type_name = f".{self._names[kind]}.{entry.name}"
                case single:
                    self._type(file, field, single)
                    if part.presence and isinstance(single, Scalar | Choice):
                        field.proto3_optional = True
                        field.oneof_index = len(made.oneof_decl)
                        made.oneof_decl.add(name=f"_{part.name}")
        return made

    def _type(self, file: FileDescriptorProto, field: FieldDescriptorProto, shape: Single) -> None:
        match shape:
            case Scalar(kind):
                field.type = _TYPES[kind]
            case Choice():
                field.type = FieldDescriptorProto.TYPE_ENUM
                field.type_name = f".{self._names[shape.kind]}"
            case Record():
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{self._names[shape.kind]}"
            case Instant():
                self._known(file, field, timestamp_pb2.DESCRIPTOR, "Timestamp")
            case Span():
                self._known(file, field, duration_pb2.DESCRIPTOR, "Duration")

    def _known(
        self, file: FileDescriptorProto, field: FieldDescriptorProto, known: FileDescriptor, name: str
    ) -> None:
        self._depend(file, known)
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".google.protobuf.{name}"

    def _depend(self, file: FileDescriptorProto, known: FileDescriptor) -> None:
        self._import(known)
        if known.name not in file.dependency:
            file.dependency.append(known.name)

    def _place_services(self, file: FileDescriptorProto, rpcs: Iterable[Rpc]) -> None:
        structs: dict[str, list[Rpc]] = {}
        for rpc in rpcs:
            structs.setdefault(rpc.struct, []).append(rpc)
        defined = {service.full_name for known in self._imported.values() for service in _services(known)}
        for struct, methods in structs.items():
            full_name = f"{self._package}.{struct}" if self._package else struct
            if full_name in defined:  # the author's own contract has it already
                continue
            if full_name in self._kinds:
                raise SchemaError(
                    f"the class {struct} has the name of the struct which the endpoints belong to; rename one"
                )
            service = file.service.add(name=struct)
            for rpc in methods:
                service.method.add(
                    name=rpc.method,
                    input_type=self._reference(file, rpc.request),
                    output_type=self._reference(file, rpc.reply),
                    client_streaming=rpc.client_streaming,
                    server_streaming=rpc.server_streaming,
                )

    def _reference(self, file: FileDescriptorProto, kind: type | None) -> str:
        if kind is None:
            self._depend(file, empty_pb2.DESCRIPTOR)
            return ".google.protobuf.Empty"
        if is_message(kind):
            self._depend(file, _file_of(kind))
            return f".{kind.DESCRIPTOR.full_name}"
        return f".{self._names[kind]}"


def _services(file: FileDescriptor) -> Iterator[Any]:
    yield from file.services_by_name.values()


def _file_of(kind: type[Message]) -> FileDescriptor:
    return cast(FileDescriptor, kind.DESCRIPTOR.file)


def _entry_name(field: str) -> str:
    """protobuf's name for the message behind a map: C{LabelsEntry} of C{labels}."""
    return "".join(word[:1].upper() + word[1:] for word in field.split("_")) + "Entry"


def _shout(name: str) -> str:
    """C{TrafficLight} as C{TRAFFIC_LIGHT}."""
    return "".join(
        f"_{letter}" if letter.isupper() and place else letter for place, letter in enumerate(name)
    ).upper()
