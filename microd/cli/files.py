"""Small private files: replaced in one step, under a lock of their own.

The lock is a file beside the data (C{config.json.lock}), so that taking it never touches what it protects; the new
content is complete on disk before it takes the old one's place. Folders are 0700, files 0600.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microd.cli.failure import CommandFailed


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other C{micro} from changing C{path} meanwhile."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def replace(path: Path, text: str) -> None:
    """Put C{text} in the place of the file, or leave the file as it was."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        made.rename(path)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path) -> str | None:
    """The text of the file; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CommandFailed(f"{path} cannot be read: {reason}") from error
