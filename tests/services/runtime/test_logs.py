"""What services write, and how it is read."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from microd.kernel.errors import NotFound
from microd.services.runtime.backends.local.follower import BACKLOG, Follower
from microd.services.runtime.backends.local.logs import LONGEST, MOST, MOST_BYTES, Log, Logs
from microd.services.runtime.model import Key, Limits, Line

from .conftest import KEY, House, Work, now, settles


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture
def log(tmp_path: Path, clock: Clock, limits: Limits) -> Log:
    return Log(tmp_path / "log", clock, limits)


def texts(log: Log, count: int = 0, since: float = 0.0) -> list[str]:
    return [line.text for line in log.last(count, since)]


def test_lines(log: Log) -> None:
    """Lines come back in order, with their time and their stream."""
    log.write("stdout", b"one\n")
    log.write("stderr", b"two\n")
    assert log.last(0) == [Line(1_000_000.0, "stdout", "one"), Line(1_000_000.0, "stderr", "two")]


def test_pieces(log: Log) -> None:
    """A line which comes in pieces is one line, and the streams do not mix."""
    log.write("stdout", b"on")
    log.write("stderr", b"other\n")
    log.write("stdout", b"e\nnext\n")
    assert texts(log) == ["other", "one", "next"]


def test_prompt(log: Log, clock: Clock) -> None:
    """An unfinished line is taken as it is after a second of silence."""
    log.write("stdout", b"password: ")
    follower = log.follow()
    lines: list[Line] = []
    collecting(follower, lines)
    assert lines == []
    clock.advance(1)
    assert [line.text for line in lines] == ["password: "]
    follower.close()


def test_reading_takes_all(log: Log) -> None:
    """Who reads also sees an unfinished line."""
    log.write("stdout", b"almost")
    assert texts(log) == ["almost"]


@pytest.mark.parametrize("count", [1, 2, 7, 99, 100, 101, 1000])
def test_tail(log: Log, count: int) -> None:
    """The tail is counted in whole lines, over the borders of files and blocks."""
    lines = [f"{number} " + "x" * (number % 90) for number in range(100)]
    log.write("stdout", "".join(f"{line}\n" for line in lines).encode())
    kept = texts(log)
    assert kept == lines[-len(kept) :]
    assert texts(log, count) == kept[-count:]


def test_long_tail(tmp_path: Path, clock: Clock) -> None:
    """A tail may be larger than one block."""
    log = Log(tmp_path, clock, Limits())
    lines = [f"{number}" * 50 for number in range(5000)]
    log.write("stdout", "".join(f"{line}\n" for line in lines).encode())
    assert texts(log, 4000) == lines[-4000:]


def test_most(tmp_path: Path, clock: Clock) -> None:
    """No answer begins with more lines than can be read in a moment."""
    log = Log(tmp_path, clock, Limits())
    log.write("stdout", b"".join(b"%d\n" % number for number in range(MOST + 10)))
    assert texts(log)[0] == "10"
    assert len(texts(log, 2 * MOST)) == MOST


def test_since(log: Log, clock: Clock) -> None:
    """Lines can be selected by their time."""
    for number in range(5):
        log.write("stdout", b"%d\n" % number)
        clock.advance(10)
    assert texts(log, since=1_000_030.0) == ["3", "4"]
    assert texts(log, 1, 1_000_030.0) == ["4"]


def test_noise(log: Log) -> None:
    """Any bytes can be written; what is no UTF-8 is shown escaped, and NULs and CRs do no harm."""
    log.write("stdout", b"\xff\x00\xfe\r\ncaf\xc3\xa9\r\n\n")
    assert texts(log) == ["\\xff\x00\\xfe", "café", ""]


def test_long_line(log: Log) -> None:
    """A line without an end does not fill the memory: it becomes several."""
    for _ in range(40):
        log.write("stdout", b"x" * 1000)
    log.write("stdout", b"\n")
    found = texts(log, 2)
    assert len(found[0]) == LONGEST
    assert sum(len(text) for text in texts(log)) <= 40_000


def test_bounded(log: Log, tmp_path: Path, limits: Limits) -> None:
    """However much is written, only so many files of so many bytes are kept, the newest."""
    for number in range(2000):
        log.write("stdout", b"%d\n" % number)
    sizes = [path.stat().st_size for path in (tmp_path / "log").iterdir()]
    assert len(sizes) == limits.log_files + 1
    assert max(sizes) <= limits.log_size + 100
    kept = texts(log)
    assert kept[-1] == "1999"
    assert kept == [str(number) for number in range(2000 - len(kept), 2000)]


def test_bounded_at_once(log: Log, tmp_path: Path, limits: Limits) -> None:
    """The bound also holds for one large piece."""
    log.write("stdout", b"x\n" * 10_000)
    assert sum(path.stat().st_size for path in (tmp_path / "log").iterdir()) < limits.log_size * 3 + 100


def test_no_old_files(tmp_path: Path, clock: Clock) -> None:
    """With no old files to be kept, there is just the newest."""
    log = Log(tmp_path, clock, Limits(log_size=1000, log_files=0))
    log.write("stdout", b"x\n" * 1000)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["log"])


def test_after_restart(log: Log, tmp_path: Path, clock: Clock, limits: Limits) -> None:
    """Another daemon finds the lines, also after a line that was cut short, and goes on below them."""
    log.write("stdout", b"one\n")
    log.close()
    with (tmp_path / "log" / "log").open("ab") as file:
        file.write(b"1000000.5 stdo")
    again = Log(tmp_path / "log", clock, limits)
    assert texts(again) == ["one"]
    again.write("stdout", b"two\n")
    assert texts(again) == ["one", "two"]


def test_private(log: Log, tmp_path: Path) -> None:
    """Nobody else can read a log."""
    log.write("stdout", b"secret\n")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log" / "log").stat().st_mode & 0o777 == 0o600


def test_disk_trouble(tmp_path: Path, clock: Clock, limits: Limits) -> None:
    """When the log cannot be written, those who follow still get their lines."""
    (tmp_path / "log").write_text("in the way")
    log = Log(tmp_path / "log", clock, limits)
    follower = log.follow()
    log.write("stdout", b"one\n")
    lines: list[Line] = []
    collecting(follower, lines)
    assert [line.text for line in lines] == ["one"]
    follower.close()


def collecting(lines: AsyncIterator[Line] | Follower, into: list[Line]) -> Work[None]:
    async def read() -> None:
        async for line in lines:
            into.append(line)

    return settles(read())


def test_slow_follower(log: Log) -> None:
    """Who follows too slowly loses the oldest lines, and is told how many; the memory for them is bounded."""
    follower = log.follow()
    line = "x" * 900
    count = BACKLOG // 1000 + 5
    log.write("stdout", "".join(f"{number:05} {line}\n" for number in range(count)).encode())
    lines: list[Line] = []
    collecting(follower, lines)
    remark, first = lines[0].text, lines[1].text
    lost = count - len(lines) + 1
    assert lost >= 5
    assert remark == f"[{lost} lines were too many to follow]"
    assert first.startswith(f"{lost:05} ")
    assert sum(len(each.text) for each in lines) <= BACKLOG
    follower.close()


def test_most_bytes(tmp_path: Path, clock: Clock) -> None:
    """Nor does an answer begin with more bytes than can be read in a moment."""
    log = Log(tmp_path, clock, Limits())
    line = b"x" * 10_000 + b"\n"
    log.write("stdout", line * (2 * MOST_BYTES // len(line)))
    assert MOST_BYTES - 2 * len(line) < sum(len(text) for text in texts(log)) <= MOST_BYTES


def test_service_lines(house: House) -> None:
    """The log of a service has both its streams, and what happened to it."""
    house.create()
    house.last.says(b"hello\n")
    house.last.says(b"trouble\n", 2)
    house.crash(2)
    assert house.messages() == [
        "hello",
        "trouble",
        "exited with code 2; next try at 1970-01-12T13:46:41Z",
    ]


def test_last_words(house: House) -> None:
    """What a service wrote last, without the end of a line, is before the news of its end."""
    house.create()
    house.last.says(b"dying...")
    house.crash(2)
    assert house.messages()[0] == "dying..."


def test_follow(house: House) -> None:
    """Who follows gets the tail and then every line once, until the service is deleted."""
    house.create()
    house.last.says(b"one\ntwo\n")
    lines: list[Line] = []
    work = collecting(house.runtime.logs(KEY, 1, follow=True), lines)
    house.last.says(b"three\n")
    assert [line.text for line in lines] == ["two", "three"]
    deleted = settles(house.runtime.delete(KEY))
    house.crash(0)
    deleted.result()
    assert work.done


def test_follow_over_restart(house: House) -> None:
    """Who follows sees a crash, and the lines of the next process."""
    house.create()
    lines: list[Line] = []
    collecting(house.runtime.logs(KEY, follow=True), lines)
    house.crash(1)
    house.clock.advance(1)
    house.last.says(b"again\n")
    assert [line.text for line in lines][-1] == "again"


def test_per_service(house: House) -> None:
    """Each namespace, name and version has a log of its own."""
    for key in (KEY, Key("acme", "greeter"), Key("micro", "greeter", "v2")):
        house.create(key=key)
        house.last.says(f"{key.namespace} {key.version}\n".encode())
    assert house.messages() == ["micro latest"]


def test_after_daemon_restart(house: House) -> None:
    """The lines of before are still there when the daemon is back."""
    house.create()
    house.last.says(b"before\n")
    house.restart()
    house.last.says(b"after\n")
    assert house.messages() == ["before", "after"]


def test_after_delete(house: House) -> None:
    """The log of a deleted service can still be read; following it ends at once."""
    house.create()
    house.last.says(b"famous last words\n")
    deleted = settles(house.runtime.delete(KEY))
    house.crash(0)
    deleted.result()
    assert house.messages() == ["famous last words"]
    assert house.messages(follow=True) == ["famous last words"]


def test_unknown(house: House) -> None:
    """A service that was never run has no log."""
    with pytest.raises(NotFound, match="Logs not found for service greeter"):
        house.messages()


def test_pruned(tmp_path: Path, clock: Clock) -> None:
    """The logs of services long gone are removed; those of living ones and of fresh graves are not."""
    logs = Logs(tmp_path, clock, Limits(log_days=1.0))
    keys = [Key("micro", name) for name in ("living", "fresh", "old")]
    for key in keys:
        logs.of(key).write("stdout", b"x\n")
        os.utime(tmp_path / "micro" / key.name / "latest" / "log", (0, 0))
    os.utime(tmp_path / "micro" / "fresh" / "latest" / "log", (90_000, 90_000))
    logs.close_all()
    logs.prune(100_000.0, {keys[0]})
    assert [logs.known(key) for key in keys] == [True, True, False]


def test_say(log: Log) -> None:
    """Our own remarks have a stream of their own, a line each."""
    log.say("one\ntwo")
    assert [(line.stream, line.text) for line in log.last(0)] == [("runtime", "one"), ("runtime", "two")]


def test_now_is_used(house: House) -> None:
    """Reading a log that nobody follows waits for nothing."""
    house.create()
    house.last.says(b"one\n")

    async def first() -> list[str]:
        return [line.text async for line in house.runtime.logs(KEY, 5)]

    assert now(first()) == ["one"]
