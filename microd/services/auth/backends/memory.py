"""A vault in memory: what the real one must be like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class MemoryVault:
    """Keeps everything until the process ends; L{microd.services.auth.interface.Vault}."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def read(self, key: str) -> bytes | None:
        """The value under C{key}."""
        return self._kept.get(key)

    async def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep values, forget keys."""
        for key, value in changes.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value

    async def under(self, prefix: str) -> Sequence[tuple[str, bytes]]:
        """Keys with a prefix, and their values."""
        return sorted(entry for entry in self._kept.items() if entry[0].startswith(prefix))
