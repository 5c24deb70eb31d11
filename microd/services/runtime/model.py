"""What the runtime speaks of. All values are frozen."""

from __future__ import annotations

import signal as _signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Status(IntEnum):
    """How a service is, as the wire numbers it (spec 6.7)."""

    UNKNOWN = 0
    PENDING = 1
    BUILDING = 2
    STARTING = 3
    RUNNING = 4
    STOPPING = 5
    STOPPED = 6
    ERROR = 7


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which service."""

    namespace: str
    name: str
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def account(self) -> str:
        """The id of the account with which the service's processes log in."""
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to run.

    @ivar source: the id under which the source was uploaded; empty for a bare command.
    @ivar folder: where that source lies, below the folder of all sources.
    @ivar command: the program and its first arguments; empty for the source's own main file.
    @ivar secrets: go into the environment like C{env}, and are shown to nobody.
    @ivar metadata: what its author wrote.
    @ivar owner: who asked for it; C{group} is their namespace.
    @ivar updated: when they did, in seconds of the Unix epoch.
    """

    key: Key
    source: str = ""
    folder: str = ""
    entrypoint: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    type: str = ""
    instances: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    group: str = ""
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a service.

    @ivar former: the one which C{spec} is about to replace, while that has not been decided.
    """

    spec: Spec
    former: Spec | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: one of the two is set.

    @ivar cause: a reason of our own where there was no process to speak of.
    """

    code: int | None = None
    signal: int | None = None
    cause: str = ""

    @property
    def clean(self) -> bool:
        """Whether it meant to end."""
        return self.code == 0 and not self.cause

    def __str__(self) -> str:
        if self.cause:
            return self.cause
        if self.signal is not None:
            try:
                return f"killed by {_signal.Signals(self.signal).name}"
            except ValueError:
                return f"killed by signal {self.signal}"
        return f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Account:
    """What a service shows to say who it is."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class State:
    """How one process of a service is.

    @ivar note: why, where that needs saying: an error, or what it waits for.
    @ivar started: when the present process was, in seconds of the Unix epoch.
    @ivar retry: when the next attempt is due.
    @ivar build: the key of its environment; empty where it has none of its own.
    """

    status: Status = Status.PENDING
    note: str = ""
    pid: int | None = None
    started: float | None = None
    restarts: int = 0
    retry: float | None = None
    build: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A service as its owner sees it."""

    spec: Spec
    status: Status
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One line that was written.

    @ivar time: seconds of the Unix epoch.
    @ivar stream: C{stdout}, C{stderr}, C{build}, or C{runtime} for what we have to say ourselves.
    """

    time: float
    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much; times in seconds, sizes in bytes.

    @ivar start: after so long without a registration a running process counts as an error.
    @ivar grace: between asking a process to stop and killing it.
    @ivar backoff: the wait before the first restart; it doubles up to C{backoff_max}.
    @ivar well: having run for so long, a service starts over with the first wait.
    @ivar build: a virtualenv must be ready after so long.
    @ivar log_files: how many old files are kept besides the one being written, C{log_size} each.
    @ivar log_days: how long the log of a deleted service is kept.
    @ivar upload: the largest tar; C{unpacked} and C{files} bound what is in it.
    """

    start: float = 30.0
    grace: float = 10.0
    backoff: float = 1.0
    backoff_max: float = 60.0
    well: float = 60.0
    build: float = 900.0
    log_size: int = 8 << 20
    log_files: int = 4
    log_days: float = 7.0
    upload: int = 256 << 20
    unpacked: int = 1 << 30
    files: int = 50_000
    instances: int = 64
