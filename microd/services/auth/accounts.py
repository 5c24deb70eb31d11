"""Where accounts are, by id and by name, in the vault.

C{account/<namespace>/<id>} holds the enrolment, C{name/<namespace>/<name>} the id, C{generation/<namespace>/<id>} how
often whatever was issued to the account was made void. Each part of a key is quoted, so that no part can pose as two.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote

from microd.services.auth.interface import Vault
from microd.services.auth.model import Enrolment
from microd.services.auth.rules import LONGEST_ID, dump, load


def key(kind: str, namespace: str, *rest: str) -> str:
    """The vault's key for something of C{kind}."""
    return "/".join((kind, *(quote(part, safe="@") for part in (namespace, *rest))))


class Accounts:
    """Reads and writes enrolments. Writers take turns elsewhere."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def by_id(self, namespace: str, id: str) -> Enrolment | None:
        """The account with this id."""
        raw = await self._vault.read(key("account", namespace, id))
        return None if raw is None else load(raw)

    async def by_name(self, namespace: str, name: str) -> Enrolment | None:
        """The account with this name."""
        raw = await self._vault.read(key("name", namespace, name))
        return None if raw is None else await self.by_id(namespace, raw.decode())

    async def find(self, namespace: str, text: str) -> Enrolment | None:
        """The account with this id; else the one with this name."""
        if max(len(namespace), len(text)) > LONGEST_ID:
            return None
        return await self.by_id(namespace, text) or await self.by_name(namespace, text)

    async def all(self, namespace: str) -> Sequence[Enrolment]:
        """Every account of a namespace, by id."""
        return [load(raw) for _, raw in await self._vault.under(key("account", namespace) + "/")]

    async def keep(self, kept: Enrolment, generation: int | None = None) -> None:
        """Write an enrolment, and how often it was revoked where that is now another number."""
        account = kept.account
        await self._vault.apply(
            {
                key("account", account.issuer, account.id): dump(kept),
                key("name", account.issuer, account.name): account.id.encode(),
                **_revoked(account.issuer, account.id, generation),
            }
        )

    async def forget(self, kept: Enrolment, generation: int) -> None:
        """Delete an enrolment, and keep how often it was revoked."""
        account = kept.account
        await self._vault.apply(
            {
                key("account", account.issuer, account.id): None,
                key("name", account.issuer, account.name): None,
                **_revoked(account.issuer, account.id, generation),
            }
        )

    async def revoked(self, namespace: str, id: str, generation: int) -> None:
        """Keep how often an account was revoked."""
        await self._vault.apply(_revoked(namespace, id, generation))

    async def generations(self) -> dict[tuple[str, str], int]:
        """How often each account was revoked; those that never were are left out."""
        found: dict[tuple[str, str], int] = {}
        for name, raw in await self._vault.under("generation/"):
            _, namespace, id = name.split("/")
            found[unquote(namespace), unquote(id)] = int(raw)
        return found


def _revoked(namespace: str, id: str, generation: int | None) -> dict[str, bytes | None]:
    return {} if generation is None else {key("generation", namespace, id): str(generation).encode()}
