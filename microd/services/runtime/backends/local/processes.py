"""Programs of this machine, each under a keeper of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IPushProducer,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.services.runtime.backends.local import keeper
from microd.services.runtime.backends.local.orphans import MARK, end_marked
from microd.services.runtime.interface import Launcher, Process
from microd.services.runtime.model import Exit

_STREAMS = {1: "stdout", 2: "stderr"}
#: How much a program may write at once, and how much a second after that, in bytes and so many more for each line.
#: Beyond it we stop reading for a while, and the program waits: one that floods its log must not stop the others. All
#: that we can take is a million lines or 200 MB a second, so this is 3 % of it.
BURST = 4 << 20
RATE = 2 << 20
LINE = 64
#: Seconds that a keeper has for killing all below it; it takes milliseconds unless something is badly wrong.
LAST_RESORT = 5.0


class KeptLauncher(Launcher):
    """Starts programs through C{reactor.spawnProcess}, so that none outlives this daemon.

    @param sweep: ends what a keeper left behind when it was itself killed, by the mark in the environment.
    """

    def __init__(
        self, reactor: IReactorProcess, clock: IReactorTime, sweep: Callable[[str], int] = end_marked
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._sweep = sweep

    def launch(
        self,
        command: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
        wrote: Callable[[str, bytes], None],
    ) -> Process:
        protocol = KeptProcess(wrote, environment.get(MARK, ""), self._sweep, self._clock)
        script = str(Path(keeper.__file__).resolve())
        arguments = [sys.executable, "-I", "-S", script, str(os.getpid()), folder, *command]
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            # No folder and no user here, so that Twisted can use posix_spawn: a fork would copy the daemon's tables.
            self._reactor.spawnProcess(
                protocol,
                sys.executable.encode(),
                [os.fsencode(word) for word in arguments],
                {os.fsencode(name): os.fsencode(value) for name, value in environment.items()},
                childFDs={0: null, 1: "r", 2: "r", keeper.REPORT: "r"},
            )
        finally:
            os.close(null)
        return protocol

    def sweep(self, mark: str) -> int:
        return self._sweep(mark)


class KeptProcess(ProcessProtocol, Process):
    """One program, as its keeper reports of it."""

    log = Logger()

    def __init__(
        self,
        wrote: Callable[[str, bytes], None],
        mark: str,
        sweep: Callable[[str], int],
        clock: IReactorTime,
    ) -> None:
        self._wrote = wrote
        self._mark = mark
        self._sweep = sweep
        self._clock = clock
        self._credit = float(BURST)
        self._counted = clock.seconds()
        self._resume: IDelayedCall | None = None
        self._last_resort: IDelayedCall | None = None
        self._report = b""
        self._exit: Exit | None = None
        self._pid: int | None = None
        self._ended: Deferred[Exit] = Deferred()

    @property
    def pid(self) -> int | None:
        return self._pid

    @property
    def ended(self) -> Deferred[Exit]:
        return self._ended

    def stop(self) -> None:
        self._signal("TERM")

    def kill(self) -> None:
        self._signal(int(keeper.NOW))
        if self._last_resort is None:
            self._last_resort = self._clock.callLater(LAST_RESORT, self._give_up)

    def _give_up(self) -> None:
        """The keeper is stopped, or waits for a process that the kernel cannot end: wait for neither."""
        self.log.error("the keeper of {pid} did not end it in time and is killed", pid=self._pid)
        self._last_resort = None
        self._signal("KILL")
        cast(IProcessTransport, self.transport).loseConnection()
        cast(IProcessTransport, self.transport).closeChildFD(keeper.REPORT)

    def _signal(self, signal: str | int) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            cast(IProcessTransport, self.transport).signalProcess(cast(str, signal))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD != keeper.REPORT:
            self._wrote(_STREAMS[childFD], data)
            self._count(len(data) + LINE * data.count(b"\n"))
            return
        *lines, self._report = (self._report + data).split(b"\n")
        for line in lines:
            word, _, number = line.partition(b" ")
            if word == b"pid":
                self._pid = int(number)
            elif word == b"exit":
                self._exit = Exit(code=int(number))
            elif word == b"signal":
                self._exit = Exit(signal=int(number))

    def _count(self, size: int) -> None:
        now = self._clock.seconds()
        self._credit = min(float(BURST), self._credit + (now - self._counted) * RATE) - size
        self._counted = now
        if self._credit < 0 and self._resume is None and self.transport is not None:
            cast(IPushProducer, self.transport).pauseProducing()
            self._resume = self._clock.callLater(-self._credit / RATE, self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        cast(IPushProducer, self.transport).resumeProducing()

    def processExited(self, reason: Failure) -> None:
        """The keeper is gone. What it left, if anything, may hold our pipes open: end that at once."""
        if isinstance(reason.value, ProcessDone) or not self._mark:
            return
        left = self._sweep(self._mark)
        self.log.warn("a keeper ended before its program: {left} processes were killed", left=left)

    def processEnded(self, reason: Failure) -> None:
        for timer in (self._resume, self._last_resort):
            if timer is not None:
                timer.cancel()
        self._resume = self._last_resort = None
        outcome = self._exit
        if outcome is None:
            outcome = Exit(cause=_unreported(reason))
        self._ended.callback(outcome)


def _unreported(reason: Failure) -> str:
    if isinstance(reason.value, ProcessTerminated):
        return f"its keeper {Exit(reason.value.exitCode, reason.value.signal)}"
    return "its keeper ended without a word"
