"""Sources on their way to the disk, and what is run of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred, execute

from microd.kernel.errors import BadRequest, MicroError, NotFound, TooLarge, Unavailable
from microd.services.runtime.backends.local.program import find_program
from microd.services.runtime.model import Key, Limits, Spec
from microd.services.runtime.sources import Sources

from .conftest import KEY, now, pieces, tar_of

HELLO = {"main.py": b"print('hello')\n"}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path, Limits(upload=20_000), lambda work: execute(work))


def upload(sources: Sources, files: dict[str, bytes], key: Key = KEY) -> str:
    return now(sources.upload(key, pieces(tar_of(files), 100)))


def left(folder: Path) -> list[str]:
    """What lies in the home of the service's uploads."""
    return sorted(path.name for path in folder.glob("micro/greeter/latest/*"))


def test_id(sources: Sources) -> None:
    """The id of an upload is what the reference would answer."""
    assert upload(sources, HELLO) == "source://greeter:latest"


def test_found(sources: Sources) -> None:
    """An upload is found by its id, in the namespace of who uploaded it."""
    id = upload(sources, HELLO)
    folder = sources.path(sources.find("micro", id))
    assert (folder / "main.py").read_bytes() == HELLO["main.py"]
    with pytest.raises(NotFound):
        sources.find("acme", id)


def test_newest(sources: Sources) -> None:
    """The newest upload of an id counts, and the one before stays where it is."""
    id = upload(sources, HELLO)
    before = sources.path(sources.find("micro", id))
    upload(sources, {"main.py": b"2"})
    assert (sources.path(sources.find("micro", id)) / "main.py").read_bytes() == b"2"
    assert (before / "main.py").read_bytes() == HELLO["main.py"]


def test_no_room(sources: Sources, tmp_path: Path) -> None:
    """What the disk refuses is told in the operating system's words, as something that may pass."""
    (tmp_path / "micro").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot keep the source: Not a directory"):
        upload(sources, HELLO)


def test_too_large(sources: Sources, tmp_path: Path) -> None:
    """An upload over the limit is refused as soon as it is, and leaves nothing."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield b"x" * 1000

    with pytest.raises(TooLarge, match="20000 bytes"):
        now(sources.upload(KEY, endless()))
    assert read == 21_000
    assert left(tmp_path) == []


def test_refused(sources: Sources, tmp_path: Path) -> None:
    """An upload that is refused leaves nothing, and the one before still counts."""
    upload(sources, HELLO)
    before = left(tmp_path)
    with pytest.raises(BadRequest):
        now(sources.upload(KEY, pieces(tar_of({"a": b"", "../b": b""}))))
    assert left(tmp_path) == before


def test_broken_off(sources: Sources, tmp_path: Path) -> None:
    """An upload whose sender goes away leaves nothing."""

    async def cut() -> AsyncIterator[bytes]:
        yield b"x" * 100
        raise CancelledError

    with pytest.raises(CancelledError):
        now(sources.upload(KEY, cut()))
    assert left(tmp_path) == []


def test_left_behind(tmp_path: Path) -> None:
    """What a dead daemon had not finished is removed at the next start; what is used and what is fresh is not."""
    sources = Sources(tmp_path, Limits(), lambda work: execute(work))
    id = upload(sources, HELLO)
    used = sources.find("micro", id)
    upload(sources, HELLO)
    superseded = sources.find("micro", id)
    upload(sources, HELLO)
    fresh = sources.find("micro", id)
    home = tmp_path / "micro/greeter/latest"
    (home / "abc.part").mkdir()
    (home / "abc.tar").write_bytes(b"")
    moment = sources.path(fresh).stat().st_mtime
    now(sources.prune({used}, moment + 3600))
    assert left(tmp_path) == sorted(["current", Path(used).name, Path(fresh).name])
    assert superseded != fresh
    now(sources.prune({used}, moment + 100_000))
    assert left(tmp_path) == sorted(["current", Path(used).name])
    with pytest.raises(NotFound):
        sources.find("micro", id)


@pytest.mark.parametrize(
    ("id", "error"),
    [
        ("github.com/micro/services/helloworld", "fetches nothing from elsewhere"),
        ("/etc", "fetches nothing from elsewhere"),
        ("source://../../etc:latest", "may hold letters"),
        ("source://:latest", "is missing"),
        ("source://unknown:latest", "was not uploaded"),
        ("source://unknown", "was not uploaded"),
    ],
)
def test_bad_ids(sources: Sources, id: str, error: str) -> None:
    """Only uploaded sources can be run; the error says what to do instead."""
    with pytest.raises(MicroError, match=error):
        sources.find("micro", id)


def test_one_at_a_time_is_not_needed(tmp_path: Path) -> None:
    """Two uploads of one service at once do not disturb each other."""
    gates: list[Deferred[None]] = []

    async def gated(data: bytes) -> AsyncIterator[bytes]:
        yield data[:700]
        gate: Deferred[None] = Deferred()
        gates.append(gate)
        await gate
        yield data[700:]

    sources = Sources(tmp_path, Limits(), lambda work: execute(work))
    first = Deferred.fromCoroutine(sources.upload(KEY, gated(tar_of({"main.py": b"1"}))))
    second = Deferred.fromCoroutine(sources.upload(KEY, gated(tar_of({"main.py": b"2"}))))
    gates[1].callback(None)
    assert second.called
    gates[0].callback(None)
    assert first.called
    found = sources.path(sources.find("micro", "source://greeter:latest"))
    assert (found / "main.py").read_bytes() == b"1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("main.py", "sub/main.py", "sub/other.py", "bin/run", "data.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "bin/run").chmod(0o755)
    (tmp_path / "out").symlink_to("/etc")
    return tmp_path


@pytest.mark.parametrize(
    ("wish", "command", "folder"),
    [
        ({}, "PY main.py", ""),
        ({"args": ("-x", "a b")}, "PY main.py -x a b", ""),
        ({"entrypoint": "sub"}, "PY sub/main.py", "sub"),
        ({"entrypoint": "./sub/"}, "PY sub/main.py", "sub"),
        ({"entrypoint": "sub/other.py"}, "PY sub/other.py", "sub"),
        ({"entrypoint": "bin/run", "args": ("x",)}, "bin/run x", "bin"),
        ({"command": ("echo",), "args": ("x",)}, "echo x", ""),
        ({"command": ("echo", "x"), "entrypoint": "sub"}, "echo x", "sub"),
    ],
)
def test_program(root: Path, wish: dict[str, object], command: str, folder: str) -> None:
    """A service is its command, or its entrypoint, or its main.py; a command's words stay apart."""
    found = find_program(Spec(KEY, **wish), root)  # type: ignore[arg-type]
    line = " ".join(found.line("PY")).replace(f"{root}/", "")
    assert (line, found.folder) == (command, root / folder)


@pytest.mark.parametrize(
    ("entrypoint", "error"),
    [
        ("bin", "no main.py in bin"),
        ("missing", "no missing in the source"),
        ("data.txt", "neither Python"),
        ("..", "inside the source"),
        ("sub/../../x", "inside the source"),
        ("/etc/passwd", "inside the source"),
        ("out/passwd", "inside the source"),
    ],
)
def test_no_program(root: Path, entrypoint: str, error: str) -> None:
    """What cannot be run is refused, with what would help."""
    with pytest.raises(BadRequest, match=error):
        find_program(Spec(KEY, entrypoint=entrypoint), root)
