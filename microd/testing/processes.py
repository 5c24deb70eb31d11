"""Processes that never were: C{reactor.spawnProcess} in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from signal import Signals
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IAddress,
    IProcessProtocol,
    IProcessTransport,
    IPushProducer,
    IReactorProcess,
)
from twisted.python.failure import Failure
from zope.interface import implementer


def _texts(words: Sequence[bytes | str]) -> list[str]:
    return [os.fsdecode(word) for word in words]


@implementer(IProcessTransport, IPushProducer)
class MemoryProcess:
    """One that was asked for: what it was given, and levers to say what it does.

    @ivar signals: the names of the signals it was sent, in order.
    @ivar descriptors: what C{childFDs} said.
    @ivar paused: whether nobody reads what it writes.
    @ivar closed: whether nobody ever will.
    """

    def __init__(
        self,
        protocol: IProcessProtocol,
        arguments: Sequence[bytes | str],
        environment: Mapping[Any, Any],
        descriptors: Mapping[int, Any],
        pid: int,
    ) -> None:
        self.protocol = protocol
        self.arguments = _texts(arguments)
        self.environment = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
        self.descriptors = descriptors
        self.pid: int | None = pid
        self.signals: list[str] = []
        self.alive = True
        self.paused = False
        self.closed = False

    def says(self, data: bytes, descriptor: int = 1) -> None:
        """It writes."""
        self.protocol.childDataReceived(descriptor, data)

    def ends(self, code: int | None = 0, signal: int | None = None) -> None:
        """It exits, or dies of a signal."""
        self.alive = False
        self.pid = None
        reason = Failure(
            ProcessDone(0)
            if code == 0 and signal is None
            else ProcessTerminated(code, signal, code or signal)
        )
        self.protocol.processExited(reason)
        self.protocol.processEnded(reason)

    def signalProcess(self, signalID: str | int) -> None:
        if not self.alive:
            raise ProcessExitedAlready
        self.signals.append(signalID if isinstance(signalID, str) else Signals(signalID).name)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = True

    def closeStdin(self) -> None:
        """It has none."""

    closeStdout = closeStderr = closeStdin

    def loseConnection(self) -> None:
        self.closed = True

    def closeChildFD(self, descriptor: int) -> None:
        """Nothing is open."""

    def writeToChild(self, childFD: int, data: bytes) -> None:
        """It reads nothing."""

    def write(self, data: bytes) -> None:
        """It reads nothing."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """It reads nothing."""

    def getPeer(self) -> IAddress:
        """Nobody to speak of."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    getHost = getPeer


@implementer(IReactorProcess)
class MemoryProcesses:
    """Remembers what was to be spawned.

    @ivar spawned: all of them, in order.
    @ivar refuses: raised by the next attempts, while it is set.
    """

    def __init__(self) -> None:
        self.spawned: list[MemoryProcess] = []
        self.refuses: OSError | None = None

    @property
    def alive(self) -> list[MemoryProcess]:
        """Those that have not ended."""
        return [process for process in self.spawned if process.alive]

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: bytes | str,
        args: Sequence[bytes | str] = (),
        env: Mapping[Any, Any] | None = None,
        path: bytes | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: Any = False,
        childFDs: Mapping[int, Any] | None = None,
    ) -> IProcessTransport:
        if self.refuses is not None:
            raise self.refuses
        pid = 1_000_000 + len(self.spawned)
        process = MemoryProcess(processProtocol, args, env or {}, childFDs or {}, pid)
        self.spawned.append(process)
        processProtocol.makeConnection(process)
        return process
