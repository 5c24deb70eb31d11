"""A folder as a tar: the same folder always makes the same bytes, in pieces, without being held in memory.

Left out: what version control, editors and Python make beside the source, and what C{.gitignore} files name (their
usual forms: C{*}, C{?}, C{[...]}, C{**}, a leading C{/}, a trailing C{/}, and C{!}).
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from microd.cli.failure import CommandFailed

_NEVER = (
    ".git/", ".hg/", ".svn/", ".venv/", "venv/", ".tox/", ".nox/", "__pycache__/", "*.pyc", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", "*.egg-info/", "node_modules/", ".DS_Store", ".idea/", ".vscode/",
)  # fmt: skip
_CHUNK = 64 * 1024
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of an ignore file: what it matches, below which folder, and whether it takes back."""

    pattern: re.Pattern[str]
    folder_only: bool
    ignores: bool


class Folder:
    """A source folder; iterate over it for its tar."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __iter__(self) -> Iterator[bytes]:
        """The tar, in pieces of 64 KiB at most."""
        for name, path, info in self.entries():
            yield from _member(name, path, info)
        yield b"\0" * (2 * _BLOCK)

    def entries(self) -> Iterator[tuple[str, Path, os.stat_result]]:
        """What goes in, folders before what they hold, by name."""
        yield from self._below(self._root, PurePosixPath(), _rules(_NEVER, ""))

    def _below(
        self, folder: Path, place: PurePosixPath, rules: list[_Rule]
    ) -> Iterator[tuple[str, Path, os.stat_result]]:
        rules = rules + _rules(_lines(folder / ".gitignore"), "" if place == PurePosixPath() else f"{place}/")
        for entry in sorted(folder.iterdir(), key=lambda path: path.name):
            inner = place / entry.name
            info = entry.lstat()
            is_folder = stat.S_ISDIR(info.st_mode)
            if _ignored(str(inner), is_folder, rules):
                continue
            if stat.S_ISLNK(info.st_mode) and self._leads_out(entry):
                info = _followed(entry)
            if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                yield str(inner), entry, info
            elif is_folder:
                yield str(inner), entry, info
                yield from self._below(entry, inner, rules)

    def _leads_out(self, link: Path) -> bool:
        target = os.readlink(link)
        if os.path.isabs(target):
            return True
        meant = os.path.normpath(link.parent / target)
        return not Path(meant).is_relative_to(os.path.normpath(self._root))


def _followed(link: Path) -> os.stat_result:
    """What a link out of the folder leads to: a file is packed in its place."""
    try:
        info = link.stat()
    except OSError as error:
        raise CommandFailed(f"{link} is a link to something that is not there") from error
    if stat.S_ISDIR(info.st_mode):
        raise CommandFailed(
            f"{link} is a link to a folder elsewhere, which cannot be packed", remedy="Name it in .gitignore."
        )
    return info


def _member(name: str, path: Path, info: os.stat_result) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.mode = 0o755 if info.st_mode & 0o100 else 0o644
    if stat.S_ISDIR(info.st_mode):
        header.type, header.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISLNK(info.st_mode):
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
    else:
        header.size = info.st_size
    yield header.tobuf(tarfile.PAX_FORMAT)
    if header.isreg():
        yield from _content(path, info.st_size)


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Exactly C{size} bytes of the file, and zeros up to the next block."""
    left = size
    try:
        with path.open("rb") as file:
            while left and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from error
    if left:
        raise CommandFailed(f"{path} became shorter while it was packed", remedy="Try again.")
    if size % _BLOCK:
        yield b"\0" * (_BLOCK - size % _BLOCK)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _rules(lines: list[str] | tuple[str, ...], below: str) -> list[_Rule]:
    found = []
    for raw in lines:
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        ignores = not line.startswith("!")
        line = line.removeprefix("!").removeprefix("\\")
        folder_only = line.endswith("/")
        line = line.rstrip("/")
        anchored = "/" in line
        inner = _pattern(line.lstrip("/"))
        anywhere = "" if anchored else "(?:.*/)?"
        found.append(_Rule(re.compile(f"{re.escape(below)}{anywhere}{inner}"), folder_only, ignores))
    return found


def _pattern(glob: str) -> str:
    """A gitignore glob as a regular expression."""
    made = ""
    place = 0
    while place < len(glob):
        rest = glob[place:]
        if rest.startswith("**/"):
            made, place = made + "(?:.*/)?", place + 3
        elif rest.startswith("**"):
            made, place = made + ".*", place + 2
        elif rest[0] == "*":
            made, place = made + "[^/]*", place + 1
        elif rest[0] == "?":
            made, place = made + "[^/]", place + 1
        elif match := re.match(r"\[[!^]?\]?[^\]]*\]", rest):
            inside = match[0][1:-1].replace("\\", "\\\\")
            inside = "^" + inside[1:] if inside[:1] in ("!", "^") else inside
            made, place = f"{made}[{inside}]", place + len(match[0])
        else:
            made, place = made + re.escape(rest[0]), place + 1
    return made


def _ignored(name: str, is_folder: bool, rules: list[_Rule]) -> bool:
    """The last rule that matches decides."""
    for rule in reversed(rules):
        if (is_folder or not rule.folder_only) and rule.pattern.fullmatch(name):
            return rule.ignores
    return False
