"""Bringing a source folder to the runtime, and waiting until what is in it serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from microd.cli.failure import FAILED, CommandFailed
from microd.cli.packing import Folder
from microd.cli.running import LATEST, Order, Running, Runtime
from microd.cli.session import Session

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

    @raise CommandFailed: there is none, or the file cannot run: nothing that lies beside it is uploaded then.
    """
    path = Path(os.path.normpath(working / Path(text).expanduser()))
    if path.is_dir():
        return Source(path)
    if path.is_file():
        if path.suffix != ".py" and not os.access(path, os.X_OK):
            raise CommandFailed(f"{text} is neither Python (.py) nor executable")
        return Source(path.parent, path.name)
    raise CommandFailed(
        f"There is no folder {text} here",
        remedy=f"Make one with `micro new {path.name}`." if "/" not in text else "",
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that the runtime has taken.

    @ivar before: the process which ran before it, as far as the runtime tells; empty for none.
    @ivar since: when, in unix seconds.
    """

    order: Order
    before: str
    since: int


def deploy(
    session: Session, runtime: Runtime, source: Source, order: Order, place: Callable[[Order], None]
) -> Placed:
    """Pack and upload the folder, then place the order; see L{wait}.

    @param place: creates or updates.
    """
    running = runtime.read(order.name, order.version)
    id = runtime.upload(order.name, order.version, Folder(source.folder))
    complete = replace(
        order,
        source=id,
        entrypoint=order.entrypoint or source.entrypoint,
        metadata={**order.metadata, "source": str(source.folder)},
    )
    since = int(session.now())
    place(complete)
    return Placed(complete, _process(running[0]) if running else "", since)


def wait(session: Session, runtime: Runtime, placed: Placed, patience: float) -> Running:
    """Return when the service is registered.

    @param patience: seconds that it may take to start, not counting the time it is built in.
    @raise CommandFailed: it failed, or patience ran out; its last lines have been printed.
    """
    order = placed.order
    until = session.now() + patience
    shown = ""
    while True:
        found = runtime.read(order.name, order.version)
        if not found:
            raise CommandFailed(f"service {order.name} was taken away while it started")
        service = found[0]
        if service.status == "running" and service.trouble:
            raise _failed(
                session, runtime, placed, f"service {order.name} was not replaced: {service.trouble}"
            )
        if service.status == "running" and not (placed.before and _process(service) == placed.before):
            return service
        if service.status in ("error", "stopped"):
            raise _failed(
                session, runtime, placed, f"service {order.name} is not running: {_reason(service)}"
            )
        if service.status not in (shown, "running"):
            shown = service.status
            session.tell(f"{order.name} is {shown}")
        if service.status in _BUSY:
            until = session.now() + patience
        if session.now() >= until:
            raise _failed(
                session,
                runtime,
                placed,
                f"service {order.name} has not registered within {patience:g} s, and is still {service.status}",
            )
        session.sleep(_STEP)


def _process(service: Running) -> str:
    return service.metadata.get("pid", "")


def _reason(service: Running) -> str:
    return service.trouble or ("it ended" if service.status == "stopped" else "the server does not say why")


def _failed(session: Session, runtime: Runtime, placed: Placed, sentence: str) -> CommandFailed:
    for line in _last_lines(runtime, placed):
        session.tell(line)
    order = placed.order
    where = order.name if order.version == LATEST else f"{order.name}@{order.version}"
    return CommandFailed(sentence, FAILED, remedy=f"See `micro logs {where}`.")


def _last_lines(runtime: Runtime, placed: Placed) -> list[str]:
    """The last lines since the order; where the server's clock disagrees with ours so that there are none, the last."""
    order = placed.order
    try:
        for since in (placed.since, 0):
            found = [
                line.message for line in runtime.logs(order.name, order.version, count=_LINES, since=since)
            ]
            if found:
                return found
    except CommandFailed:
        pass  # the failure itself is the news, not that it left no log
    return []
