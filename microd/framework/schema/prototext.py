"""A contract as a C{.proto} file, for other languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from microd.framework.schema.descriptors import Contract

_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}


def prototext(contract: Contract, docs: Mapping[str, str]) -> str:
    """Write a contract's file.

    @param docs: prose for what has some, by C{Message}, C{Struct} or C{Struct.Method}.
    """
    file = FileDescriptorProto()
    contract.file.CopyToProto(file)
    return "\n".join(_file(file, docs)) + "\n"


def _file(file: FileDescriptorProto, docs: Mapping[str, str]) -> Iterator[str]:
    yield 'syntax = "proto3";'
    if file.package:
        yield from ("", f"package {file.package};")
    if file.dependency:
        yield ""
        yield from (f'import "{name}";' for name in file.dependency)
    for service in file.service:
        yield ""
        yield from _comment(docs.get(service.name, ""), "")
        yield f"service {service.name} {{"
        for method in service.method:
            yield from _comment(docs.get(f"{service.name}.{method.name}", ""), "  ")
            request = _relative(method.input_type, file.package)
            reply = _relative(method.output_type, file.package)
            yield (
                f"  rpc {method.name}({'stream ' if method.client_streaming else ''}{request}) "
                f"returns ({'stream ' if method.server_streaming else ''}{reply});"
            )
        yield "}"
    for message in file.message_type:
        yield ""
        yield from _comment(docs.get(message.name, ""), "")
        yield from _message(message, "", file.package)
    for enum in file.enum_type:
        yield ""
        yield from _comment(docs.get(enum.name, ""), "")
        yield from _enum(enum, "")


def _message(message: DescriptorProto, indent: str, package: str) -> Iterator[str]:
    if not message.field and not message.enum_type:
        yield f"{indent}message {message.name} {{}}"
        return
    yield f"{indent}message {message.name} {{"
    for enum in message.enum_type:
        yield from _enum(enum, indent + "  ")
    entries = {entry.name: entry for entry in message.nested_type}
    for field in message.field:
        entry = entries.get(field.type_name.rpartition(".")[2])
        yield f"{indent}  {_type(field, entry, package)} {field.name} = {field.number};"
    yield f"{indent}}}"


def _type(field: FieldDescriptorProto, entry: DescriptorProto | None, package: str) -> str:
    if entry is not None and entry.options.map_entry:
        return f"map<{_named(entry.field[0], package)}, {_named(entry.field[1], package)}>"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {_named(field, package)}"
    return f"optional {_named(field, package)}" if field.proto3_optional else _named(field, package)


def _named(field: FieldDescriptorProto, package: str) -> str:
    return _relative(field.type_name, package) if field.type_name else _SCALARS[field.type]


def _enum(enum: EnumDescriptorProto, indent: str) -> Iterator[str]:
    yield f"{indent}enum {enum.name} {{"
    yield from (f"{indent}  {value.name} = {value.number};" for value in enum.value)
    yield f"{indent}}}"


def _relative(name: str, package: str) -> str:
    """A name as it is written inside the package."""
    return name.removeprefix(f".{package}." if package else ".").removeprefix(".")


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in text.splitlines():
        yield f"{indent}// {line}".rstrip()
