"""`micro config`."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from microd.wire import config_pb2 as pb

from .conftest import Daemon, User

GET, SET, DELETE = "/config.Config/Get", "/config.Config/Set", "/config.Config/Delete"
WATCH, HISTORY, ROLLBACK = "/config.Config/Watch", "/config.Config/History", "/config.Config/Rollback"


def _sent(daemon: Daemon, *words: str, user: User) -> pb.SetRequest:
    daemon.answers(SET, pb.SetResponse(version=3))
    got = user.micro("config", "set", *words)
    assert (got.code, got.out, got.err) == (0, "", "")
    return pb.SetRequest.FromString(daemon.asked(SET)[-1].body)


@pytest.mark.parametrize(
    ("words", "data"),
    [
        (("val1",), '"val1"'),
        (("12",), "12"),
        (("-12",), "-12"),
        (("1.50",), "1.50"),
        (("true",), "true"),
        (('{"a":', "1}"), '{"a": 1}'),
        (('say "hi"',), '"say \\"hi\\""'),
        (("<ü> & \\",), '"<ü> & \\\\"'),
        (("two", "words"), '"two words"'),
        (("NaN",), '"NaN"'),
        (("",), '""'),
    ],
)
def test_set(user: User, daemon: Daemon, words: tuple[str, ...], data: str) -> None:
    """What is JSON is sent as it stands, anything else as a string; nothing is printed."""
    sent = _sent(daemon, "a.b", *words, user=user)
    assert (sent.namespace, sent.path, sent.value.data, sent.options.secret) == ("micro", "a.b", data, False)


def test_set_flags(user: User, daemon: Daemon) -> None:
    """Secrets and conditions are flags, wherever they stand."""
    sent = _sent(daemon, "--secret", "a", "x", "--if-version=4", "--namespace=foo", user=user)
    assert (sent.options.secret, sent.if_version, sent.namespace, sent.replace) == (True, 4, "foo", False)
    assert _sent(daemon, "a", "{}", "--replace", user=user).replace
    assert _sent(daemon, "a", "x", "-s", user=user).options.secret


def test_set_from_input(user: User, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value may come on standard input, where no list of processes shows it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\n"))
    assert _sent(daemon, "a", "-", "-s", user=user).value.data == '"s3cret"'


@pytest.mark.parametrize("words", [("set",), ("set", "a"), ("del",)])
def test_missing_words(user: User, daemon: Daemon, words: tuple[str, ...]) -> None:
    """A forgotten argument is said, and nothing is asked."""
    got = user.micro("config", *words)
    assert got.code == 1
    assert got.err.startswith("Missing path")
    assert daemon.calls == []


def test_plain(user: User, daemon: Daemon) -> None:
    """That a secret's place is to hold no secret is said in so many words, and not along with the opposite."""
    assert not _sent(daemon, "a", "x", user=user).plain
    assert _sent(daemon, "a", "x", "--plain", user=user).plain
    got = user.micro("config", "set", "a", "x", "--secret", "--plain")
    assert (got.code, got.err) == (1, "--secret and --plain exclude each other. Choose one of them.\n")
    assert len(daemon.asked(SET)) == 2


def test_mistyped_flag(user: User, daemon: Daemon) -> None:
    """A mistyped flag is no value."""
    got = user.micro("config", "set", "a", "x", "--secrte")
    assert (got.code, daemon.calls) == (1, [])
    assert "--secrte" in got.err


@pytest.mark.parametrize(
    ("data", "printed"),
    [('"val1"', "val1"), ('"a \\"b\\" <ü>"', 'a "b" <ü>'), ('{"a":1.50}', '{"a":1.50}'), ("42", "42")],
)
def test_get(user: User, daemon: Daemon, data: str, printed: str) -> None:
    """A string is printed as it is, other values as JSON."""
    daemon.answers(GET, pb.GetResponse(value=pb.Value(data=data)))
    got = user.micro("config", "get", "a", "-s", "--version", "3")
    assert (got.code, got.out, got.err) == (0, f"{printed}\n", "")
    sent = pb.GetRequest.FromString(daemon.asked(GET)[0].body)
    assert (sent.namespace, sent.path, sent.options.secret, sent.version) == ("micro", "a", True, 3)
    assert user.micro("config", "get", "a", "--json").out == f"{data}\n"


@pytest.mark.parametrize("words", [(), ("--all",), ("a", "--all")])
def test_get_all(user: User, daemon: Daemon, words: tuple[str, ...]) -> None:
    """With no key, or with --all, it is the whole configuration."""
    daemon.answers(GET, pb.GetResponse(value=pb.Value(data='{"a":1}')))
    assert user.micro("config", "get", *words).out == '{"a":1}\n'
    assert pb.GetRequest.FromString(daemon.asked(GET)[0].body).path == ""


def test_not_found(user: User, daemon: Daemon) -> None:
    """Nothing there is `Not found` with exit code 1; a namespace with no configuration at all, with 127."""
    for data in ("null", ""):
        daemon.answers(GET, pb.GetResponse(value=pb.Value(data=data)))
        got = user.micro("config", "get", "a")
        assert (got.code, got.err) == (1, "Not found\n")
    daemon.refuses(GET, 404, "Not found")
    got = user.micro("config", "get", "a")
    assert (got.code, got.err) == (127, "Not found\n")


def test_delete(user: User, daemon: Daemon) -> None:
    """Deleting prints nothing."""
    daemon.answers(DELETE, pb.DeleteResponse(version=2))
    got = user.micro("config", "del", "a.b", "--if-version=1")
    assert (got.code, got.out, got.err) == (0, "", "")
    sent = pb.DeleteRequest.FromString(daemon.asked(DELETE)[0].body)
    assert (sent.namespace, sent.path, sent.if_version) == ("micro", "a.b", 1)


def test_unknown(user: User) -> None:
    """A subcommand that is none is said in the words of the reference."""
    got = user.micro("config", "asdasd")
    assert got.code == 1
    assert "Unrecognized subcommand for micro config: asdasd" in got.err


def _watched() -> list[pb.WatchResponse]:
    return [
        pb.WatchResponse(value=pb.Value(data='"one"'), version=1),
        pb.WatchResponse(value=pb.Value(data="null"), version=2, deleted=True),
        pb.WatchResponse(value=pb.Value(data="2.0"), version=3),
    ]


def test_watch(user: User, daemon: Daemon) -> None:
    """Each value is a line, and so is its absence."""
    daemon.answers(WATCH, _watched())
    assert user.micro("config", "watch", "a", "-s").out == "one\n(nothing)\n2.0\n"
    sent = pb.WatchRequest.FromString(daemon.asked(WATCH)[0].body)
    assert (sent.path, sent.options.secret) == ("a", True)
    assert user.micro("config", "watch", "a", "--count=1").out == "one\n"


def test_watch_json(user: User, daemon: Daemon) -> None:
    """In JSON each is an object on one line, numbers as they are written."""
    daemon.answers(WATCH, _watched())
    assert user.micro("config", "watch", "a", "--json").out.splitlines() == [
        '{"version":1,"deleted":false,"value":"one"}',
        '{"version":2,"deleted":true,"value":null}',
        '{"version":3,"deleted":false,"value":2.0}',
    ]


@pytest.fixture
def versions(daemon: Daemon) -> Any:
    """Two versions, and older ones."""
    value = pb.Value
    reply = pb.HistoryResponse(
        versions=[
            pb.Version(
                number=9,
                time=1_700_000_060,
                account="jane",
                issuer="foo",
                action="rollback",
                target=4,
                differences=[
                    pb.Difference(path="a.b", before=value(data="1"), after=value(data='"two"')),
                    pb.Difference(path="c", before=value(data="[" + "1," * 50 + "1]")),
                ],
            ),
            pb.Version(number=8, time=1_700_000_000, account="admin", issuer="micro", action="set", path="a"),
        ],
        more=True,
    )
    daemon.answers(HISTORY, reply)
    return reply


def test_history(user: User, daemon: Daemon, versions: Any) -> None:
    """Who, when, what: a line for each place that changed; and how to see what is older."""
    got = user.micro("config", "history", "a", "--limit=2", "--before=10")
    assert got.out == (
        "VERSION   TIME                   ACCOUNT       ACTION       CHANGES\n"
        '9         2023-11-14T22:14:20Z   foo/jane      rollback 4   a.b: 1 -> "two"\n'
        f"{'':60}c: [{'1,' * 28}... -> nothing\n"
        "8         2023-11-14T22:13:20Z   micro/admin   set          nothing\n"
    )
    assert got.err == "There are older ones: add --before 8\n"
    sent = pb.HistoryRequest.FromString(daemon.asked(HISTORY)[0].body)
    assert (sent.path, sent.limit, sent.before, sent.options.secret) == ("a", 2, 10, False)


def test_history_json(user: User, versions: Any) -> None:
    """In JSON it is complete."""
    first, second = user.micro("config", "history", "--json").json
    assert (first["version"], first["account"], first["target"]) == (9, "jane", 4)
    assert first["changes"][0] == {"path": "a.b", "before": 1, "after": "two"}
    assert "after" not in first["changes"][1]
    assert (second["action"], second["changes"]) == ("set", [])


def test_rollback(user: User, daemon: Daemon) -> None:
    """Going back says which version that made."""
    daemon.answers(ROLLBACK, pb.RollbackResponse(version=7))
    assert user.micro("config", "rollback", "3").out == "Version 7 is what version 3 was.\n"
    assert pb.RollbackRequest.FromString(daemon.asked(ROLLBACK)[0].body).version == 3
    assert user.micro("config", "rollback", "3", "--json").json == {"version": 7}
    assert user.micro("config", "rollback", "x").code == 1
