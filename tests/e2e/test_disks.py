"""A daemon on a disk that fails, and on one that is full. Both are real: the kernel says so, to a process of its own."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from microd.framework.blocking import BlockingClient
from microd.kernel.errors import MicroError
from microd.testing.platform import BIN, Platform, Process

pytestmark = pytest.mark.e2e

ONLY = ("--only", "store,auth,registry,proxy,network,ops")
#: Set where the test runs in a mount namespace of its own, in which it may mount.
INSIDE = "MICROD_TEST_MAY_MOUNT"


def readiness(platform: Platform) -> tuple[int, str]:
    """What C{/readyz} answers."""
    host, _, port = platform.door("ops").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


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


def start_with_failing_sync(platform: Platform, name: str, when: int) -> Process:
    """A daemon for which the C{when}th sync of a file's log, and each one after it, fails with EIO."""
    strace = shutil.which("strace")
    assert strace, "this test needs strace: sudo apt-get install strace"
    said = platform.home / "strace.txt"
    daemon = platform.spawn(
        strace,
        # The daemon is our child, not strace; and runs at full speed but for what is traced.
        *("-D", "-f", "--seccomp-bpf", "-qq", "-o", str(said), "-P", str(platform.data / f"{name}-wal")),
        *("-e", "trace=fdatasync,fsync", "-e", f"inject=fdatasync,fsync:error=EIO:when={when}+"),
        *(str(BIN / "twistd"), "-n", "micro", *ONLY),
    )
    platform.daemon = daemon
    daemon.output.wait_for(" is ready: ")
    return daemon


def failed_syncs(platform: Platform) -> int:
    """How often the daemon was told that a sync failed."""
    return (platform.home / "strace.txt").read_text().count("EIO")


def test_failing_sync(platform: Platform) -> None:
    """After one failed sync no write is acknowledged, none is tried again, reads go on, and /readyz says why; a restart
    has all that was acknowledged."""
    daemon = start_with_failing_sync(platform, "store.db", 9)
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
    start_with_failing_sync(platform, "system.db", 14)
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


def namespace() -> Sequence[str] | None:
    """What begins a mount namespace of one's own: what is mounted there is gone with it. None where nobody may."""
    unshare = shutil.which("unshare")
    assert unshare, "this test needs unshare, of Debian's package util-linux"
    for flags in ("-m", "-rm"):
        begin = [unshare, flags]
        if subprocess.run([*begin, "true"], capture_output=True, check=False).returncode == 0:
            return begin
    return None


def moved(request: pytest.FixtureRequest) -> bool:
    """Whether this very test was run once more where one may mount, and passed there."""
    begin = None if INSIDE in os.environ else namespace()
    if begin is None:
        return False
    done = subprocess.run(
        [*begin, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", request.node.nodeid],
        env={**os.environ, INSIDE: "1"},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB; where the test is moved from it is not needed."""
    if INSIDE in os.environ:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
        yield tmp_path
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    elif namespace() is None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            leave_little(Path(name))
            yield Path(name)
    else:
        yield tmp_path


def leave_little(folder: Path) -> None:
    """Take all but 2 MiB of the disk, where it is a small one: containers have 64 MiB of shared memory."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    assert free < 1 << 29, (
        "this test needs a small disk: run it as root with CAP_SYS_ADMIN, or allow user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1; docker run --cap-add SYS_ADMIN)"
    )
    with open(folder / "taken", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - (2 << 20))


def fill(disk: Path) -> Path:
    """Take all that is left on a disk."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (4096, 512, 1):
            try:
                while True:
                    file.write(b"b" * size)
            except OSError:
                continue
    return ballast


def test_full_disk(small_disk: Path, request: pytest.FixtureRequest) -> None:
    """On a full disk writes are refused, reads go on, and deletions make room for writes; /readyz says so meanwhile."""
    if moved(request):
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


def test_disk_filled_by_others(small_disk: Path, request: pytest.FixtureRequest) -> None:
    """Where others took the last byte, writes are refused until they give some back; then all goes on by itself."""
    if moved(request):
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
