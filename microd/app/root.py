"""The root service: start everything or say why not, announce it once, drain on a signal."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.app.lock import FolderTaken, FolderUnusable
from microd.app.sources import BadSettings
from microd.gateways.listen import CannotListen
from microd.kernel.lifecycle import OrderedService
from microd.services.auth.keys import BadKey
from microd.services.config.keyring import UnusableKeys
from microd.services.store.backends.sqlite_file import UnusableFile

#: What the operator can mend: one sentence does, a traceback would only hide it.
EXPLAINED = (FolderTaken, FolderUnusable, UnusableFile, CannotListen, BadSettings, BadKey, UnusableKeys)


class RootReactor(Protocol):
    """What the root asks of the reactor."""

    def callWhenRunning(self, callable: Callable[[], object]) -> object:
        """Call it once the reactor runs, or at once where it does."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        """Call it in the reactor's next turn."""

    def stop(self) -> None:
        """End the reactor, after everybody was told."""


class Root(OrderedService):
    """Everything that the daemon is, as one service.

    C{startService} returns before anything is up, since twistd waits for nobody and would let a daemon live on whose
    parts have failed. The root therefore starts its children once the reactor runs; when one fails it logs the cause,
    stops what was started and has the process exit with status 1.

    @param ready: called once, when every listener is bound.
    @param failed: called before the reactor is stopped because a child could not start.
    """

    log = Logger()

    def __init__(self, reactor: RootReactor, ready: Callable[[], None], failed: Callable[[], None]) -> None:
        super().__init__()
        self._reactor = reactor
        self._ready = ready
        self._failed = failed
        self._stopping = self._is_up = False

    def ill(self) -> str | None:
        """Why the daemon as a whole is not ready (a L{microd.kernel.health.Reason})."""
        if self._stopping:
            return "the daemon is draining: it finishes what it has begun, and stops"
        return None if self._is_up else "the daemon is starting"

    def startService(self) -> None:  # type: ignore[override]
        """Start the children as soon as the reactor runs."""
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        super().startService().addCallbacks(lambda _: self._running(), self._broken)

    def _running(self) -> None:
        if not self._stopping:
            self._is_up = True
            self._ready()

    def _broken(self, reason: Failure) -> None:
        if reason.check(*EXPLAINED):
            self.log.critical("cannot start: {reason}", reason=reason.getErrorMessage())
        else:
            self.log.failure("cannot start", reason)
        self.running = 0
        self._failed()
        self._stop_reactor()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            # The second one: whoever sends it does not want to wait. The kernel lets go of locks and sockets, and
            # what we started dies with us.
            os.write(2, b"microd: stopped at once by a second signal; calls in flight were cut off\n")
            os._exit(128 + number)
        self._stopping = True
        self._reactor.callFromThread(self._drain, signal.Signals(number).name)

    def _drain(self, name: str) -> None:
        self.log.info("{signal}: draining; a second one stops at once", signal=name)
        self._stop_reactor()

    def _stop_reactor(self) -> None:
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()


def children_of(root: Root, *children: IService) -> Root:
    """Give C{root} its children, in the order of their start."""
    for child in children:
        child.setServiceParent(root)
    return root
