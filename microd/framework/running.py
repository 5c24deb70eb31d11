"""C{service.run()}: the reactor, the log, the signals, and the way out."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, TextIO

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.main import installReactor
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from microd.framework.bridge import AsyncioBridge, Bridge, NoBridge
from microd.framework.client import Client
from microd.framework.daemon import Daemon, find_daemon
from microd.framework.identity import identity_of
from microd.framework.link import DaemonChannel, DaemonEndpoint
from microd.framework.logs import Lines, StandardLibrary, format_of, level_of
from microd.framework.node import CannotStart, Node
from microd.framework.schema.shapes import SchemaError
from microd.framework.service import Service
from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.errors import MicroError
from microd.kernel.recent import Recent


def run(service: Service, environ: Mapping[str, str] = os.environ, out: TextIO = sys.stdout) -> None:
    """Run a service to its end; a failure ends the process with status 1."""
    if isinstance(out, type(sys.__stdout__)):
        out.reconfigure(line_buffering=True)
    level = level_of(environ.get("MICRO_LOG_LEVEL", ""))
    recent = Recent()
    lines = Lines(
        out,
        level,
        format_of(environ.get("MICRO_LOG_FORMAT", "")),
        {"service": service.name, "version": service.version},
        recent,
    )
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    logging.basicConfig(level=logging.DEBUG, handlers=[StandardLibrary()])
    try:
        reactor, bridge = reactor_for(service.reactor)
        daemon = find_daemon(environ)
    except (CannotStart, ValueError) as problem:
        sys.exit(f"{service.name}: {problem}")
    life = Life(service, node_for(service, reactor, daemon, bridge, environ, recent), reactor)
    reactor.callWhenRunning(life.begin)
    reactor.run(installSignalHandlers=True)
    if life.problem:
        sys.exit(f"{service.name}: {life.problem}")


def node_for(
    service: Service,
    reactor: Any,
    daemon: Daemon,
    bridge: Bridge,
    environ: Mapping[str, str],
    recent: Recent | None = None,
) -> Node:
    """Put a node together, with the client it has."""
    namespace = environ.get("MICRO_NAMESPACE") or DEFAULT_NAMESPACE
    node: list[Node] = []

    def lost() -> None:
        if node and node[0].registration is not None:
            node[0].registration.connection_lost()

    def away(reason: str) -> None:
        if node:
            node[0].presence.lost(reason)

    def here() -> None:
        if node:
            node[0].presence.found()
            client.connected()

    channel = DaemonChannel(
        DaemonEndpoint(reactor, lambda: find_daemon(environ).address),
        reactor,
        lost,
        away,
        here,
        authority=daemon.address.host or "localhost",
        secure=daemon.address.tls,
    )
    client = Client(
        channel,
        lambda: identity_of(dict(environ), service.name, namespace, find_daemon(environ).admin_secret),
        time.time,
        namespace=namespace,
        table=service.name,
        bridge=bridge,
        sources=service.config.sources,
    )
    node.append(Node(service, reactor, daemon, client, bridge, environ, recent))
    return node[0]


def reactor_for(kind: str) -> tuple[Any, Bridge]:
    """Install the reactor that a service wants, and give it.

    @raise CannotStart: another one is installed already.
    """
    if kind == "asyncio":
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        reactor = _installed(AsyncioSelectorReactor(loop))
        return reactor, AsyncioBridge(reactor._asyncioEventloop)
    return _installed(_fastest()), NoBridge()


def _fastest() -> Any:
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        from twisted.internet.pollreactor import PollReactor

        return PollReactor()
    return EPollReactor()


def _installed(reactor: Any) -> Any:
    try:
        installReactor(reactor)
    except ReactorAlreadyInstalledError:
        found = sys.modules["twisted.internet.reactor"]
        if hasattr(reactor, "_asyncioEventloop") and not hasattr(found, "_asyncioEventloop"):
            raise CannotStart(
                'something imported twisted.internet.reactor before service.run(), so that reactor="asyncio" comes too late; '
                "import the reactor inside functions"
            ) from None
        return found
    return reactor


class Life:
    """A node from the reactor's start to its stop.

    ::

        starting ──up──▶ running ──signal──▶ stopping ──done──▶ the reactor stops
            └─failed──▶ the reactor stops        └─second signal──▶ the reactor stops now
    """

    log = Logger()

    def __init__(self, service: Service, node: Node, reactor: Any) -> None:
        self._service = service
        self._node = node
        self._reactor = reactor
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self.problem = ""

    def begin(self) -> None:
        """The reactor runs: start the node, and listen to signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        self._starting = ensureDeferred(self._node.start())
        self._starting.addCallbacks(self._up, self._failed)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.stop)

    def stop(self) -> None:
        """Stop in order; the second time, at once."""
        if self._stopping is not None:
            self.log.warn("{name} stops now", name=self._service.name)
            self._reactor.stop()
            return
        if self._starting is not None:
            self._starting.cancel()
        self.log.info("{name} stops", name=self._service.name)
        self._stopping = ensureDeferred(self._node.stop())
        self._stopping.addErrback(self._unclean).addBoth(lambda _: self._reactor.stop())

    def _up(self, _: None) -> None:
        self._starting = None
        self.log.info("{name} {version} is running", name=self._service.name, version=self._service.version)

    def _failed(self, failure: Failure) -> None:
        self._starting = None
        if failure.check(CancelledError):
            return
        if failure.check(CannotStart, SchemaError, MicroError):
            self.problem = str(failure.value)
        else:
            self.log.failure("{name} could not start", failure=failure, name=self._service.name)
            self.problem = f"could not start: {failure.getErrorMessage()}"
        self.stop()

    def _unclean(self, failure: Failure) -> None:
        self.log.failure("{name} did not stop in order", failure=failure, name=self._service.name)
