"""The message that the gRPC benches send to and fro, and the one call that is checked before any is counted."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

UNARY = "/bench.Echo/Unary"
STREAM = "/bench.Echo/Stream"
#: Replies to one call of STREAM.
STREAM_LENGTH = 100
#: With every call, so that each server has a deadline to arm.
TIMEOUT = {"grpc-timeout": "10S"}


def _message_class() -> type[Message]:
    file = FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    message = file.message_type.add(name="Echo")
    message.field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    message.field.add(name="n", number=2, type=FieldDescriptorProto.TYPE_INT64, label=1)
    pool = DescriptorPool()
    return GetMessageClass(pool.AddSerializedFile(file.SerializeToString()).message_types_by_name["Echo"])


Echo = _message_class()
REQUEST = Echo(text="Hello there, microd", n=42)


def check_one_call(port: int, path: str = UNARY) -> None:
    """Make one call as grpcio makes it, so that what is counted afterwards is known to work."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        if path == UNARY:
            replies = [
                channel.unary_unary(path, Echo.SerializeToString, Echo.FromString)(REQUEST, timeout=10)
            ]
        else:
            replies = list(
                channel.unary_stream(path, Echo.SerializeToString, Echo.FromString)(REQUEST, timeout=10)
            )
    assert replies == [REQUEST] * (1 if path == UNARY else STREAM_LENGTH), f"a wrong answer from port {port}"
