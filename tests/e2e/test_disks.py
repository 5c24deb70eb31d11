"""A daemon on a disk that fails, and on one that is full. Both are real: the kernel says so, to a process of its own."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from microd.framework.blocking import BlockingClient
from microd.kernel.errors import MicroError
from microd.testing.disks import failed_syncs, fill, readiness, start_with_failing_sync
from microd.testing.platform import Platform

pytestmark = pytest.mark.e2e

ONLY = ("--only", "store,auth,registry,proxy,network,ops")


def refusal(act: Callable[[], object]) -> MicroError:
    """How it was refused."""
    with pytest.raises(MicroError) as refused:
        act()
    return refused.value


def write_until_refused(
    client: BlockingClient, size: int, prefix: str = "key"
) -> tuple[list[str], MicroError]:
    """The keys whose writes were acknowledged, and the first refusal."""
    acknowledged: list[str] = []
    while len(acknowledged) < 10_000:
        key = f"{prefix}-{len(acknowledged):04}"
        try:
            client.store.write(key, key.encode() * (size // len(key) + 1))
        except MicroError as problem:
            return acknowledged, problem
        acknowledged.append(key)
    raise AssertionError("the disk takes everything")


def check_kept(client: BlockingClient, keys: Sequence[str]) -> None:
    """All of them are there, whole."""
    for key in keys:
        assert client.store.read(key).text.startswith(key), f"{key} was acknowledged and is lost"


def make_accounts_until_refused(client: BlockingClient) -> tuple[list[str], MicroError]:
    """The ids of the accounts, and the first refusal."""
    made: list[str] = []
    while len(made) < 100:
        id = f"account-{len(made)}"
        try:
            client.call("auth", "Auth.Generate", {"id": id, "secret": "a secret of 16"})
        except MicroError as problem:
            return made, problem
        made.append(id)
    raise AssertionError("the disk takes everything")


# A disk that fails.


def test_failing_sync(platform: Platform) -> None:
    """After one failed sync no write is acknowledged, none is tried again, reads go on, and /readyz says why; a restart
    has all that was acknowledged."""
    daemon = start_with_failing_sync(platform, "store.db", 9, *ONLY)
    with platform.client() as client:
        acknowledged, first = write_until_refused(client, 500)
        assert len(acknowledged) >= 3
        assert first.code == 500
        file = str(platform.data / "store.db")
        for number in range(5):
            later = refusal(partial(client.store.write, f"later-{number}", b"v"))
            assert later.code == 503
            assert file in later.detail
            assert "SQLITE_IOERR_FSYNC" in later.detail
            assert "restart the daemon" in later.detail
        assert refusal(lambda: client.store.delete(acknowledged[0])).code == 503
        check_kept(client, acknowledged)
        assert list(client.store.list("key-")) == acknowledged
        status, said = readiness(platform)
        assert status == 503
        assert file in said
        assert re.search(r"^store: ", said, re.MULTILINE)
        assert "system: " not in said
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert failed_syncs(platform) == 1, "a failed sync was tried again"
    assert (platform.data / "store.db-wal").stat().st_size, "the log was emptied after a failed sync"
    platform.start(*ONLY)
    with platform.client() as client:
        check_kept(client, acknowledged)
        kept = set(client.store.list("later-"))
        assert kept == set(), "what was refused is there"
        client.store.write("after", b"v")
    assert readiness(platform) == (200, "ready\n")


def test_failing_sync_of_the_platforms_own(platform: Platform) -> None:
    """Where the disk fails the platform's own file, accounts are not made any more, and what needs no write goes on."""
    start_with_failing_sync(platform, "system.db", 14, *ONLY)
    with platform.client() as client:
        client.store.write("k", b"v")
        made, first = make_accounts_until_refused(client)
        assert "system.db" in first.detail
        again = refusal(
            lambda: client.call("auth", "Auth.Generate", {"id": "more", "secret": "a secret of 16"})
        )
        assert again.code == 503
        assert "restart the daemon" in again.detail
        client.store.write("k", b"w")
        assert client.store.read("k").value == b"w"
        status, said = readiness(platform)
        assert status == 503
        assert re.search(r"^system: .*system\.db", said, re.MULTILINE)
    daemon = platform.daemon
    assert daemon is not None
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    platform.start(*ONLY)
    with platform.client() as client:
        listed = client.call("auth", "Accounts.List", {})
        assert set(made) <= {account["id"] for account in listed["accounts"]}


# A disk that is full.


def test_full_disk(small_disk: Path | None) -> None:
    """On a full disk writes are refused, reads go on, and deletions make room for writes; /readyz says so meanwhile."""
    if small_disk is None:
        return
    platform = Platform(small_disk / "home")
    try:
        daemon = platform.start(*ONLY)
        with platform.client() as client:
            large, refused = write_until_refused(client, 100_000, "large")
            assert refused.code == 507
            client.store.write("small", b"v")
            assert readiness(platform)[0] == 503
            for key in [*large, "small"]:
                client.store.delete(key)
            assert readiness(platform)[0] == 200

            acknowledged, first = write_until_refused(client, 8000)
            assert len(acknowledged) >= 30
            for number in range(3):
                later = refusal(partial(client.store.write, f"later-{number}", b"v" * 8000))
                assert later.code == first.code == 507
                assert (
                    later.detail == "the store's disk is full: nothing was written; make room and try again"
                )
            status, said = readiness(platform)
            assert status == 503
            assert "store.db: the disk is full" in said
            check_kept(client, acknowledged)
            assert list(client.store.list()) == acknowledged

            gone, acknowledged = acknowledged[::2], acknowledged[1::2]
            for key in gone:
                client.store.delete(key)
            again, refused = write_until_refused(client, 8000, "again")
            assert refused.code == 507
            assert len(again) >= len(gone) // 2
            check_kept(client, acknowledged + again)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0

        platform.start(*ONLY)
        with platform.client() as client:
            check_kept(client, acknowledged + again)
            assert sorted(client.store.list()) == sorted(acknowledged + again)
            client.store.delete(again[0])
    finally:
        platform.close()


def test_disk_filled_by_others(small_disk: Path | None) -> None:
    """Where others took the last byte, writes are refused until they give some back; then all goes on by itself."""
    if small_disk is None:
        return
    platform = Platform(small_disk / "home")
    try:
        daemon = platform.start(*ONLY)
        with platform.client() as client:
            client.store.write("kept", b"v")
            ballast = fill(small_disk)
            assert refusal(lambda: client.store.write("more", b"v")).code == 507
            assert client.store.read("kept").value == b"v"
            assert readiness(platform)[0] == 503
            ballast.unlink()
            client.store.write("more", b"v")
            assert readiness(platform) == (200, "ready\n")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0

        ballast = fill(small_disk)
        refused = platform.launch(*ONLY)
        assert refused.wait() == 1
        said = str(refused.output)
        assert "cannot start: " in said
        assert re.search("disk is full|No space left on device", said), said
        assert "Traceback" not in said, said
        ballast.unlink()

        platform.start(*ONLY)
        with platform.client() as client:
            check_kept(client, [])
            assert sorted(client.store.list()) == ["kept", "more"]
    finally:
        platform.close()


# A file that is damaged.


@pytest.mark.parametrize("name", ["store.db", "system.db"])
def test_damaged_file(platform: Platform, name: str) -> None:
    """A damaged file ends the start with one sentence, which names it and what to do."""
    platform.start(*ONLY).signal(signal.SIGTERM)
    daemon = platform.daemon
    assert daemon is not None
    assert daemon.wait() == 0
    path = platform.data / name
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 512] = bytes(512)
    path.write_bytes(content)
    refused = platform.launch(*ONLY)
    assert refused.wait() == 1
    said = [line for line in refused.output.lines if "cannot start" in line]
    assert len(said) == 1
    assert str(path) in said[0]
    assert "backup" in said[0]
    assert "Traceback" not in str(refused.output)
    assert path.read_bytes() == content
