"""What config asks of the place where documents are kept; L{microd.services.config.packing} says what the bytes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Commit:
    """One write, packed.

    @ivar version: what is to be kept in the history, and its number; None: nothing.
    @ivar forgotten: numbers of versions which are no longer to be kept.
    @ivar keys: ids of keys which secrets were sealed with.
    """

    namespace: str
    document: bytes
    version: tuple[int, bytes] | None = None
    forgotten: Sequence[int] = ()
    keys: Sequence[str] = ()


class Documents(Protocol):
    """Keeps documents, and versions of them. What was acknowledged is durable."""

    async def load(self, namespace: str) -> bytes | None:
        """The document of a namespace; None where none was ever written."""

    async def save(self, commit: Commit) -> None:
        """Do all of it or nothing."""

    async def versions(self, namespace: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """The newest versions whose numbers are below C{before}, the newest first."""

    async def version(self, namespace: str, number: int) -> bytes | None:
        """One version; None where it is not kept."""

    async def keys(self) -> Sequence[str]:
        """The ids of all keys with which secrets were ever sealed."""

    async def namespaces(self) -> Sequence[str]:
        """Those which have a document."""
