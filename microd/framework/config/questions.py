"""What can be asked of the config service, whoever asks: coroutines, threads or scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from microd.framework.config.layers import spread
from microd.framework.questions import Ask
from microd.kernel.errors import BadRequest
from microd.wire import config_pb2 as wire


@dataclass(frozen=True, slots=True)
class Said:
    """What the config service has at a path.

    @ivar value: a tree of L{microd.framework.config.layers}; None: nothing.
    @ivar masked: some of it is secret, and not here.
    """

    value: Any
    masked: bool = False


NOTHING = Said(None)


class Questions:
    """Makes the questions about one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def get(self, path: str, secret: bool) -> Ask[Said]:
        """The value at a path."""
        request = wire.GetRequest(namespace=self.namespace, path=path, options=wire.Options(secret=secret))
        return Ask("/config.Config/Get", request, wire.GetResponse, _got)

    def set(self, path: str, value: object, secret: bool, replace: bool, if_version: int) -> Ask[int]:
        """Put a value."""
        request = wire.SetRequest(
            namespace=self.namespace,
            path=path,
            value=wire.Value(data=_json(value), format="json"),
            options=wire.Options(secret=secret),
            replace=replace,
            if_version=if_version,
        )
        return Ask("/config.Config/Set", request, wire.SetResponse, _version)

    def delete(self, path: str, if_version: int) -> Ask[int]:
        """Take a value out."""
        request = wire.DeleteRequest(namespace=self.namespace, path=path, if_version=if_version)
        return Ask("/config.Config/Delete", request, wire.DeleteResponse, _version)

    def watch(self, path: str, secret: bool) -> wire.WatchRequest:
        """The value at a path, now and after each change."""
        return wire.WatchRequest(namespace=self.namespace, path=path, options=wire.Options(secret=secret))


def said(value: wire.Value) -> Said:
    """What a value of the wire says."""
    found = json.loads(value.data) if value.data else None
    return Said(spread(found) if isinstance(found, dict) else found, value.masked)


def _got(replies: Sequence[wire.GetResponse]) -> Said:
    return said(replies[0].value)


def _version(replies: Sequence[Any]) -> int:
    return int(replies[0].version)


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as problem:
        raise BadRequest(f"this cannot be configuration: {problem}", "micro.client") from None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
