"""Who has come in, with which account, and until when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.gateways.nats.credentials import Identity
from microd.kernel.caller import Account

T = TypeVar("T")
#: Seconds between two looks at whose token has ended.
PACE = 1.0


class Roll(Generic[T]):
    """Knows connections by their accounts; none costs a timer, since those whose token ends are looked at together.

    @param expired: is told of those whose token has ended.
    """

    def __init__(self, clock: IReactorTime, expired: Callable[[Collection[T]], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._identities: dict[T, Identity] = {}
        self._accounts: dict[tuple[str, str], dict[T, None]] = {}
        self._namespaces: dict[str, int] = {}
        self._look: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._identities)

    def __contains__(self, connection: object) -> bool:
        return connection in self._identities

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._identities))

    def add(self, connection: T, identity: Identity) -> None:
        """Somebody has come in."""
        account = identity.account
        self._identities[connection] = identity
        self._accounts.setdefault((account.issuer, account.id), {})[connection] = None
        self._namespaces[account.issuer] = self.of_namespace(account.issuer) + 1
        if identity.until:
            self._wake(identity.until)

    def discard(self, connection: T) -> None:
        """Somebody has gone; may be called twice."""
        identity = self._identities.pop(connection, None)
        if identity is None:
            return
        namespace, id = identity.account.issuer, identity.account.id
        group = self._accounts[namespace, id]
        del group[connection]
        if not group:
            del self._accounts[namespace, id]
        self._namespaces[namespace] -= 1
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]

    def account(self, connection: T) -> Account | None:
        """Whose a connection is."""
        identity = self._identities.get(connection)
        return None if identity is None else identity.account

    def of_account(self, namespace: str, id: str) -> list[T]:
        """The connections of an account."""
        return list(self._accounts.get((namespace, id), ()))

    def of_namespace(self, namespace: str) -> int:
        """How many connections a namespace's accounts have."""
        return self._namespaces.get(namespace, 0)

    def stop(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _wake(self, at: float) -> None:
        if self._look is not None:
            if self._look.getTime() <= at:
                return
            self._look.cancel()
        self._look = self._clock.callLater(max(at - self._clock.seconds(), PACE), self._expire)

    def _expire(self) -> None:
        self._look = None
        now = self._clock.seconds()
        over = []
        first = 0.0
        for connection, identity in self._identities.items():
            if not identity.until:
                continue
            if identity.until <= now:
                over.append(connection)
            elif not first or identity.until < first:
                first = identity.until
        if first:
            self._wake(first)
        self._expired(over)
