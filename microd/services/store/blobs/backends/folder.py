"""The files of blobs, as the threads see them that work on them.

A file's name is an id which we made: nothing that comes from outside ever becomes part of a path. A file is complete
before its id is in the index, and out of the index before it is removed; so a file which the index does not know is
rubbish, whatever is in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from threading import Lock

from microd.kernel.private import make_private

_ID = re.compile(r"[0-9a-f]{28}")
#: How many names are looked at in one go.
_NAMES = 100


class Folder:
    """Where the files are. Ids begin with what stands for this run of the daemon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run = secrets.token_hex(8)
        self._numbers = count()

    def make(self) -> None:
        """Make it, for us only; one that others could look into is closed to them."""
        make_private(self.path)
        # Whoever else owns it decides; the files in it are ours alone anyway.
        with suppress(PermissionError):
            self.path.chmod(0o700)

    def new_id(self) -> str:
        """An id which was never used."""
        return f"{self._run}{next(self._numbers):012x}"

    def file(self, id: str) -> BlobFile:
        """The file of an id; nothing is done to it yet."""
        return BlobFile(self.path / id)

    def remove(self, id: str) -> None:
        """Remove a file, if it is there."""
        (self.path / id).unlink(missing_ok=True)

    def earlier(self) -> Iterator[list[str]]:
        """The ids of files from earlier runs, some at a time."""
        with os.scandir(self.path) as entries:
            names = (each.name for each in entries)
            ids = (name for name in names if _ID.fullmatch(name) and not name.startswith(self._run))
            while found := list(islice(ids, _NAMES)):
                yield found


class BlobFile:
    """One file. Threads work on it one after the other; once it is closed, what still comes does nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._handle = -1
        self._closed = False
        self._digest = hashlib.sha256()

    @property
    def name(self) -> str:
        """The id."""
        return self._path.name

    @property
    def digest(self) -> str:
        """SHA-256 of all that was appended, or of all that was read in its order."""
        return self._digest.hexdigest()

    def append(self, data: bytes | bytearray) -> None:
        """Write on; the first time, make the file."""
        with self._lock:
            if self._closed:
                return
            if self._handle < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._handle = os.open(self._path, flags, 0o600)
            self._digest.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._handle, rest) :]

    def seal(self) -> None:
        """End only when the file, and its name, would survive the loss of power."""
        with self._lock:
            if self._closed:
                return
            os.fdatasync(self._handle)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def open(self) -> int | None:
        """Open it for reading, and say how many bytes it has; None where there is no such file."""
        with self._lock:
            if self._closed:
                return None
            try:
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            return os.fstat(self._handle).st_size

    def read(self, start: int, length: int, digesting: bool) -> bytes:
        """So many bytes, or less where the file ends."""
        with self._lock:
            if self._closed:
                return b""
            data = os.pread(self._handle, length, start)
            if digesting:
                self._digest.update(data)
            return data

    def close(self) -> None:
        """Work on it no more."""
        with self._lock:
            self._closed = True
            if self._handle >= 0:
                handle, self._handle = self._handle, -1
                os.close(handle)

    def discard(self) -> None:
        """Work on it no more, and remove it."""
        self.close()
        self._path.unlink(missing_ok=True)
