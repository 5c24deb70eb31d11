"""Unpacking what strangers pack.

Nothing outside the target folder can be read or written, whatever the archive says: names are relative and free of
C{..}; no name leads through a link; a link's target climbs only at its beginning and never above the folder (so that each
link, followed from a real folder, ends inside, and by induction chains of links do); devices, pipes and sparse files
are refused; number and sizes are bounded before anything is written. Owners and special permission bits are dropped.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

from microd.kernel.errors import BadRequest, TooLarge

_CHUNK = 1 << 20
_DEEPEST = 64


def unpack(archive: Path, folder: Path, most_bytes: int, most_files: int) -> None:
    """Unpack a tar, plain or gzipped, into the new folder C{folder}; what it holds is on the disk then.

    @raise BadRequest: it is no tar, or holds something that a source has no need for.
    @raise TooLarge: it holds more than the limits allow.
    """
    folder.mkdir(mode=0o700, parents=True)
    root = folder.resolve()
    with archive.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        # Headers count as well: what is inside a gzip can be a thousand times as large as the file.
        limited = _Limited(gzip.GzipFile(fileobj=raw) if zipped else raw, most_bytes + most_files * 1536)
        try:
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                _unpack_members(tar, root, most_bytes, most_files)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, UnicodeError) as error:
            raise BadRequest(f"the upload is no tar archive: {error}") from error
    _settle(root)


class _Limited(io.RawIOBase):
    """A file which ends in an error when there is too much of it."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, most: int) -> None:
        super().__init__()
        self._file = file
        self._left = most
        self._most = most

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(f"the source is larger than {self._most} bytes")
        return data


def _unpack_members(tar: tarfile.TarFile, root: Path, most_bytes: int, most_files: int) -> None:
    size = 0
    for count, member in enumerate(tar):
        if count >= most_files:
            raise TooLarge(f"the source has more than {most_files} files")
        size += max(0, member.size)
        if size > most_bytes:
            raise TooLarge(f"the source is larger than {most_bytes} bytes")
        parts = _parts(member.name)
        if parts:
            _unpack_member(tar, member, root, parts)
        elif not member.isdir():
            raise BadRequest(f"{member.name!r} is no name for a file")


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, parts: tuple[str, ...]) -> None:
    try:
        target = _place(root, parts, member.name)
        if member.isdir():
            target.mkdir(mode=0o755, exist_ok=True)
        elif member.issym():
            _check_link(member, len(parts) - 1)
            _clear(target)
            target.symlink_to(member.linkname)
        elif member.islnk():
            original = _place(root, _parts(member.linkname), member.linkname)
            if original.is_symlink() or not original.is_file():
                raise BadRequest(f"{member.name!r} is a link to something which is not in the source")
            _clear(target)
            target.hardlink_to(original)
        elif member.isreg() and not member.issparse():
            _clear(target)
            _write(tar, member, target)
        else:
            raise BadRequest(f"{member.name!r} is neither a file, a folder nor a link")
    except OSError as error:
        raise BadRequest(f"{member.name!r} cannot be unpacked: {error.strerror}") from error


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise BadRequest(f"{name!r} leads out of the source")
    if len(path.parts) > _DEEPEST:
        raise BadRequest(f"{name[:80]!r}... is nested deeper than {_DEEPEST} folders")
    return path.parts


def _place(root: Path, parts: tuple[str, ...], name: str) -> Path:
    """Where a member belongs; the folders on the way are made."""
    place = root
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink():
            raise BadRequest(f"{name!r} leads through a link")
        place.mkdir(mode=0o755, exist_ok=True)
    return place / parts[-1] if parts else root


def _check_link(member: tarfile.TarInfo, depth: int) -> None:
    target = PurePosixPath(member.linkname)
    climbs = 0
    while climbs < len(target.parts) and target.parts[climbs] == "..":
        climbs += 1
    if target.is_absolute() or climbs > depth or ".." in target.parts[climbs:] or not member.linkname:
        raise BadRequest(f"the link {member.name!r} leads out of the source")


def _clear(target: Path) -> None:
    """A later member of the same name replaces the earlier one, and is never written through it."""
    if target.is_symlink() or target.is_file():
        target.unlink()


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    mode = 0o755 if member.mode & 0o100 else 0o644
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(file, "wb") as out:
        while source is not None and (data := source.read(_CHUNK)):
            out.write(data)
        out.flush()
        os.fsync(file)


def _settle(root: Path) -> None:
    """Have the folders' entries on the disk, too."""
    for folder, _, _ in os.walk(root):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
