"""The runtime on the wire: spec 6.7 and Appendix A."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime

from microd.kernel.access import require_admin, require_member
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Forbidden, NotFound, Unauthorized, Unimplemented
from microd.services.runtime import rules
from microd.services.runtime.model import Key, Line, Spec, View
from microd.services.runtime.service import Runtime
from microd.wire import runtime_pb2 as pb

#: What answers say of a service and requests cannot.
_OURS = ("owner", "group", "started", "status", "error", "pid", "restarts", "retry", "instances", "build")


def endpoints(runtime: Runtime, reserved: Collection[str] = ()) -> list[Endpoint]:
    """What the runtime answers.

    @param reserved: names in the platform's own namespace which no service may have.
    """
    wire = RuntimeWire(runtime, frozenset(reserved))
    path = "/runtime.Runtime/"
    return [
        Endpoint(path + "Create", pb.CreateRequest, pb.CreateResponse, wire.create),
        Endpoint(path + "Read", pb.ReadRequest, pb.ReadResponse, wire.read),
        Endpoint(path + "Update", pb.UpdateRequest, pb.UpdateResponse, wire.update),
        Endpoint(path + "Delete", pb.DeleteRequest, pb.DeleteResponse, wire.delete),
        Endpoint(path + "Logs", pb.LogsRequest, pb.LogRecord, wire.logs, server_streaming=True, endless=True),
        Endpoint(
            "/runtime.Source/Upload", pb.UploadRequest, pb.UploadResponse, wire.upload, client_streaming=True
        ),
        Endpoint(
            "/runtime.Build/Read", pb.Service, pb.BuildReadResponse, wire.read_build, server_streaming=True
        ),
    ]


class RuntimeWire:
    """Messages in, messages out."""

    def __init__(self, runtime: Runtime, reserved: frozenset[str]) -> None:
        self._runtime = runtime
        self._reserved = reserved

    async def create(self, request: pb.CreateRequest, caller: Caller) -> pb.CreateResponse:
        account = _administering(caller, request.options.namespace)
        if _is_namespace(request.resource):
            return pb.CreateResponse()
        spec = spec_from(request.resource.service, request.options, account)
        self._refuse_reserved(spec.key)
        await self._runtime.create(spec, account.issuer, force=request.options.force)
        return pb.CreateResponse()

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        wanted = request.options
        namespace = wanted.namespace or DEFAULT_NAMESPACE
        require_member(caller, namespace)
        found = await self._runtime.read(namespace, wanted.service, wanted.version, wanted.type)
        return pb.ReadResponse(services=[message_from(view) for view in found])

    async def update(self, request: pb.UpdateRequest, caller: Caller) -> pb.UpdateResponse:
        account = _administering(caller, request.options.namespace)
        if _is_namespace(request.resource):
            return pb.UpdateResponse()
        change = change_from(request.resource.service, request.options, account)
        await self._runtime.update(change, account.issuer)
        return pb.UpdateResponse()

    async def delete(self, request: pb.DeleteRequest, caller: Caller) -> pb.DeleteResponse:
        _administering(caller, request.options.namespace)
        if _is_namespace(request.resource):
            return pb.DeleteResponse()
        service = request.resource.service
        await self._runtime.delete(_key(request.options.namespace, service.name, service.version))
        return pb.DeleteResponse()

    async def logs(self, request: pb.LogsRequest, caller: Caller) -> AsyncIterator[pb.LogRecord]:
        _administering(caller, request.options.namespace)
        key = _key(request.options.namespace, request.service, request.version)
        count, since = max(0, request.count), float(max(0, request.since))
        async for line in self._runtime.logs(key, count, since, request.stream):
            yield record_from(line)

    async def upload(self, requests: AsyncIterator[pb.UploadRequest], caller: Caller) -> pb.UploadResponse:
        account = caller.account
        if account is None:
            raise Unauthorized("An account is required to upload source")
        require_admin(caller, account.issuer)
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("service"):
            raise BadRequest("No service was sent")
        key = _key(account.issuer, first.service.name, first.service.version)

        async def chunks() -> AsyncIterator[bytes]:
            yield first.data
            async for message in requests:
                yield message.data

        return pb.UploadResponse(id=await self._runtime.sources.upload(key, chunks()))

    async def read_build(self, request: pb.Service, caller: Caller) -> AsyncIterator[pb.BuildReadResponse]:
        if caller.account is None:
            raise Unauthorized("An account is required to read builds")
        if not request.name:
            raise BadRequest("Missing name")
        if not request.version:
            raise BadRequest("Missing version")
        raise NotFound("Build not found")
        yield  # an async generator, as every streaming handler

    def _refuse_reserved(self, key: Key) -> None:
        if key.namespace == DEFAULT_NAMESPACE and key.name in self._reserved:
            raise Forbidden(f"the name {key.name} belongs to the platform")


def _administering(caller: Caller, namespace: str) -> Account:
    """The caller's account, which administers the namespace."""
    require_admin(caller, namespace or DEFAULT_NAMESPACE)
    account = caller.account
    assert account is not None, "require_admin lets nobody anonymous pass"
    return account


def _is_namespace(resource: pb.Resource) -> bool:
    """Whether a resource is a namespace, which is there as soon as something is in it; else it is a service."""
    if resource.HasField("namespace"):
        if not resource.namespace.name:
            raise BadRequest("invalid resource")
        return True
    for kind in ("networkpolicy", "resourcequota"):
        if resource.HasField(kind):
            raise Unimplemented(f"a {kind} cannot be enforced on local processes: this needs another runtime")
    if not resource.HasField("service"):
        raise BadRequest("blank resource")
    return False


def _key(namespace: str, name: str, version: str) -> Key:
    return rules.check_key(namespace or DEFAULT_NAMESPACE, name, version)


def spec_from(service: pb.Service, options: pb.CreateOptions, account: Account) -> Spec:
    """What is to run, as a request asks for it."""
    for kind in ("image", "volumes"):
        if getattr(options, kind):
            raise Unimplemented(f"{kind}: services run as local processes here, from their source")
    return Spec(
        key=_key(options.namespace, service.name, service.version),
        source=service.source,
        entrypoint=options.entrypoint,
        command=tuple(options.command),
        args=tuple(options.args),
        env=rules.check_env(options.env),
        secrets=dict(options.secrets),
        type=options.type,
        instances=options.instances or 1,
        metadata=_metadata(service),
        owner=account.name or account.id,
        group=account.issuer,
    )


def change_from(service: pb.Service, options: pb.UpdateOptions, account: Account) -> Spec:
    """What is to become different; empty where it stays."""
    return Spec(
        key=_key(options.namespace, service.name, service.version),
        source=service.source,
        entrypoint=options.entrypoint,
        instances=options.instances,
        metadata=_metadata(service),
        owner=account.name or account.id,
        group=account.issuer,
    )


def _metadata(service: pb.Service) -> dict[str, str]:
    return {name: value for name, value in service.metadata.items() if name not in _OURS}


def message_from(view: View) -> pb.Service:
    """A service as its owner sees it; its secrets and its environment are not part of that."""
    key = view.spec.key
    return pb.Service(
        name=key.name,
        version=key.version,
        source=view.spec.source,
        metadata=view.metadata,
        status=int(view.status),
    )


def record_from(line: Line) -> pb.LogRecord:
    """A line of a log."""
    time = datetime.fromtimestamp(line.time, UTC).isoformat(timespec="milliseconds")
    return pb.LogRecord(
        timestamp=math.floor(line.time),
        metadata={"stream": line.stream, "time": time.replace("+00:00", "Z")},
        message=line.text,
    )
