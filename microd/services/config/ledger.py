"""The documents as they are now, and the only way to change one.

Writes to a namespace follow each other. Each is committed whole, with its version, before anybody sees it: a reader never
gets what a loss of power could take back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from microd.kernel.errors import Internal, NotFound, PreconditionFailed, TooLarge
from microd.services.config import packing, rules
from microd.services.config.interface import Commit, Documents
from microd.services.config.model import NOTHING, Document, Draft, Limits, Tree, Version
from microd.services.config.turns import Turns

T = TypeVar("T")

#: Versions which are read at once; each may be as large as two documents.
_PAGE = 8


class Ledger:
    """Documents by namespace.

    @param clock: its seconds are Unix time.
    @param changed: told of each change, once it is durable: the namespace, the document before and after.
    """

    def __init__(
        self,
        clock: IReactorTime,
        documents: Documents,
        limits: Limits,
        changed: Callable[[str, Document, Document], None],
    ) -> None:
        self._clock = clock
        self._documents = documents
        self._limits = limits
        self._changed = changed
        self._turns = Turns(limits.waiting)
        self._known: OrderedDict[str, Document] = OrderedDict()
        self._size = 0
        self._under_way: set[Deferred[Any]] = set()

    async def settled(self) -> None:
        """Wait for the writes which are under way."""
        await DeferredList([_shielded(work) for work in self._under_way])

    # -- reading

    def peek(self, namespace: str) -> Document | None:
        """A document which is in memory; None says nothing."""
        return self._known.get(namespace)

    async def load(self, namespace: str) -> Document:
        """The document of a namespace; L{NOTHING} where none was ever written."""
        known = self._known.get(namespace)
        if known is not None:
            self._known.move_to_end(namespace)
            return known
        await self._turns.take(namespace)
        try:
            return await self._load(namespace)
        finally:
            self._turns.give_back(namespace)

    async def versions(self, namespace: str, before: int) -> AsyncIterator[Version]:
        """The versions whose numbers are below C{before}, the newest first."""
        while page := await self._documents.versions(namespace, before, _PAGE):
            for number, packed in page:
                yield packing.version_from(number, packed)
                before = number

    async def as_of(self, namespace: str, document: Document, number: int) -> Tree:
        """What C{document} was at a version.

        @raise NotFound: there is no such version, or it is no longer kept.
        """
        if number > document.version:
            raise NotFound(
                f"there is no version {number} of the config of {namespace}: the newest is {document.version}"
            )
        root, at = document.root, document.version
        if number >= document.oldest:
            async for version in self.versions(namespace, document.version + 1):
                if version.number != at or at <= number:
                    break
                root = rules.undone(root, version.differences)
                at -= 1
        if at != number:
            raise NotFound(
                f"version {number} of the config of {namespace} is no longer kept: the oldest is {document.oldest} "
                f"(config.history is {self._limits.history})"
            )
        return root

    # -- writing

    async def change(
        self, namespace: str, if_version: int, decide: Callable[[Document], Awaitable[Draft]]
    ) -> int:
        """Change a document: C{decide} is given it, when it is our turn.

        Once it is, the write goes on to its end, even if whoever asked has gone.

        @return: the version that the document has now.
        @raise PreconditionFailed: it is not at C{if_version}, unless that is 0.
        """
        await self._turns.take(namespace)
        work = Deferred.fromCoroutine(self._in_turn(namespace, if_version, decide))
        self._under_way.add(work)
        work.addBoth(self._over, work)
        return await _shielded(work)

    async def rewrite(self, namespace: str, rewritten: Callable[[Tree], Tree], keys: Sequence[str]) -> None:
        """Keep the same values in another form: neither a version nor a change."""
        await self._turns.take(namespace)
        try:
            document = await self._load(namespace)
            root = rewritten(document.root)
            if root is not document.root:
                packed = packing.document_bytes(replace(document, root=root))
                await self._documents.save(Commit(namespace, packed, keys=keys))
                self._remember(namespace, replace(document, root=root, size=len(packed)))
        finally:
            self._turns.give_back(namespace)

    def _over(self, outcome: T, work: Deferred[Any]) -> T:
        self._under_way.discard(work)
        return outcome

    async def _in_turn(
        self, namespace: str, if_version: int, decide: Callable[[Document], Awaitable[Draft]]
    ) -> int:
        try:
            before = await self._load(namespace)
            if if_version and if_version != before.version:
                raise PreconditionFailed(
                    f"the config of {namespace} is at version {before.version}, not {if_version}: read it again"
                )
            draft = await decide(before)
            made = rules.differences(before.root, draft.root, self._limits.differences)
            if not made and before.version:
                return before.version
            after = await self._commit(namespace, before, draft, self._version(before, draft, made))
            self._remember(namespace, after)
            self._changed(namespace, before, after)
            return after.version
        finally:
            self._turns.give_back(namespace)

    def _version(self, before: Document, draft: Draft, made: Any) -> Version:
        return Version(
            before.version + 1,
            int(self._clock.seconds()),
            draft.account,
            draft.issuer,
            draft.action,
            draft.path,
            made,
            draft.target,
        )

    async def _commit(self, namespace: str, before: Document, draft: Draft, version: Version) -> Document:
        record = packing.version_bytes(version)
        oldest, history = before.oldest or version.number, before.history + len(record)
        forgotten = []
        while oldest < version.number and (
            version.number - oldest >= self._limits.history or history > self._limits.history_bytes
        ):
            history -= len(await self._documents.version(namespace, oldest) or b"")
            forgotten.append(oldest)
            oldest += 1
        packed = packing.document_bytes(Document(version.number, draft.root, oldest, history))
        if len(packed) > self._limits.document:
            raise TooLarge(
                f"the config of {namespace} would have {len(packed)} bytes; it may have {self._limits.document}"
            )
        commit = Commit(namespace, packed, (version.number, record), forgotten, draft.keys)
        await self._documents.save(commit)
        return Document(version.number, draft.root, oldest, history, len(packed))

    async def _load(self, namespace: str) -> Document:
        """In our turn only: what is read must not be older than what was written meanwhile."""
        known = self._known.get(namespace)
        if known is not None:
            return known
        packed = await self._documents.load(namespace)
        if packed is None:
            return NOTHING
        try:
            document = packing.document_from(packed)
        except (ValueError, LookupError, TypeError) as problem:
            raise Internal(
                f"the config of {namespace} cannot be read: what is kept of it is damaged"
            ) from problem
        self._remember(namespace, document)
        return document

    def _remember(self, namespace: str, document: Document) -> None:
        former = self._known.pop(namespace, NOTHING)
        self._known[namespace] = document
        self._size += document.size - former.size
        while self._size > self._limits.remembered and len(self._known) > 1:
            _, gone = self._known.popitem(last=False)
            self._size -= gone.size


def _shielded(work: Deferred[T]) -> Deferred[T]:
    """The outcome of C{work}, for somebody who may go away without ending it."""
    answer: Deferred[T] = Deferred()

    def tell(outcome: T | Failure) -> None:
        if not answer.called:
            answer.callback(outcome) if not isinstance(outcome, Failure) else answer.errback(outcome)

    work.addBoth(tell)
    return answer
