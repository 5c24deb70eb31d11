"""The one place where it is decided who gets whom: every part of the daemon, built and in the order of its start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import random
from typing import Any

from twisted.application.service import IService
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel, globalLogPublisher

from microd.app.announce import Announcement, notify_systemd, sentence
from microd.app.doors import Doors
from microd.app.limits import broker_limits, events_limits
from microd.app.listing import CoreListing
from microd.app.lock import FolderLock
from microd.app.logging import current_trace
from microd.app.root import Root
from microd.app.settings import CORE_SERVICES, DOORS, Settings
from microd.app.sources import BadSettings
from microd.app.values import LOG_LEVELS
from microd.gateways.api import blocklist_rpc
from microd.gateways.api.blocklist import Blocklist
from microd.gateways.listen import Listener
from microd.gateways.ops import process
from microd.gateways.ops.pulse import Pulse
from microd.kernel.caller import Account
from microd.kernel.endpoint import Endpoint
from microd.kernel.health import Figures, Reason
from microd.kernel.lifecycle import TogetherService, split
from microd.services.auth import rpc as auth_rpc
from microd.services.auth.backends.store import StoreVault
from microd.services.auth.embedded import embedded_auth
from microd.services.auth.service import Auth
from microd.services.broker import rpc as broker_rpc
from microd.services.broker.service import Broker
from microd.services.config import rpc as config_rpc
from microd.services.config.backends.store import StoredDocuments
from microd.services.config.keyring import load_or_make as load_or_make_keys
from microd.services.config.model import Limits as ConfigLimits
from microd.services.config.service import Config
from microd.services.debug import rpc as debug_rpc
from microd.services.debug.service import Debug
from microd.services.events import rpc as events_rpc
from microd.services.events import rpc_groups as groups_rpc
from microd.services.events.groups.consumption import Consumption
from microd.services.events.logs import Logs
from microd.services.events.service import Events
from microd.services.network import rpc as network_rpc
from microd.services.network.dialer import Dialer, tcp_endpoint
from microd.services.network.router import Router
from microd.services.network.service import Network
from microd.services.registry import rpc as registry_rpc
from microd.services.registry.events import Announcer
from microd.services.registry.service import Registry
from microd.services.runtime import model as runtime_model
from microd.services.runtime import rpc as runtime_rpc
from microd.services.runtime.backends.local.processes import KeptLauncher
from microd.services.runtime.events import Chronicle
from microd.services.runtime.records import StoredRecords
from microd.services.runtime.service import Runtime
from microd.services.store import rpc as store_rpc
from microd.services.store.backends.sqlite import SqliteStore
from microd.services.store.blobs import rpc as blobs_rpc
from microd.services.store.blobs.backends.files import FileBlobs
from microd.services.store.blobs.backends.pool import Pool
from microd.services.store.blobs.model import Limits as BlobLimits
from microd.txgrpc import Limits

#: How long the credential lasts with which a service that we started gets its tokens (spec micro-v3-server 1.2).
_CREDENTIAL = 365 * 86400.0
#: The parts without which a core service cannot do its work, besides its own.
_RESTS_ON = {
    "store": ("blobs",),
    **dict.fromkeys(("auth", "config", "runtime", "network", "router", "api"), ("system",)),
}


def assemble(
    settings: Settings, data: Path, reactor: Any, environ: Mapping[str, str], failed: Callable[[], None]
) -> IService:
    """Build the daemon.

    @param reactor: everything that a reactor is.
    @param failed: see L{Root}.
    """
    return _Assembly(settings, data, reactor, environ).root(failed)


class _Assembly:
    """The parts, while they are being put together."""

    def __init__(self, settings: Settings, data: Path, reactor: Any, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._data = data
        self._reactor = reactor
        self._environ = environ
        # Doors of the same name are chosen by themselves.
        choosable = [name for name in CORE_SERVICES if name not in DOORS]
        self._services = _chosen(settings, choosable) | {"registry", "auth", *DOORS, "router"}
        self._doors = _chosen(settings, DOORS)
        self._system = SqliteStore(data / "system.db", reactor)
        self._store = SqliteStore(data / "store.db", reactor)
        self._blob_index = SqliteStore(data / "blobs" / "index.db", reactor)
        self._events_store = SqliteStore(data / "events.db", reactor)
        self._blobs = self._build_blobs()
        self._broker = Broker(broker_limits(settings.broker))
        self._events = self._build_events()
        self._registry = Registry(reactor, announce=Announcer(self._broker), doors=self._door_addresses)
        self._auth = self._build_auth()
        self._config = self._build_config()
        # A deleted account's endless calls end with it.
        for part in (self._broker, self._events, self._registry, self._config):
            self._auth.on_revoked(part.revoked)
        self._dialer = Dialer(
            reactor, tcp_endpoint(reactor), limits=Limits(max_message=settings.network.max_message)
        )
        self._router = Router(self._registry, self._dialer)
        self._net = Network(self._system, self._registry, self._dialer, self._platform_node)
        self._blocklist = Blocklist(self._system, enforced=settings.api.blocklist_enabled)
        self._runtime = self._build_runtime()
        self._reasons: dict[str, Reason] = {}
        self._debug = self._build_debug()
        self._endpoints = [self._debug.noted(each) for each in self._core_endpoints()]
        debug = debug_rpc.endpoints(self._debug, self._reasons_of)
        self._unlisted = [self._debug.noted(each) for each in debug]
        self._figures: list[Figures] = [process.figures]
        self._pulse = Pulse(reactor, partial(notify_systemd, "WATCHDOG=1", environ), environ, os.getpid())
        self._listeners = self._build_doors()
        self._announcement = Announcement(data)

    def root(self, failed: Callable[[], None]) -> Root:
        """The whole, in the order of its start; it stops in reverse."""
        root = Root(self._reactor, self._ready, failed)
        public = TogetherService()
        for name, listener in self._listeners.items():
            if name not in ("network", "ops"):
                listener.opening.setServiceParent(public)
        network, ops = self._listeners.get("network"), self._listeners.get("ops")
        self._report(root)
        # Addresses are taken first, and opened when what is behind them is up. Services are started again once all doors
        # are open; they are stopped once the public doors have drained, while they can still reach the platform.
        runtime_stops, runtime_starts = split(self._runtime) if "runtime" in self._services else (None, None)
        parts: list[IService | None] = [
            FolderLock(self._data),
            self._debug,
            *self._listeners.values(),
            # Operators see the daemon start, and see it drain.
            self._pulse,
            ops.opening if ops else None,
            self._system,
            *((self._store, self._blob_index, self._blobs) if "store" in self._services else ()),
            self._auth,
            self._config if "config" in self._services else None,
            self._broker,
            *((self._events_store, self._events) if "events" in self._services else ()),
            self._registry,
            self._dialer,
            self._net,
            self._blocklist,
            network.opening if network else None,
            runtime_stops,
            public,
            CoreListing(
                self._registry,
                self._endpoints,
                self._platform_node,
                ["proxy"] if "proxy" in self._doors else [],
            ),
            runtime_starts,
            self._announcement,
        ]
        for part in parts:
            if part is not None:
                part.setServiceParent(root)
        return root

    # -- core services

    def _build_blobs(self) -> FileBlobs:
        limits = BlobLimits(blob=self._settings.store.max_blob)
        return FileBlobs(self._data / "blobs", self._blob_index, Pool(self._reactor, "blobs"), limits=limits)

    def _build_auth(self) -> Auth:
        auth = self._settings.auth
        return embedded_auth(
            self._reactor,
            StoreVault(self._system),
            self._data,
            private_key=auth.private_key,
            public_key=auth.public_key,
            admin_secret=_admin_secret(auth.admin_secret, auth.admin_secret_file),
            reset_admin=auth.reset_admin,
        )

    def _build_config(self) -> Config:
        wanted = self._settings.config
        keys = partial(
            load_or_make_keys,
            self._data,
            given=wanted.secret_key,
            file=wanted.secret_key_file,
            lost=wanted.lost_keys,
        )
        limits = ConfigLimits(history=wanted.history)
        return Config(self._reactor, StoredDocuments(self._system), keys, limits)

    def _build_events(self) -> Events:
        limits = events_limits(self._settings.events)
        logs = Logs(self._events_store, self._reactor, limits)
        consumption = Consumption(logs, self._reactor, limits, random)
        return Events(self._events_store, logs, consumption)

    def _build_runtime(self) -> Runtime:
        wanted = self._settings.runtime
        return Runtime(
            self._data,
            clock=self._reactor,
            launcher=KeptLauncher(self._reactor, self._reactor),
            registry=self._registry,
            records=StoredRecords(self._system),
            credentials=self._credentials,
            revoke=self._auth.revoke,
            proxy=self._platform_address,
            in_thread=partial(deferToThreadPool, self._reactor, self._reactor.getThreadPool()),
            environment={**self._environ, "MICRO_LOG_FORMAT": self._settings.daemon.log_format},
            limits=runtime_model.Limits(
                start=wanted.start_timeout,
                grace=wanted.stop_grace,
                backoff_max=wanted.backoff_max,
                log_size=wanted.log_size,
                log_files=wanted.log_files,
                upload=wanted.max_source,
            ),
            announce=Chronicle(self._events) if "events" in self._services else None,
        )

    async def _credentials(self, namespace: str, id: str) -> runtime_model.Account:
        account = Account(id=id, type="service", issuer=namespace, name=id, scopes=("service",))
        return runtime_model.Account(id, self._auth.issue(account, _CREDENTIAL))

    def _core_endpoints(self) -> Sequence[Endpoint]:
        offered = {
            "registry": lambda: registry_rpc.endpoints(self._registry, reserved=CORE_SERVICES),
            "store": lambda: [*store_rpc.endpoints(self._store), *blobs_rpc.endpoints(self._blobs)],
            "config": lambda: config_rpc.endpoints(self._config),
            "auth": lambda: auth_rpc.endpoints(self._auth),
            "runtime": lambda: runtime_rpc.endpoints(self._runtime, reserved=CORE_SERVICES),
            "broker": lambda: broker_rpc.endpoints(self._broker),
            "events": lambda: [
                *events_rpc.endpoints(self._events),
                *groups_rpc.endpoints(self._events, self._reactor),
            ],
            "network": lambda: network_rpc.endpoints(self._net),
            "router": lambda: network_rpc.router_endpoints(self._net),
            "api": lambda: blocklist_rpc.endpoints(self._blocklist),
        }
        return [each for name in CORE_SERVICES if name in self._services for each in offered[name]()]

    def _build_debug(self) -> Debug:
        names = [name for name in CORE_SERVICES if name in self._services]
        level = LogLevel.levelWithName(LOG_LEVELS[self._settings.daemon.log_level])
        return Debug([*names, "proxy"], globalLogPublisher, level, current_trace)

    def _reasons_of(self, service: str) -> Sequence[Reason]:
        """What may keep a core service from its work."""
        parts = ("daemon", service, *_RESTS_ON.get(service, ()))
        return [self._reasons[part] for part in parts if part in self._reasons]

    # -- doors

    def _build_doors(self) -> Mapping[str, Listener]:
        doors = Doors(
            self._settings,
            self._reactor,
            self._auth,
            self._registry,
            self._router,
            self._dialer,
            self._blocklist,
            self._broker,
            self._events if "events" in self._services else None,
            self._endpoints,
            self._unlisted,
            self._reasons,
            self._figures,
        )
        return doors.listeners(self._doors)

    def _report(self, root: Root) -> None:
        """Have the ops door ask whoever has something to tell."""
        self._figures += [
            self._pulse.figures,
            self._auth.figures,
            self._broker.figures,
            self._registry.figures,
            self._config.figures,
            self._dialer.figures,
            self._runtime.figures,
        ]
        self._reasons["daemon"] = root.ill
        for name, listener in self._listeners.items():
            self._reasons[name] = listener.ill
        self._reasons["system"] = self._system.ill
        self._figures.append(self._system.figures)
        if "store" in self._services:
            self._reasons |= {"store": self._store.ill, "blobs": self._blobs.ill}
            self._figures += [self._store.figures, self._blobs.figures]
        if "events" in self._services:
            self._reasons["events"] = self._events_store.ill
            self._figures += [self._events_store.figures, self._events.figures]

    def _platform_address(self) -> str:
        """Where services on this host reach the platform."""
        for name in ("network", "proxy"):
            if name in self._listeners:
                return self._listeners[name].reachable
        return ""

    def _door_addresses(self) -> Iterable[str]:
        """Where we listen ourselves, which is nobody's node."""
        return [listener.address for listener in self._listeners.values()]

    def _platform_node(self) -> str:
        """The same as a node's address, C{host:port}; on a socket in the file system there is no port."""
        address = self._platform_address().removeprefix("https://")
        return "localhost:1" if address.startswith("unix:") else address

    # -- once it is up

    def _ready(self) -> None:
        doors = {name: listener.reachable for name, listener in self._listeners.items()}
        self._announcement.publish(doors)
        secret = self._data / "admin-secret"
        login = "log in as admin with `micro login`" + (f", secret in {secret}" if secret.exists() else "")
        shown = {name: listener.address for name, listener in self._listeners.items()}
        self._announcement.log.info("{sentence}", sentence=sentence(self._data, shown, login))
        notify_systemd("READY=1", self._environ)


def _chosen(settings: Settings, known: Sequence[str]) -> set[str]:
    """Those of C{known} which C{daemon.only} names; all of them where it names none."""
    return set(known) & set(settings.daemon.only) or set(known)


def _admin_secret(secret: str, file: str) -> str:
    if secret or not file:
        return secret
    try:
        return Path(file).read_text().strip()
    except OSError as problem:
        raise BadSettings(f"auth.admin_secret_file: {file}: {problem.strerror}") from problem
