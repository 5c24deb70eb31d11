"""Config on the wire: spec 6.4, 8 and Appendix A, and what we add to it.

The reference gives its errors four different ids; here each has that of its endpoint, C{config.Config.<Method>}, and the
reference's code and detail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Unauthorized
from microd.kernel.names import require_name
from microd.services.config.model import Difference, Node, Shown, Version
from microd.services.config.service import LONGEST_PAGE, Config
from microd.wire import config_pb2 as pb

_HISTORY = 20


def endpoints(config: Config) -> list[Endpoint]:
    """What config answers."""
    wire = ConfigWire(config)
    path = "/config.Config/"
    return [
        Endpoint(path + "Get", pb.GetRequest, pb.GetResponse, wire.get, at_once=wire.get_at_once),
        Endpoint(path + "Set", pb.SetRequest, pb.SetResponse, wire.set),
        Endpoint(path + "Delete", pb.DeleteRequest, pb.DeleteResponse, wire.delete),
        Endpoint(path + "Read", pb.ReadRequest, pb.ReadResponse, wire.read),
        Endpoint(
            path + "Watch", pb.WatchRequest, pb.WatchResponse, wire.watch, server_streaming=True, endless=True
        ),
        Endpoint(path + "History", pb.HistoryRequest, pb.HistoryResponse, wire.history),
        Endpoint(path + "Rollback", pb.RollbackRequest, pb.RollbackResponse, wire.rollback),
    ]


class ConfigWire:
    """Turns messages into questions to config, and its answers into messages."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def get(self, request: pb.GetRequest, caller: Caller) -> pb.GetResponse:
        namespace = _namespace(request.namespace, caller)
        found = await self._config.get(
            namespace, request.path, secret=request.options.secret, version=request.version
        )
        return pb.GetResponse(value=_value(found.value), version=found.version)

    def get_at_once(self, request: pb.GetRequest, caller: Caller) -> bytes | None:
        """The same, from memory."""
        namespace = _namespace(request.namespace, caller)
        if request.version:
            return None
        found = self._config.glance(namespace, request.path, secret=request.options.secret)
        if found is None:
            return None
        return pb.GetResponse(value=_value(found.value), version=found.version).SerializeToString()

    async def set(self, request: pb.SetRequest, caller: Caller) -> pb.SetResponse:
        namespace = _namespace(request.namespace, caller)
        if not request.HasField("value"):
            raise BadRequest("invalid change")
        if request.options.secret and request.plain:
            raise BadRequest("options.secret and plain exclude each other")
        version = await self._config.set(
            namespace,
            request.path,
            request.value.data,
            _account(caller),
            secret=request.options.secret or (False if request.plain else None),
            replace=request.replace,
            if_version=_version(request.if_version),
        )
        return pb.SetResponse(version=version)

    async def delete(self, request: pb.DeleteRequest, caller: Caller) -> pb.DeleteResponse:
        namespace = _namespace(request.namespace, caller)
        version = await self._config.delete(
            namespace, request.path, _account(caller), if_version=_version(request.if_version)
        )
        return pb.DeleteResponse(version=version)

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        found = await self._config.get(_namespace(request.namespace, caller), request.path)
        changes = pb.ChangeSet(data=found.value.text, format="json")
        return pb.ReadResponse(
            change=pb.Change(namespace=request.namespace, path=request.path, changeSet=changes)
        )

    async def watch(self, request: pb.WatchRequest, caller: Caller) -> AsyncIterator[pb.WatchResponse]:
        namespace = _namespace(request.namespace, caller)
        watch = await self._config.watch(namespace, request.path, caller.account)
        try:
            async for version, node in watch:
                shown = self._config.shown(namespace, watch.path, node, secret=request.options.secret)
                yield pb.WatchResponse(value=_value(shown), version=version, deleted=node is None)
        finally:
            self._config.unwatch(namespace, watch)

    async def history(self, request: pb.HistoryRequest, caller: Caller) -> pb.HistoryResponse:
        namespace = _namespace(request.namespace, caller)
        if not 0 <= request.limit <= LONGEST_PAGE:
            raise BadRequest(
                f"the limit is {request.limit}; it may be 1 to {LONGEST_PAGE}, or 0 for {_HISTORY}"
            )
        versions, more = await self._config.history(
            namespace,
            path=request.path,
            before=_version(request.before),
            limit=request.limit or _HISTORY,
        )
        secret = request.options.secret
        return pb.HistoryResponse(
            versions=[self._message_from(namespace, each, secret) for each in versions], more=more
        )

    async def rollback(self, request: pb.RollbackRequest, caller: Caller) -> pb.RollbackResponse:
        namespace = _namespace(request.namespace, caller)
        version = await self._config.rollback(
            namespace,
            _version(request.version),
            _account(caller),
            if_version=_version(request.if_version),
        )
        return pb.RollbackResponse(version=version)

    def _message_from(self, namespace: str, version: Version, secret: bool) -> pb.Version:
        return pb.Version(
            number=version.number,
            time=version.time,
            account=version.account,
            issuer=version.issuer,
            action=version.action,
            path=".".join(version.path),
            target=version.target,
            differences=[self._difference(namespace, each, secret) for each in version.differences],
        )

    def _difference(self, namespace: str, made: Difference, secret: bool) -> pb.Difference:
        def value(node: Node | None) -> pb.Value | None:
            if node is None:
                return None
            return _value(self._config.shown(namespace, made.path, node, secret=secret))

        return pb.Difference(path=".".join(made.path), before=value(made.before), after=value(made.after))


def _namespace(name: str, caller: Caller) -> str:
    """The namespace, which the caller must administer."""
    namespace = require_name("the namespace", name or DEFAULT_NAMESPACE)
    require_admin(caller, namespace)
    return namespace


def _account(caller: Caller) -> Account:
    if caller.account is None:
        raise Unauthorized("an account is required")
    return caller.account


def _version(number: int) -> int:
    if number < 0:
        raise BadRequest(f"there is no version {number}: they begin with 1")
    return number


def _value(shown: Shown) -> pb.Value:
    return pb.Value(data=shown.text, masked=shown.masked)
