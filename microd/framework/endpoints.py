"""A service's endpoints: gathered from decorators, then turned into a contract, gRPC methods and a registry entry."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from microd.framework import naming
from microd.framework.answering import Answering
from microd.framework.bridge import Bridge
from microd.framework.handlers import Handler, handler_of, place_of_function
from microd.framework.schema.annotations import model_of
from microd.framework.schema.codec import Codec, codec_in
from microd.framework.schema.descriptors import Contract, Rpc
from microd.framework.schema.prototext import prototext
from microd.framework.schema.shapes import Model, SchemaError
from microd.framework.schema.values import streamed, tree
from microd.framework.workers import Workers
from microd.kernel.activity import Activity
from microd.kernel.caller import Account
from microd.txgrpc import Method, RpcError, ServerCall, StatusCode
from microd.wire import registry_pb2 as wire

Author = Callable[..., Any]
Inspect = Callable[[str], Awaitable[Account | None]]


@dataclass(frozen=True, slots=True)
class _Postponed:
    """A function whose annotations name what is defined further down."""

    function: Author
    name: str
    names: Mapping[str, object]
    metadata: Mapping[str, str]


class Endpoints:
    """What a service offers; it grows until L{published}.

    @ivar names: what the classes' annotations may name, from where the functions were decorated.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._handlers: dict[str, Handler] = {}
        self._models: dict[type, Model] = {}
        self._postponed: list[_Postponed] = []
        self._names: dict[str, object] = {}

    def add(
        self, function: Author, name: str, names: Mapping[str, object], metadata: Mapping[str, str]
    ) -> None:
        """Take a function on.

        @raise SchemaError: it cannot be an endpoint, or there is one of that name.
        """
        full = naming.endpoint_of(self._service, getattr(function, "__name__", ""), name)
        if full in self._handlers or any(full == other.name for other in self._postponed):
            raise SchemaError(
                f"{place_of_function(function)}: there is an endpoint {full} already; give one another name"
            )
        self._names |= names
        wanted = _Postponed(function, full, names, metadata)
        try:
            self._resolve(wanted)
        except NameError:
            self._postponed.append(wanted)

    def published(self) -> Published:
        """Everything that follows from the endpoints, once no more of them come.

        @raise SchemaError: an annotation names what does not exist, or two classes have one name.
        """
        waiting, self._postponed = self._postponed, []
        for wanted in waiting:
            try:
                self._resolve(wanted)
            except NameError as problem:
                raise SchemaError(f"{place_of_function(wanted.function)}: {problem}") from None
        return Published(self._service, self._handlers, self._models)

    def _resolve(self, wanted: _Postponed) -> None:
        handler = handler_of(wanted.function, wanted.name, wanted.names, wanted.metadata)
        for kind in (handler.request, handler.reply):
            if kind is not None and is_dataclass(kind) and kind not in self._models:
                self._models[kind] = model_of(kind, self._names)
        self._handlers[wanted.name] = handler


class Published:
    """A service's endpoints in all their forms.

    @ivar contract: the descriptors, in a pool of the service's own.
    """

    def __init__(self, service: str, handlers: Mapping[str, Handler], models: Mapping[type, Model]) -> None:
        self._service = service
        self.handlers = dict(sorted(handlers.items()))
        self._models = models
        self.contract = Contract(
            naming.package_of(service),
            models.values(),
            [
                Rpc(
                    handler.struct,
                    handler.method,
                    handler.request,
                    handler.reply,
                    handler.client_streaming,
                    handler.server_streaming,
                )
                for handler in handlers.values()
            ],
        )

    def codec(self, kind: type | None) -> Codec[Any]:
        """The conversions of one of the messages."""
        return codec_in(self.contract, kind, self._models.get(kind) if kind is not None else None)

    def methods(
        self, workers: Workers, bridge: Bridge, inspect: Inspect, activity: Activity
    ) -> dict[str, Method]:
        """What a gRPC server serves, by path."""
        codecs = {
            kind: self.codec(kind) for one in self.handlers.values() for kind in (one.request, one.reply)
        }
        return {
            naming.path_of(self._service, name): Answering(
                self._service,
                handler,
                codecs[handler.request],
                codecs[handler.reply],
                workers,
                bridge,
                inspect,
                activity,
            ).method()
            for name, handler in self.handlers.items()
        }

    def registered(self) -> list[wire.Endpoint]:
        """What the registry is told, sorted by struct and method (spec 6.1)."""
        return [self._entry(handler) for handler in self.handlers.values()]

    def prototext(self) -> str:
        """The contract as a C{.proto} file."""
        docs = {name: handler.doc for name, handler in self.handlers.items() if handler.doc}
        for model in self._models.values():
            for kind in (*model.records, *model.choices):
                if _has_own_doc(kind):
                    docs[kind.__name__] = inspect.cleandoc(kind.__doc__ or "")
        return prototext(self.contract, docs)

    def service_names(self) -> set[str]:
        """The names by which tools know the structs: of the descriptors, which have no hyphens."""
        return {f"{naming.package_of(self._service)}.{handler.struct}" for handler in self.handlers.values()}

    def _entry(self, handler: Handler) -> wire.Endpoint:
        request, reply = (self.contract.descriptor(kind) for kind in (handler.request, handler.reply))
        metadata = dict(handler.metadata)
        if handler.doc:
            metadata.setdefault("doc", handler.doc)
        if handler.client_streaming or handler.server_streaming:
            metadata["stream"] = "true"
            request_value, reply_value = streamed(request, "Context"), streamed(reply, "Stream")
        else:
            request_value, reply_value = tree(request), tree(reply)
        return wire.Endpoint(
            name=handler.name, request=request_value, response=reply_value, metadata=metadata
        )


class AnyPackage:
    """Finds a method by the last label of its path's second part, whatever package stands before (spec 2.2)."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = {path[1:].rpartition(".")[2]: method for path, method in methods.items()}
        self._structs = {name.partition("/")[0] for name in self._methods}

    def __call__(self, call: ServerCall) -> Method:
        parts = call.path.split("/")
        if len(parts) != 3 or parts[0]:
            raise RpcError(StatusCode.INVALID_ARGUMENT, f'malformed method name: "{call.path}"')
        struct = parts[1].rpartition(".")[2]
        method = self._methods.get(f"{struct}/{parts[2]}")
        if method is None:
            unknown = f"{struct}.{parts[2]}" if struct in self._structs else struct
            raise RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {unknown}")
        return method


def _has_own_doc(kind: type) -> bool:
    """Whether a class has prose, rather than the signature which C{dataclass} makes for want of any."""
    doc = kind.__dict__.get("__doc__") or ""
    return bool(doc) and not doc.startswith(f"{kind.__name__}(")
