"""What a crash leaves in the write-ahead log, looked at before SQLite does.

SQLite reads the log as far as it makes sense, and silently takes that for all there is. That is right for the last
transaction, which the crash may have torn, and which nobody was told of. But a transaction begins only after the one
before it is on disk: so what makes no sense further ahead was told to be kept, and is damaged.

Format: U{https://www.sqlite.org/fileformat2.html#the_write_ahead_log}.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from typing import BinaryIO

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Log:
    """What there is.

    @ivar end: where the last transaction ends of which all makes sense; 0: there is none.
    @ivar commits: how many such transactions there are.
    @ivar lost: how many transactions end behind that.
    @ivar is_damaged: some of them had been told to be kept.
    @ivar is_doubtful: there is one, and pieces of it are there behind one which makes no sense: the power failed while it was
        written, or it is damaged.
    """

    end: int = 0
    lost: int = 0
    is_damaged: bool = False
    is_doubtful: bool = False


def examine(path: Path) -> Log:
    """Look at the log of the database at C{path}."""
    try:
        with open(f"{path}-wal", "rb") as file:
            return _examine(file)
    except FileNotFoundError:
        return Log()


def renew(path: Path, end: int) -> None:
    """Write what is to be believed once more, in its place, and sync it; cut the rest off.

    What is read may be in the memory of the system only: a sync of the process before may have failed, and then the system
    holds the pages for written. What will be committed behind them would be lost with them.
    """
    try:
        file = open(f"{path}-wal", "r+b", buffering=0)  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return
    with file:
        os.ftruncate(file.fileno(), end)
        for offset in range(0, end, 1 << 20):
            piece = os.pread(file.fileno(), min(1 << 20, end - offset), offset)
            os.pwrite(file.fileno(), piece, offset)
        os.fsync(file.fileno())


def _examine(file: BinaryIO) -> Log:
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return Log()
    magic, _, page = unpack_from(">III", header)
    salts = header[16:24]
    order = "big" if magic & 1 else "little"
    sums = _checksum(header[:24], (0, 0), order)
    if magic & ~1 != _MAGIC or sums != unpack_from(">II", header, 24):
        # The header is on disk before the first piece behind it.
        lost = sum(1 for _ in _ends(file, 4096, None))
        return Log(lost=lost, is_damaged=lost > 0)
    end = 0
    while len(frame := file.read(_FRAME_HEADER + page)) == _FRAME_HEADER + page:
        sums = _checksum(frame[:8], sums, order)
        sums = _checksum(frame[_FRAME_HEADER:], sums, order)
        if frame[8:16] != salts or sums != unpack_from(">II", frame, 16):
            file.seek(-len(frame), os.SEEK_CUR)
            break
        if unpack_from(">I", frame, 4)[0]:
            end = file.tell()
    begin = file.tell()
    ends = list(_ends(file, page, salts))
    return Log(end, len(ends), len(ends) > 1, len(ends) == 1 and ends[0] > begin)


def _ends(file: BinaryIO, page: int, salts: bytes | None) -> Iterator[int]:
    """Where, from here on, the last pieces of transactions begin; without C{salts}, of those like the first one."""
    while True:
        here = file.tell()
        frame = file.read(_FRAME_HEADER + page)
        if len(frame) < _FRAME_HEADER + page:
            return
        salts = salts or frame[8:16]
        if frame[8:16] == salts and unpack_from(">I", frame, 4)[0]:
            yield here


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    first, second = sums
    pairs = iter(words)
    for one, other in zip(pairs, pairs, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
