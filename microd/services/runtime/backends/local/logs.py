"""What services write: a few files for each, each line with its time.

A line of a file is C{seconds stream text}; the text is kept as the bytes that came. The newest file is C{log}, the one
before it C{log.1}, and so on; together they hold at most C{(log_files + 1) * log_size} bytes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.kernel.private import make_private
from microd.services.runtime.backends.local.follower import Follower
from microd.services.runtime.interface import LogSink
from microd.services.runtime.model import Key, Limits, Line

#: A longer line becomes several.
LONGEST = 16 * 1024
#: Seconds after which an unfinished line is taken as it is: a prompt, the last words of something that hangs.
PATIENCE = 1.0
#: No answer begins with more lines than this: reading them takes about 50 ms, in which nothing else happens.
MOST = 10_000
#: Nor with more bytes.
MOST_BYTES = 8 << 20
_BLOCK = 64 * 1024


class Log(LogSink):
    """The lines of one service."""

    def __init__(self, folder: Path, clock: IReactorTime, limits: Limits) -> None:
        self._folder = folder
        self._path = folder / "log"
        self._clock = clock
        self._limits = limits
        self._file: int | None = None
        self._size = 0
        self._partial: dict[str, bytes] = {}
        self._timer: IDelayedCall | None = None
        self._followers: set[Follower] = set()

    def write(self, stream: str, data: bytes) -> None:
        """Take output; what does not end in a line's end waits for the rest of its line."""
        *lines, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        pieces = [line[at : at + LONGEST] for line in lines for at in range(0, max(len(line), 1), LONGEST)]
        while len(rest) >= LONGEST:
            pieces.append(rest[:LONGEST])
            rest = rest[LONGEST:]
        if rest:
            self._partial[stream] = rest
            if self._timer is None:
                self._timer = self._clock.callLater(PATIENCE, self.flush)
        self._append(stream, pieces)

    def say(self, text: str) -> None:
        """Add lines of our own, after what the service has said so far."""
        self.flush()
        self._append("runtime", [line.encode() for line in text.splitlines()])

    def flush(self) -> None:
        """Take unfinished lines as they are."""
        if self._timer is not None:
            timer, self._timer = self._timer, None
            if timer.active():
                timer.cancel()
        for stream in list(self._partial):
            self._append(stream, [self._partial.pop(stream)])

    def last(self, count: int, since: float = 0.0) -> list[Line]:
        """The newest lines, written at or after C{since}; the oldest first.

        @param count: at most so many, and never more than L{MOST}; 0: L{MOST}.
        """
        self.flush()
        most = min(count, MOST) if count else MOST
        found: list[Line] = []
        size = 0
        for raw in self._backwards():
            line = _line_from(raw)
            size += len(raw)
            if line is None:
                continue
            if line.time < since or len(found) >= most or size > MOST_BYTES:
                break
            found.append(line)
        found.reverse()
        return found

    def follow(self) -> Follower:
        """All lines from now on."""
        follower = Follower(self._clock, self._followers.discard)
        self._followers.add(follower)
        return follower

    def close(self) -> None:
        """Let go of the file. What is written later opens it again."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def end(self) -> None:
        """There will be no more: let go of the file, and end those who follow."""
        self.close()
        for follower in list(self._followers):
            follower.close()

    def _append(self, stream: str, texts: list[bytes]) -> None:
        if not texts:
            return
        now = self._clock.seconds()
        head = b"%.6f %s " % (now, stream.encode())
        for follower in list(self._followers):
            follower.offer(Line(now, stream, _text(text)) for text in texts)
        batch: list[bytes] = []
        for text in texts:
            batch.append(head + text.removesuffix(b"\r") + b"\n")
            self._size += len(batch[-1])
            if self._size >= self._limits.log_size:
                self._store(b"".join(batch))
                self._rotate()
                batch.clear()
        if batch:
            self._store(b"".join(batch))

    def _store(self, data: bytes) -> None:
        """Disk trouble must not stop a service, nor those who follow its log."""
        with contextlib.suppress(OSError):
            file = self._open()
            while data:
                data = data[os.write(file, data) :]

    def _open(self) -> int:
        if self._file is None:
            make_private(self._folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._path, flags, 0o600)
            length = os.fstat(self._file).st_size
            if length and os.pread(self._file, 1, length - 1) != b"\n":
                os.write(self._file, b"\n")
            self._size += length
        return self._file

    def _rotate(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._size = 0
        with contextlib.suppress(OSError):
            if self._limits.log_files == 0:
                self._path.unlink()
                return
            for number in range(self._limits.log_files, 0, -1):
                older, newer = self._numbered(number), self._numbered(number - 1)
                if newer.exists():
                    newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"log.{number}") if number else self._path

    def _backwards(self) -> Iterator[bytes]:
        """The raw lines of all files, the newest first."""
        for number in range(self._limits.log_files + 1):
            try:
                file = os.open(self._numbered(number), os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                yield from _lines_backwards(file)
            finally:
                os.close(file)


class Logs:
    """The logs of all services, below one folder."""

    def __init__(self, folder: Path, clock: IReactorTime, limits: Limits) -> None:
        self._folder = folder
        self._clock = clock
        self._limits = limits
        self._open: dict[Key, Log] = {}

    def of(self, key: Key) -> Log:
        """The log of one service, to be written and read."""
        log = self._open.get(key)
        if log is None:
            log = self._open[key] = Log(self._path(key), self._clock, self._limits)
        return log

    def read(self, key: Key, count: int, since: float) -> list[Line]:
        """The newest lines of a service, whether it still runs or not; see L{Log.last}."""
        log = self._open.get(key) or Log(self._path(key), self._clock, self._limits)
        return log.last(count, since)

    def known(self, key: Key) -> bool:
        """Whether such a service has ever written a line which is still kept."""
        return key in self._open or self._path(key).is_dir()

    def close(self, key: Key) -> None:
        """The service is gone: end those who follow it; its lines stay for a while."""
        log = self._open.pop(key, None)
        if log is not None:
            log.end()

    def close_all(self) -> None:
        """End everything."""
        for key in list(self._open):
            self.close(key)

    def prune(self, now: float, living: set[Key]) -> None:
        """Remove the logs of services that are gone, and were last written to long ago."""
        oldest = now - self._limits.log_days * 86400.0
        for path in self._folder.glob("*/*/*"):
            key = Key(*path.relative_to(self._folder).parts)
            if key not in living and key not in self._open and _last_touched(path) < oldest:
                shutil.rmtree(path, ignore_errors=True)

    def _path(self, key: Key) -> Path:
        return self._folder / key.namespace / key.name / key.version


def _last_touched(folder: Path) -> float:
    try:
        return max((entry.stat().st_mtime for entry in folder.iterdir()), default=0.0)
    except OSError:
        return 0.0


def _lines_backwards(file: int) -> Iterator[bytes]:
    at = os.fstat(file).st_size
    rest = b""
    while at > 0:
        start = max(0, at - _BLOCK)
        first, *lines = (os.pread(file, at - start, start) + rest).split(b"\n")
        at, rest = start, first
        yield from reversed(lines)
    yield rest


def _line_from(raw: bytes) -> Line | None:
    """Read a line of a file; None for what is none, such as a line cut short by a crash."""
    time, _, rest = raw.partition(b" ")
    stream, space, text = rest.partition(b" ")
    try:
        return Line(float(time), stream.decode("ascii"), _text(text)) if space else None
    except ValueError:
        return None


def _text(raw: bytes) -> str:
    return raw.removesuffix(b"\r").decode("utf-8", "backslashreplace")
