"""Hashing secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from microd.services.auth.embedded import embedded_auth
from microd.services.auth.scrypt import LONG, Cost, HashingThreads, ScryptHasher, read, scrypt

CHEAP = Cost(n=2, r=1, p=1)


def test_memory_hard() -> None:
    """A hash takes at least 32 MiB, and its parameters and salt are kept with it."""
    cost = Cost()
    assert 128 * cost.n * cost.r >= 32 << 20
    found = read("scrypt$32768$8$3$c2FsdA==$aGFzaA==")
    assert found == (Cost(32768, 8, 3), b"salt", b"hash")


def test_scrypt() -> None:
    """It is scrypt as others compute it."""
    assert scrypt("s", b"salt", CHEAP) == hashlib.scrypt(b"s", salt=b"salt", n=2, r=1, p=1, dklen=32)


def test_salted(scene: Any) -> None:
    """The same secret never hashes to the same, and matches only itself."""

    async def at_once(work: Callable[[], bytes]) -> bytes:
        return work()

    hasher = ScryptHasher(at_once, CHEAP)
    one, two = scene.now(hasher.hash("s")), scene.now(hasher.hash("s"))
    assert one != two
    assert scene.now(hasher.matches("s", one))
    assert not scene.now(hasher.matches("t", one))


def test_old_parameters(scene: Any) -> None:
    """A hash made at another cost still matches."""

    async def at_once(work: Callable[[], bytes]) -> bytes:
        return work()

    old = scene.now(ScryptHasher(at_once, CHEAP).hash("s"))
    assert scene.now(ScryptHasher(at_once, Cost(n=4, r=1, p=1)).matches("s", old))


class Counted:
    """Makes hashes at once, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self, work: Callable[[], bytes]) -> bytes:
        self.made += 1
        return work()


def test_known_again(scene: Any) -> None:
    """A long secret that was just hashed, or found right, is known again without another hash; others are not taken for it."""
    counted, secret = Counted(), "s" * LONG
    hasher = ScryptHasher(counted, CHEAP)
    hashed = scene.now(hasher.hash(secret))
    assert scene.now(hasher.matches(secret, hashed))
    assert counted.made == 1
    assert not scene.now(hasher.matches(secret + "t", hashed))
    assert counted.made == 2
    fresh = ScryptHasher(counted, CHEAP)
    for _ in range(3):
        assert scene.now(fresh.matches(secret, hashed))
    assert counted.made == 3


def test_nothing_known_of_short_ones(scene: Any) -> None:
    """Of a secret that could be found by trying nothing is kept but its hash."""
    counted, secret = Counted(), "s" * (LONG - 1)
    hasher = ScryptHasher(counted, CHEAP)
    hashed = scene.now(hasher.hash(secret))
    for _ in range(2):
        assert scene.now(hasher.matches(secret, hashed))
    assert counted.made == 3
    assert not hasher._known


def test_known_ones_are_bounded(scene: Any) -> None:
    """However many secrets are made, not all are kept in memory; the one used last stays."""
    counted, secret = Counted(), "s" * LONG
    hasher = ScryptHasher(counted, CHEAP)
    first = scene.now(hasher.hash(secret))
    for number in range(400):
        scene.now(hasher.hash(f"{number:032}"))
        assert scene.now(hasher.matches(secret, first))
    assert counted.made == 401
    assert len(hasher._known) == 256


@pytest_twisted.ensureDeferred
async def test_threads() -> None:
    """No more hashes are made at once than there are threads, and none on the reactor's."""
    import threading

    threads = HashingThreads(reactor, threads=2)  # type: ignore[arg-type]
    threads.startService()
    lock, running, most = threading.Lock(), 0, 0
    names: set[str] = set()
    gate = threading.Barrier(2)

    def work() -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            names.add(threading.current_thread().name)
        gate.wait(10)
        with lock:
            running -= 1
        return b""

    try:
        await gatherResults([threads.run(work) for _ in range(6)])
    finally:
        await deferToThread(threads.stopService)
    assert most == 2
    assert threading.main_thread().name not in names


@pytest_twisted.ensureDeferred
async def test_embedded(scene: Any, tmp_path: Any) -> None:
    """Put together on a real reactor, auth makes its key and its admin, and lets the admin in."""
    auth = embedded_auth(reactor, type(scene.vault)(), tmp_path / "data", cost=CHEAP)
    await auth.startService()
    try:
        secret = (tmp_path / "data" / "admin-secret").read_text().strip()
        token = await auth.token("micro", id="admin", secret=secret)
        account = auth.inspect_cached(token.access)
        assert account is not None
        assert account.is_admin
    finally:
        await auth.stopService()
