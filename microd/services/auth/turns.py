"""Whose secret is hashed next, where many wait.

Hashes are slow on purpose, so whoever floods us with guesses would have everybody wait. Turns go round instead::

    the accounts in turn ──▶ of an account, the hosts in turn ──▶ of a host, the connections in turn ──▶ first come, first served

And few can wait (L{_ROOMS}). Where there is no room, whoever fills most of it gives way to somebody who has at least two
fewer waiting there; everybody else is refused at once. So one connection's guesses at an account do not keep out the
right secret from another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from microd.kernel.caller import PLATFORM_ACCOUNT, Account
from microd.kernel.errors import Unavailable

T = TypeVar("T")
#: The one host of all who ask from this machine, be it through a proxy.
_HERE = "here"


class TooManySecrets(Unavailable):
    """too many secrets are being checked at this moment: try again in a few seconds"""

    def __init__(self) -> None:
        super().__init__("too many secrets are being checked at this moment: try again in a few seconds")


class Asker(NamedTuple):
    """On whose account a secret is hashed.

    @ivar account: whose secret somebody guesses at, or who is logged in and asks.
    @ivar host: where the guess comes from; empty for somebody who is logged in.
    """

    account: tuple[str, str, str]
    host: str = ""
    connection: str = ""


def guessing(account: Account, peer: str) -> Asker:
    """Somebody who says that they are C{account}.

    @param peer: C{host:port}, or C{unix}.
    """
    return Asker(("guess", account.issuer, account.id), host_of(peer), peer)


def known(account: Account) -> Asker:
    """Somebody who is logged in."""
    return Asker(("known", account.issuer, account.id))


#: The platform itself.
PLATFORM_ASKER = known(PLATFORM_ACCOUNT)


def host_of(peer: str) -> str:
    """Who shares a host's room: an IPv4 address, a network of IPv6 (/64, which is what one customer has), or this machine."""
    try:
        address = ip_address(peer.rpartition(":")[0].strip("[]"))
    except ValueError:
        return _HERE
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return _HERE if address.is_loopback else f"{int(address) >> 64:x}"
        address = address.ipv4_mapped
    return _HERE if address.is_loopback else str(address)


@dataclass(frozen=True, slots=True)
class _Room:
    """How many of the same group may wait, and who shares it; C{group} is None for those who are in no such group."""

    most: int
    group: Callable[[Asker], Hashable | None]
    sharer: Callable[[Asker], Hashable]


_ROOMS = (
    _Room(4, lambda a: (a.account, a.host) if a.host else None, lambda a: a.connection),
    _Room(8, lambda a: a.host if a.host not in ("", _HERE) else None, lambda a: a.account),
    _Room(16, lambda a: a.account, lambda a: a.host),
    _Room(64, lambda a: (), lambda a: a.account),
)


class _Waiter(Generic[T]):
    """One who waits; compared by identity."""

    __slots__ = ("answer", "asker", "paths", "start")

    def __init__(self, asker: Asker, start: Callable[[], Deferred[T]], answer: Deferred[T]) -> None:
        self.asker = asker
        self.start = start
        self.answer = answer
        self.paths: Sequence[Hashable] = (asker[:1], asker[:2], asker[:3])


class Turns(Generic[T]):
    """Runs what takes long, few at once, and lets those who wait take fair turns.

    @ivar running: how many run; one whose asker has gone runs to its end, and counts until then.
    @ivar waiting: how many wait.
    """

    def __init__(self, most_running: int) -> None:
        self._most_running = most_running
        self.running = 0
        self._queue: list[_Waiter[T]] = []
        self._served: dict[Hashable, int] = {}
        self._ticks = count()
        self._beginning = False

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def run(self, asker: Asker, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Call C{start} when it is the asker's turn; what it fires with. Whoever cancels while they wait has left.

        It fails with L{TooManySecrets} where too many wait, at once or once it has to give way; C{start} is not called then.
        """
        answer: Deferred[T] = Deferred(self._left)
        waiter = _Waiter(asker, start, answer)
        if self.running >= self._most_running and not self._has_room(asker):
            answer.errback(TooManySecrets())
            return answer
        self._queue.append(waiter)
        for path in waiter.paths:
            self._served.setdefault(path, next(self._ticks))
        self._begin()
        return answer

    def _has_room(self, asker: Asker) -> bool:
        """Whether there is room, be it that others give way."""
        leaving: list[_Waiter[T]] = []
        for room in _ROOMS:
            group = room.group(asker)
            if group is None:
                continue
            inside = [each for each in self._queue if room.group(each.asker) == group and each not in leaving]
            if len(inside) < room.most:
                continue
            shares = Counter(room.sharer(each.asker) for each in inside)
            heaviest, most = shares.most_common(1)[0]
            if most < shares[room.sharer(asker)] + 2:
                return False
            leaving.append(_last([each for each in inside if room.sharer(each.asker) == heaviest]))
        for each in leaving:
            self._forget(each)
            each.answer.errback(TooManySecrets())
        return True

    def _begin(self) -> None:
        if self._beginning:
            return
        self._beginning = True
        try:
            while self._queue and self.running < self._most_running:
                waiter = min(self._queue, key=lambda each: [self._served[path] for path in each.paths])
                for path in waiter.paths:
                    self._served[path] = next(self._ticks)
                self._forget(waiter)
                self.running += 1
                maybeDeferred(waiter.start).addBoth(self._ended, waiter.answer)
        finally:
            self._beginning = False

    def _ended(self, outcome: T | Failure, answer: Deferred[T]) -> None:
        self.running -= 1
        if not answer.called:
            answer.callback(outcome)
        self._begin()

    def _left(self, answer: Deferred[T]) -> None:
        for waiter in [each for each in self._queue if each.answer is answer]:
            self._forget(waiter)

    def _forget(self, waiter: _Waiter[T]) -> None:
        self._queue.remove(waiter)
        present = {path for each in self._queue for path in each.paths}
        for path in waiter.paths:
            if path not in present:
                del self._served[path]


def _last(waiters: Sequence[_Waiter[T]]) -> _Waiter[T]:
    """Of those who share a part of a room the last one of whichever connection fills most of it."""
    shares = Counter(each.asker.connection for each in waiters)
    heaviest = shares.most_common(1)[0][0]
    return next(each for each in reversed(waiters) if each.asker.connection == heaviest)
