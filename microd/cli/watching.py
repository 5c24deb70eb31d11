"""Doing something again whenever a source folder changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from microd.cli.failure import CommandFailed
from microd.cli.packing import Folder
from microd.cli.session import Session


def watch(session: Session, folder: Path, again: Callable[[], None], delay: float) -> None:
    """Call C{again} now and after each change, until Ctrl-C; a failure is told, and mended by the next change.

    @param delay: seconds between two looks.
    """
    seen = None
    try:
        while True:
            now = _state(folder)
            if now != seen:
                seen = now
                _attempt(session, again)
            session.sleep(delay)
    except KeyboardInterrupt:
        return


def _attempt(session: Session, again: Callable[[], None]) -> None:
    try:
        again()
    except CommandFailed as failure:
        session.tell(failure.text)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    return [(name, info.st_mtime_ns, info.st_size) for name, _, info in Folder(folder).entries()]
