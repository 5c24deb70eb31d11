"""Generic clients of other people's making: grpcio with stubs generated from our protos, h2, and HTTP from the standard library.

Nothing here knows microd; requests and replies are what JSON makes of messages, so that one test speaks over every wire.
"""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import h2.config
import h2.connection
import h2.events
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

ROOT = Path(__file__).parents[2]
LIMIT = 20.0

#: What JSON makes of a message.
Shown = dict[str, Any]


@dataclass
class Refused(Exception):
    """How a call failed: the reference's error object, or a plain text with the gRPC status (spec 2.5).

    @ivar grpc: the name of the gRPC status; empty over HTTP. Not compared.
    @ivar http: the HTTP status; 0 over gRPC. Not compared.
    """

    code: int
    id: str
    detail: str
    grpc: str = field(default="", compare=False)
    http: int = field(default=0, compare=False)
    status: str = field(default="", compare=False)

    @property
    def brief(self) -> tuple[int, str]:
        """The code and the detail."""
        return self.code, self.detail


def refused_from(text: str, grpc_status: str = "", http_status: int = 0) -> Refused:
    """Read an error's text."""
    try:
        said = json.loads(text)
        assert set(said) == {"id", "code", "detail", "status"}, said
    except ValueError:
        return Refused(0, "", text, grpc_status, http_status)
    return Refused(said["code"], said["id"], said["detail"], grpc_status, http_status, said["status"])


class Contracts:
    """The stubs that protoc and grpcio's plugin generate from our protos, as any author of a client would.

    @param folder: where to.
    """

    def __init__(self, folder: Path) -> None:
        source = folder / "protos"
        source.mkdir()
        for each in sorted((ROOT / "proto" / "microd" / "wire").glob("*.proto")):
            text = each.read_text().replace('import "microd/wire/', 'import "')
            (source / each.name).write_text(text)
        made = folder / "stubs"
        made.mkdir()
        files = sorted(each.name for each in source.glob("*.proto"))
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"-I{source}",
                f"--python_out={made}",
                f"--grpc_python_out={made}",
                *files,
            ],
            check=True,
            timeout=60,
        )
        sys.path.insert(0, str(made))
        try:
            self._files: dict[str, FileDescriptor] = {}
            self.modules: dict[str, Any] = {}
            self.stubs: dict[str, Any] = {}
            for name in files:
                module = importlib.import_module(f"{name.removesuffix('.proto')}_pb2")
                self._files[module.DESCRIPTOR.package] = module.DESCRIPTOR
                self.modules[module.DESCRIPTOR.package] = module
                self.stubs[module.DESCRIPTOR.package] = importlib.import_module(
                    f"{name.removesuffix('.proto')}_pb2_grpc"
                )
        finally:
            sys.path.remove(str(made))

    def paths(self) -> Iterator[str]:
        """Every RPC."""
        for package, file in self._files.items():
            for service in file.services_by_name.values():
                for method in service.methods:
                    yield f"/{package}.{service.name}/{method.name}"

    def method(self, path: str) -> MethodDescriptor:
        """The RPC at a path; C{Debug} is every service's."""
        service, method = path[1:].split("/")
        package, _, name = service.rpartition(".")
        file = self._files["debug" if name == "Debug" else package]
        return file.services_by_name[name].methods_by_name[method]


class Wire(Protocol):
    """A way to the daemon.

    @ivar name: what tests are called by.
    @ivar streams_in: whether requests can be streams.
    """

    name: str
    streams_in: bool

    def replies(
        self, path: str, requests: Sequence[Shown], headers: Mapping[str, str], most: int
    ) -> list[Shown]:
        """Send requests, and take replies until the stream ends or there are C{most} of them."""

    def close(self) -> None:
        """Done."""


class ProtoWire:
    """grpcio with generated stubs: C{application/grpc}, messages in protobuf."""

    streams_in = True

    def __init__(self, name: str, address: str, contracts: Contracts) -> None:
        self.name = name
        self._contracts = contracts
        self.channel = grpc.insecure_channel(address)

    def replies(
        self,
        path: str,
        requests: Sequence[Shown],
        headers: Mapping[str, str],
        most: int,
        limit: float = LIMIT,
    ) -> list[Shown]:
        method = self._contracts.method(path)
        kind = message_factory.GetMessageClass(method.input_type)
        messages = [json_format.ParseDict(encoded(each), kind()) for each in requests]
        call = self._callable(path, method)
        argument = iter(messages) if method.client_streaming else messages[0]
        metadata = list(headers.items())
        try:
            answer = call(argument, metadata=metadata, timeout=limit)
            if not method.server_streaming:
                return [shown(answer)]
            found = []
            for each in answer:
                found.append(shown(each))
                if len(found) == most:
                    answer.cancel()
                    break
            return found
        except grpc.RpcError as error:
            raise refused_from(error.details(), error.code().name) from None

    def _callable(self, path: str, method: MethodDescriptor) -> Any:
        service, name = path[1:].split("/")
        package, _, struct_name = service.rpartition(".")
        if struct_name == "Debug":
            reply = message_factory.GetMessageClass(method.output_type)
            return self.channel.unary_unary(
                path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
        stub = getattr(self._contracts.stubs[package], f"{struct_name}Stub")(self.channel)
        return getattr(stub, name)

    def close(self) -> None:
        self.channel.close()


class JsonWire:
    """h2: C{application/grpc+json}."""

    streams_in = True

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        host, _, port = address.rpartition(":")
        self._address = host, int(port)

    def replies(
        self, path: str, requests: Sequence[Shown], headers: Mapping[str, str], most: int
    ) -> list[Shown]:
        bodies = [json.dumps(encoded(each)).encode() for each in requests]
        return [json.loads(each) for each in self.raw(path, bodies, headers, most)]

    def raw(
        self,
        path: str,
        bodies: Sequence[bytes],
        headers: Mapping[str, str],
        most: int = 0,
        content_type: str = "application/grpc+json",
    ) -> list[bytes]:
        """As C{replies}, in bytes."""
        with closing(socket.create_connection(self._address, LIMIT)) as connection:
            return _H2Call(connection).made(path, bodies, headers, most, content_type)

    def close(self) -> None:
        """Each call has its own connection."""


class _H2Call:
    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._trailers: dict[str, str] = {}
        self._ended = False

    def made(
        self, path: str, bodies: Sequence[bytes], headers: Mapping[str, str], most: int, content_type: str
    ) -> list[bytes]:
        self._h2.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        own = [("content-type", content_type), ("te", "trailers")]
        self._h2.send_headers(1, [*pseudo, *own, *headers.items()])
        pending = b"".join(struct.pack(">BI", 0, len(body)) + body for body in bodies)
        received = b""
        found: list[bytes] = []
        ended = False
        while not ended:
            pending = self._send(pending)
            data = self._socket.recv(65536)
            if not data:
                break
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    received += event.data or b""
                    self._h2.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    self._trailers.update({str(name): str(value) for name, value in event.headers or ()})
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    ended = True
            while len(received) >= 5 and len(received) >= 5 + int.from_bytes(received[1:5], "big"):
                size = int.from_bytes(received[1:5], "big")
                found.append(received[5 : 5 + size])
                received = received[5 + size :]
            if most and len(found) >= most:
                return found[:most]
        return self._outcome(found)

    def _send(self, pending: bytes) -> bytes:
        """Send what the windows allow, and end the stream with the last of it; what is left."""
        while not self._ended:
            room = min(self._h2.local_flow_control_window(1), self._h2.max_outbound_frame_size)
            if pending and room <= 0:
                break
            piece, pending = pending[:room], pending[room:]
            self._ended = not pending
            self._h2.send_data(1, piece, end_stream=self._ended)
        self._socket.sendall(self._h2.data_to_send())
        return pending

    def _outcome(self, found: list[bytes]) -> list[bytes]:
        status = int(self._trailers.get("grpc-status", "2"))
        if status:
            name = next(each.name for each in grpc.StatusCode if each.value[0] == status)
            raise refused_from(unquote(self._trailers.get("grpc-message", "")), name)
        return found


class HttpWire:
    """The HTTP gateway: C{POST /service/Struct/Method} with JSON."""

    streams_in = False

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._address = address

    def replies(
        self, path: str, requests: Sequence[Shown], headers: Mapping[str, str], most: int
    ) -> list[Shown]:
        body = json.dumps(encoded(requests[0])).encode()
        lines = self.raw(path, body, headers, most).splitlines()
        return [json.loads(line) for line in lines]

    def raw(self, path: str, body: bytes, headers: Mapping[str, str], most: int = 0) -> bytes:
        """As C{replies}, in bytes: lines where the answer is a stream."""
        service, method = path[1:].split("/")
        place = "/" + "/".join((*service.split("."), method))
        connection = http.client.HTTPConnection(self._address, timeout=LIMIT)
        with closing(connection):
            connection.request("POST", place, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            if answer.status not in (200, 204):
                raise refused_from(answer.read().decode(), http_status=answer.status)
            if not most:
                return answer.read()
            return b"".join(answer.readline() for _ in range(most))

    def close(self) -> None:
        """Each call has its own connection."""


def encoded(value: Any) -> Any:
    """What JSON takes: bytes as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: encoded(each) for name, each in value.items()}
    return [encoded(each) for each in value] if isinstance(value, list | tuple) else value


def shown(message: Any) -> Shown:
    """A message as the daemon's JSON shows it."""
    found: Shown = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def without_absent(value: Any) -> Any:
    """JSON says null where a message is absent; protobuf says nothing."""
    if isinstance(value, dict):
        return {name: without_absent(each) for name, each in value.items() if each is not None}
    return [without_absent(each) for each in value] if isinstance(value, list) else value
