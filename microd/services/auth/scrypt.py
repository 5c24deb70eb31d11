"""Secrets are kept as scrypt hashes, computed in a few threads of their own.

Each hash takes 32 MiB while it is being made: two threads and a short queue, with fair turns, keep a flood of logins from eating the
machine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from microd.services.auth.turns import PLATFORM_ASKER, Asker, TooManySecrets, Turns

T = TypeVar("T")
#: Characters from which on a secret is too long to be found by trying, as those are which programs make; and how many of
#: those found right are known again.
LONG = 32
_MOST_KNOWN = 256
#: How many may wait for the same answer, besides whoever asked first.
_MOST_SHARING = 256
#: Hashes which are made at once.
THREADS = 2

#: Runs a function where it may take its time.
Elsewhere = Callable[[Callable[[], bytes]], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs: memory is 128 * n * r bytes, time grows with n * r * p.

    The default is one of OWASP's equals of n=2**17, p=1: less memory, more time.
    """

    n: int = 2**15
    r: int = 8
    p: int = 3


def scrypt(secret: str, salt: bytes, cost: Cost) -> bytes:
    """The hash itself, 32 bytes. Takes a third of a second at the default cost."""
    most = 256 * cost.n * cost.r + 256 * cost.r * cost.p
    return hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=cost.n,
        r=cost.r,
        p=cost.p,
        maxmem=most,
        dklen=32,
    )


def written(cost: Cost, salt: bytes, hashed: bytes) -> str:
    """A hash and all that is needed to make it again, as text."""
    parts = (base64.b64encode(salt).decode(), base64.b64encode(hashed).decode())
    return f"scrypt${cost.n}${cost.r}${cost.p}${parts[0]}${parts[1]}"


def read(text: str) -> tuple[Cost, bytes, bytes]:
    """What L{written} wrote."""
    kind, n, r, p, salt, hashed = text.split("$")
    if kind != "scrypt":
        raise ValueError(f"a secret is kept as {kind}, which this version cannot read")
    return Cost(int(n), int(r), int(p)), base64.b64decode(salt), base64.b64decode(hashed)


class ScryptHasher:
    """Hashes secrets with scrypt; L{microd.services.auth.interface.Hasher}.

    What makes trying slow makes a service's start slow too: one that gets an account of its own would wait for three
    hashes. So a long secret that was just hashed, or found right, is known again without another, and without waiting for
    a turn (L{microd.services.auth.turns}) however many guess: by a keyed digest, in memory only. For one that somebody
    chose to remember nothing of the sort is kept.

    @param threads: how many hashes C{elsewhere} makes at once.
    """

    def __init__(self, elsewhere: Elsewhere, cost: Cost, threads: int = THREADS) -> None:
        self._elsewhere = elsewhere
        self._cost = cost
        self._turns: Turns[bytes] = Turns(threads)
        self._asked: dict[tuple[str, bytes], list[Deferred[bool | None]]] = {}
        self._key = os.urandom(32)
        self._known: OrderedDict[str, bytes] = OrderedDict()

    async def hash(self, secret: str, asker: Asker = PLATFORM_ASKER) -> str:
        """Hash a secret with new salt."""
        cost, salt = self._cost, os.urandom(16)
        made = await self._turns.run(asker, lambda: self._made(secret, salt, cost))
        hashed = written(cost, salt, made)
        self._know(secret, hashed)
        return hashed

    async def matches(self, secret: str, hashed: str, asker: Asker = PLATFORM_ASKER) -> bool:
        """Compare in constant time. Who asks what is being answered to somebody else gets the same answer."""
        question = hashed, self._digest(secret)
        while not self._knows(secret, hashed):
            others = self._asked.get(question)
            if others is None:
                return await self._compared(secret, hashed, asker, question)
            if len(others) >= _MOST_SHARING:
                raise TooManySecrets
            shared: Deferred[bool | None] = Deferred()
            others.append(shared)
            answer = await shared
            if answer is not None:
                return answer
        return True

    async def _compared(self, secret: str, hashed: str, asker: Asker, question: tuple[str, bytes]) -> bool:
        others = self._asked[question] = []
        right: bool | None = None
        try:
            cost, salt, expected = read(hashed)
            made = await self._turns.run(asker, lambda: self._made(secret, salt, cost))
            right = hmac.compare_digest(made, expected)
            if right:
                self._know(secret, hashed)
            return right
        finally:
            # Where whoever asked first has left, or had to, another one of them asks.
            del self._asked[question]
            for each in others:
                if not each.called:
                    each.callback(right)

    def _made(self, secret: str, salt: bytes, cost: Cost) -> Deferred[bytes]:
        return Deferred.fromCoroutine(_awaited(self._elsewhere(lambda: scrypt(secret, salt, cost))))

    def _knows(self, secret: str, hashed: str) -> bool:
        known = self._known.get(hashed)
        if known is None or not hmac.compare_digest(self._digest(secret), known):
            return False
        self._known.move_to_end(hashed)
        return True

    def _know(self, secret: str, hashed: str) -> None:
        if len(secret) >= LONG:
            self._known[hashed] = self._digest(secret)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _digest(self, secret: str) -> bytes:
        return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key).digest()


async def _awaited(work: Awaitable[bytes]) -> bytes:
    return await work


class HashingThreads(Service):
    """The threads which hashes are made in."""

    def __init__(self, reactor: IReactorFromThreads, threads: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=threads, name="microd-auth")

    def startService(self) -> None:
        """Threads start as they are needed."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Wait for the hashes which are being made."""
        super().stopService()
        self._pool.stop()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Do C{work} in one of the threads."""
        return deferToThreadPool(self._reactor, self._pool, work)
