"""`micro broker`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from microd.wire import broker_pb2 as pb

from .conftest import Daemon, User

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"


@pytest.fixture(autouse=True)
def broker(daemon: Daemon) -> None:
    """A broker with three messages."""
    daemon.answers(PUBLISH, pb.Empty())
    bodies = (b"one", b'{"two":2}', b"\xff")
    daemon.answers(SUBSCRIBE, [pb.Message(header={"B": "b", "A": "a"}, body=body) for body in bodies])


def published(daemon: Daemon) -> pb.PublishRequest:
    """What was published last."""
    return pb.PublishRequest.FromString(daemon.asked(PUBLISH)[-1].body)


def test_publish(user: User, daemon: Daemon) -> None:
    """Words are one message; it says its topic and what it is, and flags say more."""
    got = user.micro("broker", "publish", "news", "hello", "world", "-H", "Shop=7=8")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert published(daemon) == pb.PublishRequest(
        topic="news",
        message=pb.Message(
            header={"Micro-Topic": "news", "Content-Type": "text/plain", "Shop": "7=8"}, body=b"hello world"
        ),
    )


def test_publish_json(user: User, daemon: Daemon) -> None:
    """JSON is sent as such, so that subscribers read it into their messages."""
    user.micro("broker", "publish", "news", '{"name": "x"}')
    assert published(daemon).message.header["Content-Type"] == "application/json"


def test_publish_stdin(user: User, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash stands for standard input, byte for byte."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\x00\xff\n")))
    user.micro("broker", "publish", "news", "-")
    assert published(daemon).message.body == b"\x00\xff\n"


def test_subscribe(user: User, daemon: Daemon) -> None:
    """Messages are printed as they come, one after the other."""
    assert user.micro("broker", "subscribe", "news", "--queue", "q").out == 'one\n{"two":2}\n\ufffd\n'
    request = pb.SubscribeRequest.FromString(daemon.asked(SUBSCRIBE)[0].body)
    assert (request.topic, request.queue) == ("news", "q")


def test_subscribe_json(user: User) -> None:
    """With --json each message is a line, with its headers; a body which is no text is in base64."""
    lines: list[Any] = [
        json.loads(line) for line in user.micro("broker", "subscribe", "news", "--json").out.splitlines()
    ]
    assert lines[0] == {"header": {"A": "a", "B": "b"}, "body": "one"}
    assert lines[2]["body_base64"] == "/w=="


def test_count(user: User) -> None:
    """It ends after as many messages as were wanted."""
    assert user.micro("broker", "subscribe", "news", "-n", "1").out == "one\n"


@pytest.mark.parametrize("words", [("publish",), ("publish", "news"), ("subscribe",)])
def test_missing_words(user: User, daemon: Daemon, words: tuple[str, ...]) -> None:
    """Without what it needs a command says what to write."""
    got = user.micro("broker", *words)
    assert (got.code, got.out) == (1, "")
    assert got.err.startswith("Missing topic")
    assert f"Write `micro broker {words[0]} TOPIC" in got.err
    assert not daemon.calls


def test_bad_header(user: User, daemon: Daemon) -> None:
    """A header without a value is refused before anything is sent."""
    got = user.micro("broker", "publish", "news", "x", "--header", "shop")
    assert got.code == 1
    assert "key=value, unlike shop" in got.err
    assert not daemon.calls


def test_refused(user: User, daemon: Daemon) -> None:
    """What the broker refuses is told in its words."""
    daemon.refuses(PUBLISH, 413, "the message has 9 bytes")
    got = user.micro("broker", "publish", "news", "x")
    assert (got.code, "he message has 9 bytes" in got.err) == (127, True)
