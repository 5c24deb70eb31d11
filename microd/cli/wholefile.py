"""A file which takes its place only when all of it is there: what stood there before stays until then."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from microd.cli.failure import CommandFailed

#: The name of the standard streams.
STANDARD = "-"


def target(path: str) -> Path:
    """The file which is to be written; where that is a link, what it leads to.

    @raise CommandFailed: it is there, and nothing that can be replaced.
    """
    found = Path(os.path.realpath(path))
    if found.exists() and not found.is_file():
        what = "folder" if found.is_dir() else "device"
        raise CommandFailed(f"{path} is a {what}", remedy=f"Give a file, or {STANDARD} for standard output.")
    return found


@contextmanager
def whole_file(path: Path, draft: Path, *, resume: bool = False, keep: bool = False) -> Iterator[BinaryIO]:
    """Write to C{draft}, in the same folder; when that ends well it becomes C{path}. Only its owner can read it.

    @param path: made by L{target}.

    @param resume: go on with the draft which is there; it is read from its beginning and written at its end.
    @param keep: leave the draft where it does not end well.
    @raise CommandFailed: the file cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(draft, flags if resume else flags | os.O_TRUNC, 0o600)
        done = False
        try:
            with os.fdopen(handle, "r+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            done = True
        finally:
            if not (done or keep):
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def source_file(path: str) -> Iterator[BinaryIO]:
    """Read a file, or standard input where the path is C{-}.

    @raise CommandFailed: it cannot be read.
    """
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - an error of whoever reads it is another one
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file
