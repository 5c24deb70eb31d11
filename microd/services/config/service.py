"""Config as it runs: values in and out, secrets, watchers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Internal, NotFound, Unavailable
from microd.kernel.health import Figure, counter, gauge
from microd.kernel.lifecycle import OrderedService
from microd.services.config import rules
from microd.services.config.interface import Documents
from microd.services.config.keyring import Keyring
from microd.services.config.ledger import Ledger
from microd.services.config.model import (
    Document,
    Draft,
    Limits,
    Node,
    Path,
    Shown,
    Version,
)
from microd.services.config.secrecy import Secrecy
from microd.services.config.watch import Watch
from microd.services.config.watches import Watches

#: JSON in one page of a history, about.
_PAGE = 4 << 20
LONGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path.

    @ivar version: of the document which it was read from.
    """

    value: Shown
    version: int


class Config(OrderedService):
    """Keeps a document for each namespace; see L{microd.services.config.rules} for what paths and values mean.

    @param clock: its seconds are Unix time.
    @param keys: gets the keys for secrets; called once, on the start, with the ids of those which were ever used.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        documents: Documents,
        keys: Callable[[Sequence[str]], Keyring],
        limits: Limits | None = None,
    ) -> None:
        super().__init__()
        self.setName("config")
        self._limits = limits or Limits()
        self._documents = documents
        self._keys = keys
        self._ledger = Ledger(clock, documents, self._limits, self._tell)
        self._watches = Watches(self._limits)
        self._versions = 0

    async def _start(self) -> None:
        await super()._start()
        used = await self._documents.keys()
        self._secrecy = Secrecy(self._keys(used))
        if set(used) - {self._secrecy.current}:
            for namespace in await self._documents.namespaces():
                await self._seal_anew(namespace)

    async def _seal_anew(self, namespace: str) -> None:
        """Have all secrets under the key that seals now; the history keeps its former ones."""
        try:
            anew = partial(self._secrecy.resealed, namespace)
            await self._ledger.rewrite(namespace, anew, (self._secrecy.current,))
        except Internal as problem:
            # It concerns those who read these; the daemon starts for all others.
            self.log.error(
                "secrets of {namespace} stay under their former key: {problem}",
                namespace=namespace,
                problem=problem.detail,
            )

    async def _stop(self) -> None:
        self._watches.end(Unavailable("the daemon is stopping"))
        await self._ledger.settled()
        await super()._stop()

    # -- reading

    async def get(self, namespace: str, path: str, *, secret: bool = False, version: int = 0) -> Found:
        """The value at a path, C{null} where nothing is.

        @param path: empty: the whole document.
        @param version: which one of the document; 0: the newest.
        @raise NotFound: nothing was ever written to the namespace, or the version is not there.
        """
        keys = rules.path_from(path, self._limits)
        document = await self._ledger.load(namespace)
        if not document.version:
            raise NotFound("Not found")
        if version < 0:
            raise BadRequest(f"there is no version {version}: they begin with 1")
        root = await self._ledger.as_of(namespace, document, version) if version else document.root
        return Found(
            self.shown(namespace, keys, rules.at(root, keys), secret=secret), version or document.version
        )

    def glance(self, namespace: str, path: str, *, secret: bool = False) -> Found | None:
        """The same, if it can be said at once; None: ask L{get}."""
        document = self._ledger.peek(namespace)
        if document is None:
            return None
        keys = rules.path_from(path, self._limits)
        value = self.shown(namespace, keys, rules.at(document.root, keys), secret=secret)
        return Found(value, document.version)

    def shown(self, namespace: str, path: Path, node: Node | None, *, secret: bool) -> Shown:
        """What somebody may see of what is at a path; see L{Secrecy.shown}."""
        return self._secrecy.shown(namespace, path, node, secret=secret)

    # -- writing

    async def set(
        self,
        namespace: str,
        path: str,
        data: str,
        who: Account,
        *,
        secret: bool | None = None,
        replace: bool = False,
        if_version: int = 0,
    ) -> int:
        """Put a value: an object is merged into what is there, anything else takes the place of it.

        What takes the place of a secret is secret, whatever its shape, unless C{secret} is False. A secret which is set to
        its own mask, not as a secret, stays as it is: who writes back what they read, unable to see secrets, does not
        overwrite them.

        @param data: JSON.
        @param secret: encrypt it, or do not; of an object, all its values. None: encrypt what takes the place of a secret.
        @param replace: let an object take the place of what is there, too.
        @return: the version that the document has now.
        """
        keys = rules.path_from(path, self._limits)
        value = rules.value_from(data, keys, self._limits)

        async def decide(document: Document) -> Draft:
            there = rules.at(document.root, keys)
            inherited = secret is None and rules.under_secret(document.root, keys)
            seal = True if inherited else secret
            sealed = self._secrecy.sealed(namespace, keys, value, there, seal)
            made = sealed if replace else rules.merged(there, sealed)
            root = document.root if made is there else rules.placed(document.root, keys, made)
            used = (self._secrecy.current,) if rules.secretive(sealed) else ()
            return Draft(root, who.id, who.issuer, "set", keys, keys=used)

        return await self._ledger.change(namespace, if_version, decide)

    async def delete(self, namespace: str, path: str, who: Account, *, if_version: int = 0) -> int:
        """Take out what is at a path, and under it; a path where nothing is is no error.

        @return: the version that the document has now.
        @raise NotFound: nothing was ever written to the namespace.
        """
        keys = rules.path_from(path, self._limits)
        if not keys:
            raise BadRequest("the path is missing: say what to delete")

        async def decide(document: Document) -> Draft:
            if not document.version:
                raise NotFound("Not found")
            return Draft(rules.placed(document.root, keys, None), who.id, who.issuer, "delete", keys)

        return await self._ledger.change(namespace, if_version, decide)

    # -- versions

    async def history(
        self, namespace: str, *, path: str = "", before: int = 0, limit: int = 20
    ) -> tuple[Sequence[Version], bool]:
        """The versions which are kept, the newest first; and whether there are more.

        @param path: only those which changed something at it, or under it.
        @param before: only those whose numbers are below; 0: all.
        """
        keys = rules.path_from(path, self._limits)
        if before < 0 or not 0 < limit <= LONGEST_PAGE:
            raise BadRequest(
                f"a history is read in pages of 1 to {LONGEST_PAGE} versions, before one of them"
            )
        document = await self._ledger.load(namespace)
        if not document.version:
            raise NotFound("Not found")
        found: list[Version] = []
        size = 0
        async for version in self._ledger.versions(namespace, before or document.version + 1):
            if keys and not rules.touches(version.differences, keys):
                continue
            size += rules.weight(version.differences)
            if len(found) >= limit or (found and size > _PAGE):
                return found, True
            found.append(version)
        return found, False

    async def rollback(self, namespace: str, number: int, who: Account, *, if_version: int = 0) -> int:
        """Make the document what it was at a version.

        @return: the version that it has now.
        @raise NotFound: there is no such version, or it is no longer kept.
        """
        if number < 1:
            raise BadRequest("the version to go back to is missing")

        async def decide(document: Document) -> Draft:
            if not document.version:
                raise NotFound("Not found")
            root = await self._ledger.as_of(namespace, document, number)
            return Draft(root, who.id, who.issuer, "rollback", (), target=number)

        return await self._ledger.change(namespace, if_version, decide)

    # -- watching

    async def watch(self, namespace: str, path: str = "", reader: Account | None = None) -> Watch:
        """What is at a path, now and after each change of it.

        @raise Unavailable: too many watch already.
        """
        keys = rules.path_from(path, self._limits)
        document = await self._ledger.load(namespace)
        return self._watches.add(namespace, keys, document, reader)

    def unwatch(self, namespace: str, watch: Watch) -> None:
        """Nobody reads it any more."""
        self._watches.drop(namespace, watch)

    def revoked(self, namespace: str, id: str) -> None:
        """All that was issued to an account has become void: it watches no more."""
        self._watches.revoked(namespace, id)

    def figures(self) -> Iterator[Figure]:
        """What it counted (L{microd.kernel.health.Figures})."""
        yield counter("microd_config_versions_total", "Versions made.", self._versions)
        yield gauge("microd_config_watchers", "Watchers.", len(self._watches))
        behind = "Watchers cut off because they fell behind."
        yield counter("microd_config_watchers_cut_total", behind, self._watches.cut_off)

    def _tell(self, namespace: str, before: Document, after: Document) -> None:
        self._versions += 1
        self._watches.tell(namespace, before, after)
