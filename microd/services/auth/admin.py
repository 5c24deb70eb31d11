"""The first admin: somebody must be able to log in, and no default password exists."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from twisted.logger import Logger

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.private import write_private
from microd.services.auth.model import Draft

ADMIN = "admin"


class _Enroller(Protocol):
    async def generate(self, namespace: str, draft: Draft) -> tuple[Account, str]: ...
    async def accounts(self, namespace: str) -> Sequence[Account]: ...


class FirstAdmin:
    """Makes the account C{admin} where the platform has no user at all.

    Its secret is what the operator chose; else it is made, and kept in a file which only we may read.

    @param file: C{<data>/admin-secret}.
    @param chosen: the operator's choice; empty for none.
    """

    log = Logger()

    def __init__(self, file: Path, chosen: str = "") -> None:
        self._file = file
        self._chosen = chosen

    async def see_to(self, auth: _Enroller) -> None:
        """Make the account, unless there is a user already."""
        present = await auth.accounts(DEFAULT_NAMESPACE)
        if any(account.type == "user" or ADMIN in (account.id, account.name) for account in present):
            return
        secret = self._chosen or self._kept()
        if not secret:
            secret = secrets.token_urlsafe(24)
            write_private(self._file, secret.encode() + b"\n")
            self.log.info("the secret of the account admin is in {file}", file=str(self._file))
        await auth.generate(DEFAULT_NAMESPACE, Draft(ADMIN, type="user", scopes=("admin",), secret=secret))

    def secret_changed(self, account: Account) -> None:
        """What the file says is out of date once the admin's secret is another."""
        if (account.issuer, account.id) == (DEFAULT_NAMESPACE, ADMIN) and self._file.exists():
            self._file.unlink()
            self.log.info("{file} is gone: the admin has chosen a secret", file=str(self._file))

    def _kept(self) -> str:
        """What an earlier start wrote; it may have ended before it made the account."""
        return self._file.read_text().strip() if self._file.exists() else ""
