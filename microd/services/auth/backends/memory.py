"""A vault in memory: what the real one must be like."""

from __future__ import annotations

from collections.abc import Sequence


class MemoryVault:
    """Keeps everything until the process ends; L{microd.services.auth.interface.Vault}."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def read(self, key: str) -> bytes | None:
        """The value under C{key}."""
        return self._kept.get(key)

    async def write(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self._kept[key] = value

    async def delete(self, key: str) -> None:
        """Forget a key."""
        self._kept.pop(key, None)

    async def under(self, prefix: str) -> Sequence[tuple[str, bytes]]:
        """Keys with a prefix, and their values."""
        return sorted(entry for entry in self._kept.items() if entry[0].startswith(prefix))
