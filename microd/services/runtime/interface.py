"""What the runtime asks of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred

from microd.services.registry.interface import IWatch
from microd.services.registry.model import Service
from microd.services.runtime.model import Account, Exit, Key, Line, Record

T = TypeVar("T")

#: Makes void what was issued to a service, by its namespace and its account's id; asked when it is deleted.
Revoke = Callable[[str, str], Awaitable[None]]

#: Makes the credentials of a service, by its namespace and its account's id; asked anew for each process.
Credentials = Callable[[str, str], Awaitable[Account]]


class InThread(Protocol):
    """Runs what would block elsewhere."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """The outcome of C{work()}."""


class Registrations(Protocol):
    """The part of the registry which tells whether a process serves."""

    def watch(self, namespace: str, name: str = "") -> IWatch:
        """The changes from now on."""

    async def list(self, namespace: str) -> Sequence[Service]:
        """All that is registered."""

    def forget_process(self, namespace: str, name: str, version: str, process: str) -> None:
        """The process is gone, and so are its nodes."""


class Records(Protocol):
    """Keeps what is to run. What was acknowledged is durable; nobody else can read it."""

    async def load(self) -> Sequence[Record]:
        """All of them."""

    async def save(self, record: Record) -> None:
        """Keep a service, in place of what was kept of it."""

    async def remove(self, key: Key) -> None:
        """Forget one; no error where there was none."""


class Process(Protocol):
    """A program that was started, and everything it starts."""

    @property
    def pid(self) -> int | None:
        """The program's process id, once it is known."""

    @property
    def ended(self) -> Deferred[Exit]:
        """Fires when nothing of it is left. One reader."""

    def stop(self) -> None:
        """Ask it to end (SIGTERM to its process group)."""

    def kill(self) -> None:
        """End it, and all that it started."""


class Launcher(Protocol):
    """Starts programs."""

    def launch(
        self,
        command: Sequence[str],
        folder: str,
        environment: Mapping[str, str],
        wrote: Callable[[str, bytes], None],
    ) -> Process:
        """Start a program.

        @param wrote: is told C{stdout} or C{stderr}, and what came there.
        @raise OSError: this machine cannot start any just now.
        """

    def sweep(self, mark: str) -> int:
        """Kill every process whose C{MICRO_SERVICE_PROCESS} begins with C{mark}; how many there were."""


class LogSink(Protocol):
    """Where output goes."""

    def write(self, stream: str, data: bytes) -> None:
        """Take output as it comes, in pieces of any size."""

    def say(self, text: str) -> None:
        """Add a line of our own."""

    def last(self, count: int) -> Iterable[Line]:
        """The newest lines."""
