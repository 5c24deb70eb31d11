"""`micro broker`."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from microd.txgrpc.status import RpcError, StatusCode
from microd.wire import auth_pb2
from microd.wire import broker_pb2 as pb

from .conftest import Daemon, Refusal, User

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"


@pytest.fixture(autouse=True)
def broker(daemon: Daemon) -> None:
    """A broker with three messages."""
    daemon.answers(PUBLISH, pb.Empty())
    bodies = (b"one", b'{"two":2}', b"\xff")
    daemon.answers(SUBSCRIBE, [pb.Message(header={"B": "b", "A": "a"}, body=body) for body in bodies])


def interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


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
    """Messages are printed as they come, one after the other, until Ctrl-C, which is no failure."""
    user.naps = [interrupt]
    assert user.micro("broker", "subscribe", "news", "--queue", "q").out == 'one\n{"two":2}\n\ufffd\n'
    request = pb.SubscribeRequest.FromString(daemon.asked(SUBSCRIBE)[0].body)
    assert (request.topic, request.queue) == ("news", "q")


def test_subscribe_json(user: User) -> None:
    """With --json each message is a line, with its headers; a body which is no text is in base64."""
    got = user.micro("broker", "subscribe", "news", "--json", "--count=3")
    lines: list[Any] = [json.loads(line) for line in got.out.splitlines()]
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


def test_resubscribe(user: User, daemon: Daemon) -> None:
    """When the server goes away it subscribes again until that succeeds, and says on stderr from when to when it did not hear."""
    broke = RpcError(StatusCode.UNAVAILABLE, "it hung up", delivered=True)
    streams = [[pb.Message(body=b"one"), broke], [pb.Message(body=b"two")]]
    daemon.handlers[SUBSCRIBE] = lambda call: streams.pop(0)

    def leave() -> None:
        daemon.up = False

    def come_back() -> None:
        daemon.up = True

    user.naps = [leave, come_back]
    got = user.micro("broker", "subscribe", "orders.*", "-n", "2")
    assert (got.code, got.out) == (0, "one\ntwo\n")
    first, second = got.err.splitlines()
    assert first == (
        "Disconnected. The connection to 127.0.0.1:8081 broke. What is sent meanwhile is lost; trying again."
    )
    assert second.startswith("Connected again after ")
    assert {call.body for call in daemon.asked(SUBSCRIBE)} == {
        pb.SubscribeRequest(topic="orders.*").SerializeToString()
    }


def test_resubscribe_elsewhere(user: User, daemon: Daemon) -> None:
    """Our own daemon is found again where it listens now; while it is away nobody else on this host is taken for it."""
    user.has_a_daemon("127.0.0.1:7001")
    daemon.answers("/auth.Auth/Token", auth_pb2.TokenResponse(token=auth_pb2.Token(access_token="t")))
    streams: list[Any] = [[], [pb.Message(body=b"two")]]
    daemon.handlers[SUBSCRIBE] = lambda call: streams.pop(0)
    told = user.home / "server" / "daemon.json"

    def leave() -> None:
        daemon.up = False
        told.unlink()

    def come_back() -> None:
        daemon.up = True
        user.has_a_daemon("127.0.0.1:7002")

    user.naps = [leave, come_back]
    assert user.micro("broker", "subscribe", "news", "-n", "1").out == "two\n"
    assert [str(address) for address in daemon.connected] == ["127.0.0.1:7001", "127.0.0.1:7002"]


def test_first_attempt(user: User, daemon: Daemon) -> None:
    """What cannot be reached in the first place fails at once, and so does what is refused for good later."""
    daemon.up = False
    got = user.micro("broker", "subscribe", "news")
    assert (got.code, got.err) == (
        4,
        "Failed to connect to micro server at 127.0.0.1:8081. Start it with `micro server`.\n",
    )
    daemon.up = True
    user.naps = [lambda: daemon.refuses(SUBSCRIBE, 403, "you may not")]
    assert user.micro("broker", "subscribe", "news").code == 127


def test_stopping(user: User, daemon: Daemon, refusal: Refusal) -> None:
    """A server that says it is about to stop has not refused for good."""
    streams: list[Any] = [[refusal(503, "the server is stopping")], [pb.Message(body=b"x")]]
    daemon.handlers[SUBSCRIBE] = lambda call: streams.pop(0)
    got = user.micro("broker", "subscribe", "news", "-n", "1", "--json")
    assert json.loads(got.out)["body"] == "x"
    assert "he server is stopping" in json.loads(got.err.splitlines()[0])["warning"]


def test_renewed(user: User, daemon: Daemon, refusal: Refusal) -> None:
    """A subscription that is refused for its token is made once more with another."""
    user.has_a_daemon()
    daemon.answers("/auth.Auth/Token", auth_pb2.TokenResponse(token=auth_pb2.Token(access_token="t")))
    streams: list[Any] = [[refusal(401, "token expired")], [pb.Message(body=b"x")]]
    daemon.handlers[SUBSCRIBE] = lambda call: streams.pop(0)
    assert user.micro("broker", "subscribe", "news", "-n", "1").out == "x\n"
