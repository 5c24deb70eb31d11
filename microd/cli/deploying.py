"""Bringing a source folder to the runtime, and waiting until what is in it serves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microd.cli.failure import FAILED, CommandFailed
from microd.cli.packing import Folder
from microd.cli.running import Order, Running, Runtime
from microd.cli.session import Session

#: The metadata by which we know our own order again among the answers of the runtime.
ORDER = "order"
_LINES = 20
_STEP = 0.2
#: While the server builds, it is busy with our order; patience is for what comes after.
_BUSY = ("pending", "building")


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be brought.

    @ivar entrypoint: the file or folder in it which is to run; empty for its own main file.
    """

    folder: Path
    entrypoint: str = ""

    @property
    def name(self) -> str:
        """The name of a service that is given no other."""
        inner = Path(self.entrypoint)
        return self.folder.name if not self.entrypoint or inner.suffix else inner.name


def source_from(text: str, working: Path) -> Source:
    """The folder that somebody names, by itself or by a file in it.

    @raise CommandFailed: there is none.
    """
    path = Path(os.path.normpath(working / Path(text).expanduser()))
    if path.is_dir():
        return Source(path)
    if path.is_file():
        return Source(path.parent, path.name)
    raise CommandFailed(
        f"There is no folder {text} here",
        remedy=f"Make one with `micro new {path.name}`." if "/" not in text else "",
    )


def order_mark() -> str:
    """A word that no other order has."""
    return f"{time.time_ns():x}{os.getpid():x}"


def deploy(runtime: Runtime, source: Source, order: Order, place: Callable[[Order], None]) -> Order:
    """Pack and upload the folder, then place the order; see L{wait}.

    @param place: creates or updates.
    @return: the order, as it was placed.
    """
    from dataclasses import replace

    id = runtime.upload(order.name, order.version, Folder(source.folder))
    metadata = {**order.metadata, "source": str(source.folder), ORDER: order_mark()}
    placed = replace(order, source=id, entrypoint=order.entrypoint or source.entrypoint, metadata=metadata)
    place(placed)
    return placed


def wait(session: Session, runtime: Runtime, order: Order, patience: float) -> Running:
    """Return when the service is registered.

    @param patience: seconds that it may take to start, not counting the time it is built in.
    @raise CommandFailed: it failed, or patience ran out; its last lines have been printed.
    """
    until = session.now() + patience
    shown = ""
    while True:
        found = runtime.read(order.name, order.version)
        service = found[0] if found else None
        if service is None:
            raise CommandFailed(f"{order.name} was taken away while it started")
        if service.status == "running" and not service.metadata.get("error"):
            return service
        if service.status in ("error", "stopped") or service.metadata.get("error"):
            raise _not_started(session, runtime, order, _reason(service))
        if service.status != shown:
            shown = service.status
            session.tell(f"{order.name} is {shown}")
        if service.status in _BUSY:
            until = session.now() + patience
        if session.now() >= until:
            why = f"it has not registered within {patience:g} s, and is still {service.status}"
            raise _not_started(session, runtime, order, why)
        session.sleep(_STEP)


def _reason(service: Running) -> str:
    error = service.metadata.get("error", "")
    return error or ("it ended" if service.status == "stopped" else "the server does not say why")


def _not_started(session: Session, runtime: Runtime, order: Order, why: str) -> CommandFailed:
    for line in _last_lines(runtime, order):
        session.tell(line)
    where = order.name if order.version == "latest" else f"{order.name}@{order.version}"
    return CommandFailed(f"{where} is not running: {why}", FAILED, remedy=f"See `micro logs {where}`.")


def _last_lines(runtime: Runtime, order: Order) -> list[str]:
    try:
        return [line.message for line in runtime.logs(order.name, order.version, count=_LINES)]
    except CommandFailed:
        # The failure itself is the news, not that it left no log.
        return []
