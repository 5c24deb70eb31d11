"""The platform's admin: somebody must be able to log in, and no default password exists."""

from __future__ import annotations

import secrets
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.private import write_private
from microd.services.auth.model import Draft
from microd.services.auth.rules import administers_platform

ADMIN = "admin"


class _Enroller(Protocol):
    async def generate(self, namespace: str, draft: Draft) -> tuple[Account, str]: ...
    async def accounts(self, namespace: str) -> Sequence[Account]: ...
    async def reinstate(self, account: Account, secret: str) -> None: ...
    def generation(self, account: Account) -> int: ...


class FirstAdmin:
    """Sees to it that the platform has an admin, on each start: where nobody administers it, the account C{admin} does.

    Its secret is what the operator chose; else it is made, and kept in a file which only we may read. So whoever
    controls the machine can always get in, and nobody else becomes admin by it: an account of that id which was no admin
    gets a secret which its owner does not know, and whatever was issued to it is void.

    @param file: C{<data>/admin-secret}.
    @param chosen: the operator's choice; empty for none.
    @param reset: give C{admin} another secret, though all may be well: the one it had was forgotten.
    """

    log = Logger()

    def __init__(self, file: Path, chosen: str = "", *, reset: bool = False) -> None:
        self._file = file
        self._chosen = chosen
        self._reset = reset

    async def see_to(self, auth: _Enroller) -> None:
        """Make the account, or make it anew, unless somebody administers the platform and no reset is asked for."""
        present = await auth.accounts(DEFAULT_NAMESPACE)
        if any(map(administers_platform, present)) and not self._reset:
            return
        taken = next((account for account in present if account.id == ADMIN), None)
        if taken is None:
            await self._make(auth, {account.name for account in present})
        else:
            await self._reinstate(auth, taken)
        if self._reset:
            self.log.warn(
                "the account admin has another secret, and its tokens are void: "
                "take auth.reset_admin away again, or so it goes on each start"
            )

    def secret_void(self, account: Account) -> None:
        """What the file says is out of date once the admin's secret is another, or the admin is gone."""
        if (account.issuer, account.id) == (DEFAULT_NAMESPACE, ADMIN) and self._file.exists():
            self._file.unlink()
            self.log.info("{file} is gone: the secret in it is good no more", file=str(self._file))

    async def _make(self, auth: _Enroller, names: Container[str]) -> None:
        # What the file says may have been known to an admin who was deleted.
        fresh = self._reset or auth.generation(Account(ADMIN, "user", DEFAULT_NAMESPACE)) > 0
        candidates = chain((ADMIN,), (f"{ADMIN}-{number}" for number in count(2)))
        name = next(each for each in candidates if each not in names)
        draft = Draft(ADMIN, name, type="user", scopes=("admin",), secret=self._secret(fresh=fresh))
        await auth.generate(DEFAULT_NAMESPACE, draft)

    async def _reinstate(self, auth: _Enroller, taken: Account) -> None:
        if not administers_platform(taken):
            self.log.warn(
                "the account admin was no admin of the platform, and is its admin now: whatever its owner had is void"
            )
            taken = replace(taken, type="user", scopes=("admin",), metadata={})
        await auth.reinstate(taken, self._secret(fresh=True))

    def _secret(self, *, fresh: bool) -> str:
        """The operator's choice; else what an earlier start wrote, which ended before it made the account; else another."""
        if self._chosen:
            self._file.unlink(missing_ok=True)
            return self._chosen
        kept = self._file.read_text().strip() if self._file.exists() else ""
        if kept and not fresh:
            return kept
        secret = secrets.token_urlsafe(24)
        write_private(self._file, secret.encode() + b"\n")
        self.log.info("the secret of the account admin is in {file}", file=str(self._file))
        return secret
