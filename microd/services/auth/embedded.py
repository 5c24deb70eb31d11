"""Auth with all that it needs from this machine: the one way in which the daemon puts it together."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from microd.services.auth.admin import FirstAdmin
from microd.services.auth.interface import Vault
from microd.services.auth.keys import load_or_make
from microd.services.auth.scrypt import Cost, HashingThreads, ScryptHasher
from microd.services.auth.service import Auth


def embedded_auth(
    reactor: object,
    vault: Vault,
    data: Path,
    *,
    private_key: str = "",
    public_key: str = "",
    admin_secret: str = "",
    reset_admin: bool = False,
    cost: Cost = Cost(),  # noqa: B008 - frozen
) -> Auth:
    """Auth which keeps its key pair and the first admin's secret in C{data}, and the rest in C{vault}.

    @param private_key: PEM, or base64 of PEM; empty: one is made.
    @param admin_secret: the first admin's; empty: one is made.
    @param reset_admin: give the account C{admin} that secret, or another one which is made, on this start.
    """
    threads = HashingThreads(cast(IReactorFromThreads, reactor))
    auth = Auth(
        cast(IReactorTime, reactor),
        vault,
        ScryptHasher(threads.run, cost),
        lambda: load_or_make(data, private_key, public_key),
        FirstAdmin(data / "admin-secret", admin_secret, reset=reset_admin),
    )
    threads.setServiceParent(auth)
    return auth
