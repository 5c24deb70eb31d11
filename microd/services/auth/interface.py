"""What auth promises to the doors and the runtime, and what it asks of the place where it keeps things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from microd.kernel.caller import Account
from microd.services.auth.model import Resource
from microd.services.auth.turns import Asker


class Vault(Protocol):
    """Keeps small values under text keys. What was acknowledged is durable."""

    async def read(self, key: str) -> bytes | None:
        """The value under C{key}; None where there is none."""

    async def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """Keep each value under its key, and forget the keys whose value is None: all of it or nothing."""

    async def under(self, prefix: str) -> Sequence[tuple[str, bytes]]:
        """All keys which begin with C{prefix}, and their values, by key."""


class Hasher(Protocol):
    """Makes of a secret something which can be kept. Askers take turns (L{microd.services.auth.turns})."""

    async def hash(self, secret: str, asker: Asker = ...) -> str:
        """A salted hash, with the parameters which made it.

        @raise Unavailable: too many are being made at this moment; nothing was done.
        """

    async def matches(self, secret: str, hashed: str, asker: Asker = ...) -> bool:
        """Whether C{hashed} was made of C{secret}.

        @raise Unavailable: as above.
        """


class Inspector(Protocol):
    """What every door asks of auth. No question waits for anything."""

    def inspect_cached(self, token: str) -> Account | None:
        """Whose access token it is; None for one which is not, or no longer, good."""

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?

        @raise Unauthorized: not without an account.
        @raise Forbidden: not with this one.
        """

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """How long what was just answered holds, about who shows C{token} (None: nobody) and what they may.

        @return: what tells that, whenever it is asked: True while both questions have the same answers as now. False
            for good once they might not, be it that the token ended or that anything was revoked or changed.
        """


class Issuer(Protocol):
    """What the runtime asks of auth."""

    def issue(self, account: Account, lifetime: float) -> str:
        """A credential for a service which the platform starts: good only to be exchanged for access tokens.

        @param lifetime: seconds.
        """

    async def revoke(self, namespace: str, id: str) -> None:
        """Make void at once whatever was issued to an account."""
