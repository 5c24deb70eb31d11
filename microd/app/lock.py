"""One daemon for each data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twisted.application.service import Service

from microd.kernel.private import make_private


class FolderTaken(Exception):
    """Another daemon works on this data folder."""


class FolderUnusable(Exception):
    """Nothing can be kept in this folder; the sentence says why, and how to choose another."""


class FolderLock(Service):
    """Makes the data folder, private to its owner, and holds it for as long as the process lives.

    The kernel lets go of the lock when the process dies, however it dies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None

    def startService(self) -> None:
        """Take the folder.

        @raise FolderTaken: names the process which has it.
        @raise FolderUnusable: it cannot be made, or not be written to.
        """
        held = self._open()
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(held, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(held)
            raise FolderTaken(
                f"the data folder {self._folder} is in use by the daemon with pid {holder}; "
                f"stop that one, or choose another folder with --data or MICRO_HOME"
            ) from None
        os.ftruncate(held, 0)
        os.write(held, f"{os.getpid()}\n".encode())
        self._held = held
        super().startService()

    def _open(self) -> int:
        try:
            make_private(self._folder)
            return os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            reason = "it is not a folder" if isinstance(problem, FileExistsError) else problem.strerror
            raise FolderUnusable(
                f"nothing can be kept in the data folder {self._folder}: {reason}; "
                f"choose another folder with --data or MICRO_HOME"
            ) from problem

    def stopService(self) -> None:
        """Let go of the folder."""
        super().stopService()
        if self._held is not None:
            os.close(self._held)
            self._held = None
