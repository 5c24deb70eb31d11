"""The runtime, as the commands ask it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from microd.cli.remote import Remote

if TYPE_CHECKING:
    from microd.wire import runtime_pb2

LATEST = "latest"
_WORDS = ("unknown", "pending", "building", "starting", "running", "stopping", "stopped", "error")


@dataclass(frozen=True, slots=True)
class Running:
    """A service which the runtime looks after."""

    name: str
    version: str
    source: str
    status: str
    metadata: Mapping[str, str]

    @property
    def trouble(self) -> str:
        """What went wrong, in one line; empty for nothing. (The runtime adds the last lines of output to it.)"""
        return self.metadata.get("error", "").strip().partition("\n")[0]

    @property
    def last_line(self) -> str:
        """The last line of what it printed before that; may be empty."""
        return self.metadata.get("error", "").strip().partition("\n")[2].rpartition("\n")[2].strip()


@dataclass(frozen=True, slots=True)
class Order:
    """How a service is to run.

    @ivar source: the id which the upload was given.
    @ivar instances: 0 leaves it to the server.
    """

    name: str
    version: str
    source: str
    metadata: Mapping[str, str]
    entrypoint: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    type: str = ""
    image: str = ""
    instances: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Runtime:
    """The runtime service, in one namespace."""

    def __init__(self, remote: Remote, namespace: str) -> None:
        self._remote = remote
        self._namespace = namespace

    def read(self, name: str = "", version: str = "", type: str = "") -> list[Running]:
        """The services which run, by name and version."""
        from microd.wire.runtime_pb2 import ReadOptions, ReadRequest, ReadResponse

        options = ReadOptions(service=name, version=version, type=type, namespace=self._namespace)
        answer = self._remote.unary("/runtime.Runtime/Read", ReadRequest(options=options), ReadResponse)
        return sorted(
            map(_running_from, answer.services), key=lambda service: (service.name, service.version)
        )

    def upload(self, name: str, version: str, chunks: Iterable[bytes]) -> str:
        """Bring a source; C{chunks} may be gone through twice.

        @return: the id to order it by.
        """
        from microd.wire.runtime_pb2 import Service, UploadRequest, UploadResponse

        def requests() -> Iterator[UploadRequest]:
            yield UploadRequest(service=Service(name=name, version=version))
            for chunk in chunks:
                yield UploadRequest(data=chunk)

        return self._remote.upload("/runtime.Source/Upload", requests, UploadResponse).id

    def create(self, order: Order) -> None:
        """Run a service; one of that name and version is replaced."""
        from microd.wire.runtime_pb2 import CreateOptions, CreateRequest, CreateResponse

        options = CreateOptions(
            command=order.command,
            args=order.args,
            env=order.env,
            type=order.type,
            image=order.image,
            namespace=self._namespace,
            entrypoint=order.entrypoint,
            instances=order.instances,
            force=True,
        )
        request = CreateRequest(resource=_resource(order), options=options)
        self._remote.unary("/runtime.Runtime/Create", request, CreateResponse, timeout=60.0)

    def update(self, order: Order) -> None:
        """Replace the source of a service."""
        from microd.wire.runtime_pb2 import UpdateOptions, UpdateRequest, UpdateResponse

        options = UpdateOptions(
            namespace=self._namespace, entrypoint=order.entrypoint, instances=order.instances
        )
        request = UpdateRequest(resource=_resource(order), options=options)
        self._remote.unary("/runtime.Runtime/Update", request, UpdateResponse, timeout=60.0)

    def delete(self, name: str, version: str) -> None:
        """Stop a service and forget it."""
        from microd.wire.runtime_pb2 import DeleteOptions, DeleteRequest, DeleteResponse, Resource, Service

        request = DeleteRequest(
            resource=Resource(service=Service(name=name, version=version)),
            options=DeleteOptions(namespace=self._namespace),
        )
        self._remote.unary("/runtime.Runtime/Delete", request, DeleteResponse, timeout=60.0)

    def logs(
        self, name: str, version: str, *, count: int, follow: bool = False, since: int = 0
    ) -> Iterator[Line]:
        """The newest lines of a service, and those to come if wanted.

        @param since: unix seconds; 0 for no limit.
        """
        from microd.wire.runtime_pb2 import LogRecord, LogsOptions, LogsRequest

        request = LogsRequest(
            service=name,
            version=version,
            count=count,
            stream=follow,
            since=since,
            options=LogsOptions(namespace=self._namespace),
        )
        for record in self._remote.stream("/runtime.Runtime/Logs", request, LogRecord):
            yield Line(record.message, dict(record.metadata))


def name_and_version(text: str) -> tuple[str, str]:
    """C{name@version}; without a version, the latest."""
    name, _, version = text.partition("@")
    return name, version or LATEST


def _resource(order: Order) -> runtime_pb2.Resource:
    from microd.wire.runtime_pb2 import Resource, Service

    return Resource(
        service=Service(
            name=order.name, version=order.version, source=order.source, metadata=dict(order.metadata)
        )
    )


def _running_from(message: runtime_pb2.Service) -> Running:
    word = _WORDS[message.status] if 0 <= message.status < len(_WORDS) else _WORDS[0]
    return Running(message.name, message.version, message.source, word, dict(message.metadata))
