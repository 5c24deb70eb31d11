"""A good request for every RPC, about a namespace of one's choice."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.compat.wires import Shown

#: Services of which Debug is asked.
DEBUGGED = ("registry", "store", "auth", "config", "broker", "events", "runtime", "network", "router")

#: RPCs which go on until somebody ends them.
ENDLESS = frozenset(
    (
        "/registry.Registry/Watch",
        "/config.Config/Watch",
        "/broker.Broker/Subscribe",
        "/events.Stream/Consume",
        "/router.Router/Watch",
    )
)


def good(namespace: str, unique: str) -> Mapping[str, Shown]:
    """The first message of a request for each RPC.

    @param unique: what new things are called.
    """
    options = {"namespace": namespace}
    place = {"database": namespace, "table": "hostile"}
    resource = {"type": "service", "name": unique, "endpoint": "*"}
    rule = {"id": unique, "scope": "*", "resource": resource, "access": "GRANTED", "priority": 1}
    # An address is one namespace's.
    port = {"alpha": 4000, "beta": 4100, "micro": 4200}.get(namespace, 4300)
    node = {"id": f"{unique}-1", "address": f"127.0.0.1:{port}", "metadata": {"a": "b"}}
    value = {"name": "name", "type": "string"}
    service = {
        "name": unique,
        "version": "latest",
        "metadata": {"a": "b"},
        "endpoints": [{"name": "A.B", "request": value, "response": value, "metadata": {"a": "b"}}],
        "nodes": [node],
        "options": {"ttl": 3600, "domain": namespace},
    }
    program = {"name": unique, "version": "latest", "metadata": {"a": "b"}}
    domain = {"domain": namespace}
    requests: dict[str, Shown] = {
        "/auth.Auth/Generate": {
            "id": unique,
            "name": unique,
            "type": "user",
            "secret": "s",
            "scopes": ["a"],
            "metadata": {"a": "b"},
            "provider": "",
            "options": options,
        },
        "/auth.Auth/Token": {"id": unique, "secret": "s", "token_expiry": 60, "options": options},
        "/auth.Auth/Inspect": {"token": "a.b.c", "options": options},
        "/auth.Auth/Logout": {"refresh_token": "a.b"},
        "/auth.Accounts/List": {"options": options},
        "/auth.Accounts/Delete": {"id": unique, "options": options},
        "/auth.Accounts/ChangeSecret": {
            "id": unique,
            "old_secret": "s",
            "new_secret": "t",
            "options": options,
        },
        "/auth.Rules/Create": {"rule": rule, "options": options},
        "/auth.Rules/Delete": {"id": unique, "options": options},
        "/auth.Rules/List": {"options": options},
        "/registry.Registry/GetService": {"service": unique, "options": domain},
        "/registry.Registry/ListServices": {"options": domain},
        "/registry.Registry/Register": service,
        "/registry.Registry/Deregister": service,
        "/registry.Registry/Watch": {"service": unique, "options": domain},
        "/store.Store/Read": {
            "key": unique,
            "options": {**place, "prefix": True, "limit": 5, "order": "asc"},
        },
        "/store.Store/Write": {
            "record": {
                "key": unique,
                "value": b"v",
                "expiry": 86400,
                "metadata": {"a": {"type": "int", "value": "1"}},
            },
            "options": place,
        },
        "/store.Store/Delete": {"key": unique, "options": place},
        "/store.Store/List": {"options": {**place, "prefix": unique, "limit": 5}},
        "/store.Store/Batch": {
            "acts": [{"put": {"key": unique, "value": b"v"}}, {"drop": f"{unique}-2"}],
            "options": place,
        },
        "/store.Store/Databases": {},
        "/store.Store/Tables": {"database": namespace},
        "/store.BlobStore/Read": {"key": unique, "options": options},
        "/store.BlobStore/Write": {"key": unique, "options": options, "blob": b"v"},
        "/store.BlobStore/Delete": {"key": unique, "options": options},
        "/store.BlobStore/List": {"options": {**options, "prefix": unique}},
        "/config.Config/Get": {"namespace": namespace, "path": unique},
        "/config.Config/Set": {
            "namespace": namespace,
            "path": unique,
            "value": {"data": "1", "format": "json"},
        },
        "/config.Config/Delete": {"namespace": namespace, "path": unique},
        "/config.Config/Read": {"namespace": namespace, "path": unique},
        "/config.Config/Watch": {"namespace": namespace, "path": unique},
        "/config.Config/History": {"namespace": namespace, "path": "", "limit": 5},
        "/config.Config/Rollback": {"namespace": namespace, "version": 1},
        "/broker.Broker/Publish": {"topic": unique, "message": {"header": {"a": "b"}, "body": b"v"}},
        "/broker.Broker/Subscribe": {"topic": unique, "queue": "q"},
        "/events.Stream/Publish": {
            "topic": unique,
            "metadata": {"a": "b"},
            "payload": b"v",
            "timestamp": 1_600_000_000,
        },
        "/events.Stream/PublishMany": {
            "topic": unique,
            "events": [{"metadata": {"a": "b"}, "payload": b"v", "timestamp_ms": 1_600_000_000_000}],
        },
        "/events.Stream/Consume": {
            "group": "g",
            "topic": unique,
            "auto_ack": True,
            "start": "OFFSET",
            "start_offset": 1,
            "max_in_flight": 5,
        },
        "/events.Stream/Ack": {"topic": unique, "group": "g", "acks": [{"id": unique, "success": True}]},
        "/events.Store/Read": {"topic": unique, "limit": 5, "after": 1, "start_time": 1_600_000_000_000},
        "/events.Store/Write": {"event": {"topic": unique}, "ttl": 1},
        "/events.Topics/List": {"after": unique, "limit": 5},
        "/events.Topics/Lag": {"topic": unique},
        "/events.Topics/Configure": {"topic": unique, "max_age": 60, "max_size": 1 << 20},
        "/events.Topics/Delete": {"topic": unique},
        "/events.Groups/Seek": {"topic": unique, "group": "g", "start": "OFFSET", "start_offset": 1},
        "/events.Groups/Delete": {"topic": unique, "group": "g"},
        "/events.DeadLetters/List": {"topic": unique, "group": "g", "limit": 5},
        "/events.DeadLetters/Retry": {"topic": unique, "group": "g", "ids": [unique]},
        "/events.DeadLetters/Drop": {"topic": unique, "group": "g", "ids": [unique]},
        "/runtime.Runtime/Create": {
            "resource": {"service": program},
            "options": {**options, "command": ["true"], "args": ["a"], "env": ["A=b"], "secrets": {"C": "d"}},
        },
        "/runtime.Runtime/Read": {"options": {**options, "service": unique, "version": "latest", "type": ""}},
        "/runtime.Runtime/Update": {"resource": {"service": program}, "options": options},
        "/runtime.Runtime/Delete": {"resource": {"service": program}, "options": options},
        "/runtime.Runtime/Logs": {"service": unique, "count": 5, "options": options, "version": "latest"},
        "/runtime.Source/Upload": {"service": program, "data": b"v"},
        "/runtime.Build/Read": program,
        "/network.Network/Connect": {"nodes": [{"id": "a", "address": "127.0.0.1:1"}]},
        "/network.Network/Graph": {"depth": 1},
        "/network.Network/Nodes": {"depth": 1},
        "/network.Network/Routes": {"query": {"service": "", "network": namespace}},
        "/network.Network/Services": {},
        "/network.Network/Status": {},
        "/router.Router/Lookup": {"service": unique, "options": {"network": namespace}},
        "/router.Router/Watch": {},
        "/router.Table/Create": {"service": unique, "address": "127.0.0.1:1", "network": namespace},
        "/router.Table/Delete": {"service": unique, "address": "127.0.0.1:1", "network": namespace},
        "/router.Table/Update": {"service": unique, "address": "127.0.0.1:1", "network": namespace},
        "/router.Table/Read": {"service": unique},
        "/api.Api/AddToBlockList": {"id": unique, "namespace": namespace},
        "/api.Api/RemoveFromBlockList": {"id": unique, "namespace": namespace},
        "/api.Api/ReadBlockList": {},
    }
    for each in DEBUGGED:
        requests |= {
            f"/{each}.Debug/Health": {},
            f"/{each}.Debug/Stats": {},
            f"/{each}.Debug/Log": {"count": 5, "since": 0},
            f"/{each}.Debug/Trace": {"id": ""},
        }
    return MappingProxyType(requests)
