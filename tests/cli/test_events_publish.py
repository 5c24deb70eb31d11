"""`micro events publish`."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from microd.wire import events_pb2 as pb

from .conftest import Call, Daemon, User

PUBLISH, MANY = "/events.Stream/Publish", "/events.Stream/PublishMany"


class Pipe(io.RawIOBase):
    """Standard input which has come piece by piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece == b"^C":
            raise KeyboardInterrupt
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts pieces into standard input."""

    def put(*pieces: bytes) -> None:
        reader = io.BufferedReader(Pipe(list(pieces)))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(reader))

    return put


@pytest.fixture(autouse=True)
def stored(daemon: Daemon) -> list[list[pb.Event]]:
    """The batches that were stored."""
    daemon.answers(PUBLISH, pb.PublishResponse(id="some-id", offset=12))
    batches: list[list[pb.Event]] = []

    def store(call: Call) -> pb.PublishManyResponse:
        request = pb.PublishManyRequest.FromString(call.body)
        assert request.topic == "orders"
        before = sum(map(len, batches))
        batches.append(list(request.events))
        return pb.PublishManyResponse(first=before + 1, last=before + len(request.events))

    daemon.handlers[MANY] = store
    return batches


def published(daemon: Daemon) -> pb.PublishRequest:
    """What was published last."""
    return pb.PublishRequest.FromString(daemon.asked(PUBLISH)[-1].body)


def test_publish(user: User, daemon: Daemon) -> None:
    """Words are one event; where it is, is answered."""
    got = user.micro("events", "publish", "orders", "paid", "now", "-m", "shop=a=b", "--metadata=x=")
    assert (got.code, got.out, got.err) == (0, "orders has it at offset 12.\n", "")
    assert published(daemon) == pb.PublishRequest(
        topic="orders", metadata={"shop": "a=b", "x": ""}, payload=b"paid now"
    )
    assert user.micro("events", "publish", "orders", "{}", "--json").json == {
        "topic": "orders",
        "offset": 12,
        "id": "some-id",
    }


def test_timestamp(user: User, daemon: Daemon) -> None:
    """It can have happened before."""
    user.micro("events", "publish", "orders", "x", "--timestamp", "2023-11-14T22:13:20Z")
    assert published(daemon).timestamp == 1_700_000_000
    user.now = 1_700_000_100.0
    user.micro("events", "publish", "orders", "x", "--timestamp", "1m40s")
    assert published(daemon).timestamp == 1_700_000_000


def test_stdin(user: User, daemon: Daemon, pipe: Callable[..., None], tmp_path: Any) -> None:
    """A dash stands for standard input, --file for a file: byte for byte one event."""
    pipe(b"\x00\xff", b"\n")
    user.micro("events", "publish", "orders", "-")
    assert published(daemon).payload == b"\x00\xff\n"
    (tmp_path / "event").write_bytes(b"a\nb")
    user.micro("events", "publish", "orders", "--file", str(tmp_path / "event"))
    assert published(daemon).payload == b"a\nb"


def test_lines(user: User, pipe: Callable[..., None], stored: list[list[pb.Event]]) -> None:
    """Lines are stored as they come, those together which came together, and what is no line yet waits."""
    pipe(b"a\nb\r\nc", b"c\n\n  \nd\n", b"e")
    got = user.micro(
        "events", "publish", "orders", "--lines", "-m", "k=v", "--timestamp=2023-11-14T22:13:20.5Z"
    )
    assert (got.code, got.out) == (0, "5 events were stored at offsets 1 to 5.\n")
    assert [[each.payload for each in batch] for batch in stored] == [[b"a", b"b"], [b"cc", b"d"], [b"e"]]
    assert all(dict(each.metadata) == {"k": "v"} for batch in stored for each in batch)
    assert {each.timestamp_ms for batch in stored for each in batch} == {1_700_000_000_500}


def test_many_lines(user: User, stored: list[list[pb.Event]], tmp_path: Any) -> None:
    """However many lines a file has, they are stored in order, a thousand at a time at the most."""
    (tmp_path / "lines").write_bytes(b"".join(b"%d\n" % number for number in range(100_000)))
    got = user.micro("events", "publish", "orders", "--lines", "--file", str(tmp_path / "lines"), "--json")
    assert got.json == {"topic": "orders", "count": 100_000, "first": 1, "last": 100_000}
    assert [int(each.payload) for batch in stored for each in batch] == list(range(100_000))
    assert max(map(len, stored)) == 1000


def test_no_lines(user: User, pipe: Callable[..., None], daemon: Daemon) -> None:
    """No lines are no events."""
    pipe(b"\n\n")
    got = user.micro("events", "publish", "orders", "--lines")
    assert (got.code, got.out) == (0, "No event was stored.\n")
    assert not daemon.calls


def test_refused_line(user: User, daemon: Daemon, pipe: Callable[..., None]) -> None:
    """What was stored before something went wrong is told, so that one can go on behind it."""
    real = daemon.handlers[MANY]

    def once(call: Call) -> Any:
        daemon.refuses(MANY, 507, "the disk is full")
        return real(call)

    daemon.handlers[MANY] = once
    pipe(b"a\nb\n", b"c\n")
    got = user.micro("events", "publish", "orders", "--lines")
    assert (got.code, got.out) == (127, "")
    assert got.err == "The disk is full. 2 events were stored at offsets 1 to 2 before that.\n"


def test_interrupted_lines(user: User, pipe: Callable[..., None]) -> None:
    """Ctrl-C tells what was stored, too."""
    pipe(b"a\n", b"^C")
    got = user.micro("events", "publish", "orders", "--lines")
    assert (got.code, got.err) == (130, "\n1 event was stored at offset 1.\n\n")


def test_endless_line(user: User, pipe: Callable[..., None], daemon: Daemon) -> None:
    """A line without an end is not read without end."""
    pipe(*[b"x" * 8192] * 2000)
    got = user.micro("events", "publish", "orders", "--lines")
    assert (got.code, "A line is longer than 8 MiB" in got.err) == (1, True)
    assert not daemon.calls


def test_lost_quotes(user: User) -> None:
    """What looks like JSON and is none was probably meant to be."""
    got = user.micro("events", "publish", "orders", "{id:", "7}")
    assert (got.code, got.out) == (0, "orders has it at offset 12.\n")
    assert "Did the shell take the quotes?" in got.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Missing topic. Write `micro events publish TOPIC JSON`."),
        (["orders"], "Missing payload. Write `micro events publish TOPIC JSON`."),
        (["orders", "x", "-m", "k"], "Metadata must be of the form key=value, unlike k"),
        (["orders", "x", "--lines"], "--lines reads standard input, or what --file names. Leave the payload out."),
        (["orders", "x", "--file=f"], "--file and a payload exclude each other. Choose one of them."),
        (["orders", "--file=/nowhere"], "/nowhere cannot be read: No such file or directory"),
        (["orders", "x", "--timestamp=soon"], "--timestamp wants a moment or a time ago, such as 2025-01-31T12:00:00Z or 5m, not soon"),
        (["orders", "x", "--timestamp=1960-01-01"], "--timestamp 1960-01-01 is before 1970"),
    ],
)  # fmt: skip
def test_wrongly(user: User, daemon: Daemon, words: list[str], told: str) -> None:
    """What cannot be published is refused, with what to write."""
    got = user.micro("events", "publish", *words)
    assert (got.code, got.out, got.err) == (1, "", f"{told}\n")
    assert not daemon.calls
