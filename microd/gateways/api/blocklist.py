"""Accounts which the HTTP door turns away, whatever token they show (spec micro-v3-server 4.3, 4.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Unauthorized
from microd.kernel.names import require_name, require_text
from microd.services.auth.interface import Inspector
from microd.services.auth.model import Resource
from microd.services.store.interface import IStore
from microd.services.store.model import Query, Record

#: Where it is kept, in the store that no user reaches.
DATABASE, TABLE = "micro", "api"
_PREFIX = "blocklist/"
_PAGE = 500
#: There is no room for more; they are all in memory.
MOST = 100_000


class Blocklist(TwistedService):
    """Who is on the list. What was acknowledged holds after a restart.

    @param enforced: whether anybody is turned away; else it is only a list.
    """

    def __init__(self, store: IStore, *, enforced: bool = True) -> None:
        self._store = store
        self._enforced = enforced
        self._listed: set[tuple[str, str]] = set()
        self._guards: list[Guard] = []
        self._told: list[Callable[[str, str], None]] = []

    def startService(self) -> Deferred[None]:
        """Read the list."""
        super().startService()
        return Deferred.fromCoroutine(self._load())

    def guard(self, auth: Inspector) -> Guard:
        """The same as C{auth}, but for those on the list."""
        guard = Guard(auth, self._listed)
        self._guards.append(guard)
        return guard

    def on_listed(self, tell: Callable[[str, str], None]) -> None:
        """Have C{tell(namespace, id)} called whenever an account is put on the list. It must not raise."""
        self._told.append(tell)

    async def add(self, namespace: str, id: str) -> None:
        """Turn an account away from now on; it need not exist.

        @raise BadRequest: there can be no such account, or the list is full.
        """
        key = _key(namespace, id)
        if len(self._listed) >= MOST and (namespace, id) not in self._listed:
            raise BadRequest(f"the list is full: it holds {MOST} accounts")
        await self._store.write(DATABASE, TABLE, Record(key, b""))
        self._listed.add((namespace, id))
        self._changed()
        for tell in self._told:
            tell(namespace, id)

    async def remove(self, namespace: str, id: str) -> None:
        """Let an account in again; one which is not listed is no error."""
        await self._store.delete(DATABASE, TABLE, _key(namespace, id))
        self._listed.discard((namespace, id))
        self._changed()

    def all(self) -> Sequence[str]:
        """Everybody on it, as C{namespace:id}, sorted."""
        return sorted(f"{namespace}:{id}" for namespace, id in self._listed)

    async def _load(self) -> None:
        after = ""
        while True:
            query = Query(prefix=_PREFIX, limit=_PAGE, after=after)
            keys = await self._store.list(DATABASE, TABLE, query)
            for key in keys:
                namespace, _, id = key.removeprefix(_PREFIX).partition(":")
                self._listed.add((namespace, id))
            if len(keys) < _PAGE:
                break
            after = keys[-1]
        self._changed()

    def _changed(self) -> None:
        for guard in self._guards:
            guard.look(self._enforced and bool(self._listed))


class Guard:
    """An L{Inspector} with the list in front of it.

    Nothing stands in between while the list is empty: a call through the HTTP door has no microsecond to spare.
    """

    inspect_cached: Callable[[str], Account | None]

    def __init__(self, auth: Inspector, listed: set[tuple[str, str]]) -> None:
        self._auth = auth
        self._listed = listed
        self._changes = 0
        self.look(False)

    def look(self, there: bool) -> None:
        """Look at the list from now on, or do not."""
        self.inspect_cached = self._checked if there else self._auth.inspect_cached
        self._there = there
        self._changes += 1

    def _checked(self, token: str) -> Account | None:
        account = self._auth.inspect_cached(token)
        self._require_unlisted(account)
        return account

    def _require_unlisted(self, account: Account | None) -> None:
        if account is not None and (account.issuer, account.id) in self._listed:
            raise Unauthorized("unauthorized request")

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?"""
        if self._there:
            self._require_unlisted(account)
        self._auth.authorize(account, namespace, resource)

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """How long that holds: until the list changes, too."""
        lasts, changes = self._auth.lasting(token), self._changes
        return lambda: self._changes == changes and lasts()


def _key(namespace: str, id: str) -> str:
    if not id:
        raise BadRequest("Missing ID field")
    if not namespace:
        raise BadRequest("Missing Namespace field")
    require_name("the namespace", namespace)
    return f"{_PREFIX}{namespace}:{require_text('the id', id, 255)}"
