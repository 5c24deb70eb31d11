"""Where the sources of services lie.

C{sources/<namespace>/<name>/<version>/<token>/} holds one upload; C{current} beside it is a link to the newest. An upload
is complete or not there: it is unpacked under another name and then renamed. A service keeps the upload that it was
created from, until it is updated or deleted.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from microd.kernel.errors import BadRequest, NotFound, TooLarge, Unavailable
from microd.kernel.private import make_private
from microd.services.runtime import rules
from microd.services.runtime.archive import unpack
from microd.services.runtime.interface import InThread
from microd.services.runtime.model import Key, Limits

SCHEME = "source://"
#: Seconds for which an upload waits to be used, once the daemon was started again.
_UNUSED = 86400.0


class Sources:
    """The uploads below one folder.

    @param in_thread: unpacking and removing would block.
    """

    def __init__(self, folder: Path, limits: Limits, in_thread: InThread) -> None:
        self._folder = folder
        self._limits = limits
        self._in_thread = in_thread

    async def upload(self, key: Key, chunks: AsyncIterator[bytes]) -> str:
        """Take a tar in pieces; its id.

        @raise BadRequest: it is no tar, or not one of a source.
        @raise TooLarge: it is larger than the limits allow.
        @raise Unavailable: it cannot be kept, for want of room for example.
        """
        try:
            await self._take(self._home(key), secrets.token_hex(8), chunks)
        except OSError as problem:
            raise Unavailable(f"the platform cannot keep the source: {problem.strerror}") from problem
        return f"{SCHEME}{key}"

    async def _take(self, home: Path, token: str, chunks: AsyncIterator[bytes]) -> None:
        make_private(home)
        archive, draft, final = home / f"{token}.tar", home / f"{token}.part", home / token
        try:
            await self._receive(archive, chunks)
            await self._in_thread(lambda: self._unpack(archive, draft, final))
        finally:
            archive.unlink(missing_ok=True)
            if draft.exists():
                await self._in_thread(lambda: shutil.rmtree(draft, ignore_errors=True))

    def find(self, namespace: str, id: str) -> str:
        """The folder of the newest upload under an id, relative to the folder of all.

        @raise NotFound: there is none.
        @raise BadRequest: the id is none of ours.
        """
        if not id.startswith(SCHEME):
            raise BadRequest(
                f"the source {id[:200]!r} is not an uploaded one: this platform fetches nothing from elsewhere, "
                "upload the folder (micro run FOLDER does)"
            )
        name, _, version = id.removeprefix(SCHEME).partition(":")
        home = self._home(rules.check_key(namespace, name, version))
        try:
            token = os.readlink(home / "current")
        except OSError:
            token = ""
        if not token or not (home / token).is_dir():
            raise NotFound(f"the source {id} was not uploaded")
        return str((home / token).relative_to(self._folder))

    def blank(self, key: Key) -> str:
        """A new empty folder, for a command which needs no source."""
        home = self._home(key) / secrets.token_hex(8)
        make_private(home)
        return str(home.relative_to(self._folder))

    def path(self, folder: str) -> Path:
        """Where a folder which C{find} named lies."""
        return self._folder / folder

    async def remove(self, folder: str) -> None:
        """Nobody needs this upload any more."""
        if folder:
            await self._in_thread(lambda: shutil.rmtree(self.path(folder), ignore_errors=True))

    async def prune(self, used: Collection[str], now: float) -> None:
        """Remove the uploads which were cut short, superseded, or never used, at the start."""
        await self._in_thread(lambda: self._prune(set(used), now))

    def _home(self, key: Key) -> Path:
        return self._folder / key.namespace / key.name / key.version

    async def _receive(self, archive: Path, chunks: AsyncIterator[bytes]) -> None:
        size = 0
        with archive.open("xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._limits.upload:
                    raise TooLarge(f"the upload is larger than {self._limits.upload} bytes")
                file.write(chunk)

    def _unpack(self, archive: Path, draft: Path, final: Path) -> None:
        unpack(archive, draft, self._limits.unpacked, self._limits.files)
        draft.rename(final)
        link = final.with_name(f"{final.name}.link")
        link.symlink_to(final.name)
        link.replace(final.with_name("current"))
        handle = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _prune(self, used: set[str], now: float) -> None:
        for entry in self._folder.glob("*/*/*/*"):
            if str(entry.relative_to(self._folder)) in used or entry.name == "current":
                continue
            if not entry.is_dir() or entry.is_symlink():
                entry.unlink(missing_ok=True)
            elif not self._waits(entry, now):
                shutil.rmtree(entry, ignore_errors=True)

    def _waits(self, entry: Path, now: float) -> bool:
        current = entry.with_name("current")
        newest = current.is_symlink() and os.readlink(current) == entry.name
        return newest and entry.stat().st_mtime > now - _UNUSED
