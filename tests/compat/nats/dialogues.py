"""Conversations in the protocol of NATS, line by line, and what the server says to them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Largest payload of the servers which are compared.
MAX_PAYLOAD = 65536
#: The longest line of a server that says nothing else.
MAX_LINE = 4096
#: Seconds in which a server has said what it has to say.
PATIENCE = 5.0
_END = b"PING\r\n"


@dataclass(frozen=True)
class Dialogue:
    """A client's part in a conversation.

    @ivar parts: what it writes after CONNECT. Each part is followed by a PING, and its answer is awaited.
    @ivar connect: options of its CONNECT besides the credentials and L{QUIET}; None: it sends none of itself.
    @ivar credentials: whether its CONNECT has them.
    """

    name: str
    parts: Sequence[bytes]
    connect: Mapping[str, Any] | None = field(default_factory=dict)
    credentials: bool = True


def _part(*lines: str | bytes) -> bytes:
    return b"".join((each.encode() if isinstance(each, str) else each) + b"\r\n" for each in lines)


def _each(name: str, *parts: bytes, **connect: Any) -> list[Dialogue]:
    """A conversation for each part, since a server may hang up after it."""
    return [Dialogue(f"{name}: {part[:60]!r}", [part], connect) for part in parts]


HEADER = b"NATS/1.0\r\nA: 1\r\n\r\n"
#: Without these a server is verbose and pedantic.
QUIET = {"verbose": False, "pedantic": False}
LOUD = {"verbose": True}
STRICT = {"pedantic": True}
HEADERS = {"headers": True}


def _hpub(subject: str, header: bytes, body: bytes, reply: str = "") -> bytes:
    words = " ".join(filter(None, (subject, reply)))
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (
        words.encode(),
        len(header),
        len(header) + len(body),
        header,
        body,
    )


DIALOGUES: list[Dialogue] = [
    Dialogue(
        "defaults",
        [_part("SUB a 1"), _part("PUB a 2", "hi"), _part("PUB a.* 1", "x")],
        {"verbose": None, "pedantic": None},
    ),
    Dialogue("quiet", [_part("SUB a 1"), _part("PUB a 2", "hi"), _part("UNSUB 1"), _part("PUB a 2", "hi")]),
    Dialogue("verbose", [_part("SUB a 1"), _part("PUB a 2", "hi"), _part("UNSUB 1"), b"PING\r\n"], LOUD),
    Dialogue("verbose headers", [_part("SUB a 1"), _hpub("a", HEADER, b"hi")], LOUD | HEADERS),
    Dialogue("pedantic", [_part("SUB a 1"), _part("PUB a 2", "hi"), _part("UNSUB 1")], STRICT),
    Dialogue("any case", [_part("sub a 1"), _part("Pub a 2", "hi"), _part("unsub 1"), b"ping\r\n"]),
    Dialogue("tabs and spaces", [_part("SUB\ta\t1"), _part("PUB  a   2", "hi"), _part("PUB\ta \t 2 ", "hi")]),
    Dialogue("line feeds alone", [b"SUB a 1\n", b"PUB a 2\nhi\r\n"]),
    Dialogue("line feed behind payload", [_part("SUB a 1"), b"PUB a 2\r\nhi\n"]),
    Dialogue("empty payload", [_part("SUB a 1", "PUB a 0", "")]),
    Dialogue("queue and reply", [_part("SUB a q 1"), _part("PUB a answer.me 2", "hi")]),
    Dialogue("wildcards", [_part("SUB a.* 1", "SUB a.> 2", "SUB > 3"), _part("PUB a.b 1", "x")]),
    Dialogue(
        "wildcard depth", [_part("SUB a.*.c 1", "SUB a.> 2"), _part("PUB a.b 1", "x", "PUB a.b.c 1", "y")]
    ),
    Dialogue("partial wildcards are literal", [_part("SUB a*.b> 1"), _part("PUB a*.b> 1", "x")]),
    Dialogue(
        "publishing to a wildcard", [_part("SUB a.* 1"), _part("PUB a.* 1", "x"), _part("PUB a.b 1", "y")]
    ),
    Dialogue("echo off", [_part("SUB a 1"), _part("PUB a 2", "hi")], {"echo": False}),
    Dialogue("unsub at once", [_part("SUB a 1", "UNSUB 1", "PUB a 1", "x")]),
    Dialogue("unsub max", [_part("SUB a 1", "UNSUB 1 2"), _part(*["PUB a 1", "x"] * 4)]),
    Dialogue(
        "unsub max of what came",
        [_part("SUB a 1"), _part(*["PUB a 1", "x"] * 3), _part("UNSUB 1 2"), _part("PUB a 1", "y")],
    ),
    Dialogue("unsub max twice", [_part("SUB a 1", "UNSUB 1 5", "UNSUB 1 1"), _part(*["PUB a 1", "x"] * 3)]),
    Dialogue("unsub max taken back", [_part("SUB a 1", "UNSUB 1 2", "UNSUB 1"), _part("PUB a 1", "x")]),
    Dialogue("unsub max 0", [_part("SUB a 1", "UNSUB 1 0"), _part("PUB a 1", "x")]),
    Dialogue("same sid twice", [_part("SUB a 1", "SUB b 1"), _part("PUB a 1", "x", "PUB b 1", "y")]),
    Dialogue("same subject twice", [_part("SUB a 1", "SUB a 2"), _part("PUB a 1", "x")]),
    Dialogue("sid of words", [_part("SUB a one-1_$"), _part("PUB a 1", "x")]),
    Dialogue("unknown sid", [_part("UNSUB 77"), _part("UNSUB 77 3")], LOUD),
    *_each(
        "sub",
        *(
            _part(f"SUB {each}")
            for each in (
                "",
                "a",
                "a b c d",
                ".a 1",
                "a. 1",
                "a..b 1",
                ". 1",
                ">.a 1",
                "a.>.b 1",
                "a b\tc",
                "* 1",
                "> 1",
                "a.* q.* 1",
                "$SYS.> 1",
                "_INBOX.> 1",
            )
        ),
        verbose=True,
    ),
    *_each(
        "unsub",
        *(_part(f"UNSUB {each}") for each in ("", "1 2 3", "1 x", "1 -1", "1 99999999999999999999")),
        verbose=True,
    ),
    *_each(
        "pub",
        *(
            _part(f"PUB {each}", "hi")
            for each in (
                "",
                "a",
                "a b",
                "a -1",
                "a x",
                "a b x",
                "a b c 2",
                "a 99999999999",
                "a 99999999999999999999999",
                "a 1e1",
                "a +2",
                "a 2.0",
                "a 02",
            )
        ),
        verbose=True,
    ),
    *_each(
        "pub size",
        _part("PUB a 3", "hi"),
        _part("PUB a 1", "hi"),
        b"PUB a 2\r\nhixx",
        b"PUB a 2\r\nhi\rx",
        verbose=True,
    ),
    *_each(
        "pub payload",
        _part(f"PUB a {MAX_PAYLOAD}", "x" * MAX_PAYLOAD),
        _part(f"PUB a {MAX_PAYLOAD + 1}", "x" * 20),
        verbose=True,
    ),
    *_each(
        "pub subject",
        *(
            _part(f"PUB {each} 1", "x")
            for each in (".a", "a.", "a..b", ".", "a.>", "*", ">", "a*", "é.ü", "$SYS.x", "a.>.b")
        ),
        verbose=True,
    ),
    *_each(
        "strict pub",
        *(
            _part(f"PUB {each} 1", "x")
            for each in (".a", "a.", "a..b", ".", "a.>", "a.*", "*", ">", "a*", "a", "a b.*", "a ..b")
        ),
        **(STRICT | LOUD),
    ),
    *_each(
        "strict sub",
        *(
            _part(f"SUB {each} 1")
            for each in (".a", "a.", "a..b", ".", "a.>", "a.*", "*", ">", "a*", "a>", ">.b", "a q..x")
        ),
        **(STRICT | LOUD),
    ),
    *_each("strict rest", _part("UNSUB 77"), _part("SUB a 1", "SUB a 1"), **(STRICT | LOUD)),
    *_each(
        "hpub",
        _hpub("a", HEADER, b"hi"),
        _hpub("a", HEADER, b"hi", "answer.me"),
        _hpub("a", HEADER, b""),
        _hpub("a", b"NATS/1.0\r\n\r\n", b"x"),
        _hpub("a", b"NATS/1.0 503\r\n\r\n", b""),
        _hpub("a", b"NATS/1.0\r\nA: 1\r\nA: 2\r\na:3\r\nB:\r\n\r\n", b"x"),
        _hpub("a", b"no header at all", b"x"),
        _hpub("a", b"NATS/1.0\r\nno colon\r\n\r\n", b"x"),
        _hpub("a", b"NATS/1.0\r\nA: 1\r\n", b"x"),
        _hpub("a", b"", b"x"),
        _part("HPUB a 5", "hello"),
        _part("HPUB a"),
        _part("HPUB"),
        _part("HPUB a 12 5", "NATS/1.0", "", ""),
        _part("HPUB a -1 5", "hello"),
        _part("HPUB a x 5", "hello"),
        _part("HPUB a 2 x", "hello"),
        _part("HPUB a 12 -5", "hello"),
        _part("HPUB a b c 12 12", "NATS/1.0", "", ""),
        _part(f"HPUB a 12 {MAX_PAYLOAD + 1}", "NATS/1.0", ""),
        _hpub("a", HEADER, b"x" * (MAX_PAYLOAD - len(HEADER))),
        verbose=True,
        headers=True,
    ),
    Dialogue(
        "headers to a listener",
        [_part("SUB a 1"), _hpub("a", HEADER, b"hi", "answer.me"), _part("PUB a 1", "x")],
        HEADERS,
    ),
    Dialogue(
        "headers of many lines",
        [_part("SUB a 1"), _hpub("a", b"NATS/1.0\r\nA: 1\r\nA: 2\r\na:3\r\nB:\r\n\r\n", b"x")],
        HEADERS,
    ),
    Dialogue("headers switched off", [_part("SUB a 1"), _hpub("a", HEADER, b"hi")], {"headers": False}),
    Dialogue("headers not mentioned", [_part("SUB a 1"), _hpub("a", HEADER, b"hi")], {}),
    Dialogue(
        "nobody answers",
        [_part("SUB _INBOX.x 1"), _part("PUB nobody _INBOX.x 2", "hi")],
        {"headers": True, "no_responders": True},
    ),
    Dialogue(
        "nobody answers, by wildcard",
        [_part("SUB _INBOX.x.* 7"), _part("PUB nobody _INBOX.x.3 0", "")],
        {"headers": True, "no_responders": True},
    ),
    Dialogue(
        "nobody answers and nobody waits",
        [_part("PUB nobody _INBOX.x 2", "hi")],
        {"headers": True, "no_responders": True},
    ),
    Dialogue(
        "nobody answers and nobody asked to be told",
        [_part("SUB _INBOX.x 1"), _part("PUB nobody _INBOX.x 2", "hi")],
        HEADERS,
    ),
    Dialogue("no_responders without headers", [], {"no_responders": True}),
    Dialogue(
        "echo off and nobody else",
        [_part("SUB a 1", "SUB _INBOX.x 2"), _part("PUB a _INBOX.x 2", "hi")],
        {"headers": True, "no_responders": True, "echo": False},
    ),
    *_each(
        "verb",
        *(
            _part(each)
            for each in (
                "FOO",
                "",
                "PUBLISH a 2",
                "SUBS a 1",
                "PI",
                "PINGS",
                "PING now",
                "PONGS",
                "MSG a 1 2",
                "INFO {}",
                "+OK",
                "-ERR 'x'",
                "+",
                "-",
                "\x00\x01\x02",
                "GET / HTTP/1.1",
                "P\tUB a 1",
                " PUB a 1",
            )
        ),
        b"\r",
        b"\n",
        b"PING\n",
        b"PONG\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        verbose=True,
    ),
    *_each(
        "long line",
        _part("SUB " + "a" * (MAX_LINE + 100) + " 1"),
        b"x" * (MAX_LINE * 4),
        _part("PUB " + "a" * (MAX_LINE + 1) + " 1", "x"),
        verbose=True,
    ),
    Dialogue("the longest line", [_part("SUB " + "a" * (MAX_LINE - 20) + " 1")], LOUD),
    Dialogue("no CONNECT: PING", [b"PING\r\n"], None),
    Dialogue("no CONNECT: PONG", [b"PONG\r\n"], None),
    Dialogue("no CONNECT: PUB", [_part("PUB a 2", "hi")], None),
    Dialogue("no CONNECT: SUB", [_part("SUB a 2")], None),
    Dialogue("no CONNECT: UNSUB", [_part("UNSUB 2")], None),
    Dialogue("no CONNECT: nonsense", [_part("FOO")], None),
    *(
        Dialogue(f"CONNECT: {each[:40]}", [_part("CONNECT" + each)], None)
        for each in (
            "",
            " ",
            " {",
            " {}",
            " []",
            " null",
            " 7",
            ' "x"',
            " {'a': 1}",
            ' {"verbose": 1}',
            ' {"user": 7}',
            " x",
            " " + "{" * 2000,
            "\t{}",
            "{}",
        )
    ),
    Dialogue("no credentials", [_part("PUB a 1", "x")], {}, credentials=False),
    Dialogue("a wrong secret", [], {"user": "alice", "pass": "wrong"}, credentials=False),
    Dialogue("an unknown user", [], {"user": "mallory", "pass": "wrong"}, credentials=False),
    Dialogue("a wrong token", [], {"auth_token": "wrong"}, credentials=False),
    Dialogue("no credentials, loud", [], {"verbose": True}, credentials=False),
    Dialogue("a future protocol", [_part("PUB a 1", "x")], {"protocol": 9, "verbose": True}),
    Dialogue("a negative protocol", [_part("PUB a 1", "x")], {"protocol": -1, "verbose": True}),
    Dialogue(
        "fields nobody knows",
        [_part("PUB a 1", "x")],
        {"shoes": "red", "verbose": True, "lang": "x", "version": "1", "name": "n", "tls_required": False},
    ),
]


@dataclass(frozen=True)
class Answer:
    """What the server said to each part, and whether it had hung up by then."""

    said: Sequence[str]
    closed: bool


def converse(address: str, credentials: Mapping[str, str], dialogue: Dialogue) -> Answer:
    """Play a client's part."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        line = _Lines(connection)
        line.until(b"INFO ")
        parts = list(dialogue.parts)
        if dialogue.connect is not None:
            options = {**(credentials if dialogue.credentials else {}), **QUIET, **dialogue.connect}
            options = {name: value for name, value in options.items() if value is not None}
            parts.insert(0, b"CONNECT %s\r\n" % json.dumps(options).encode())
        said: list[str] = []
        for part in parts:
            try:
                connection.sendall(part + _END)
            except OSError:
                break
            said.append(_normal(line.until(b"PONG\r\n")))
            if line.closed:
                break
        return Answer(said, line.closed)


class _Lines:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self.closed = False

    def until(self, mark: bytes) -> bytes:
        """What comes until a line which begins with C{mark}, that line too; or until the server hangs up, or is silent."""
        while True:
            end = 0
            while (end := self._rest.find(b"\n", end) + 1) > 0:
                start = self._rest.rfind(b"\n", 0, end - 1) + 1
                if self._rest[start:end].startswith(mark):
                    said, self._rest = self._rest[:end], self._rest[end:]
                    return said
            try:
                got = self._connection.recv(65536)
            except (TimeoutError, ConnectionError) as problem:
                self.closed = not isinstance(problem, TimeoutError)
                got = b""
                if not self.closed:
                    return self._rest + b"(silence)"
            if not got:
                self.closed = True
                return self._rest
            self._rest += got


_MESSAGES = re.compile(r"(?:MSG [^\n]*\n[^\n]*\n)+")


def _sorted(messages: re.Match[str]) -> str:
    lines = messages[0].split("\n")
    return (
        "\n".join(sorted(f"{one}\n{two}" for one, two in zip(lines[0:-1:2], lines[1::2], strict=True))) + "\n"
    )


def _normal(said: bytes) -> str:
    # Subscriptions that a message matches get it in any order.
    text = _MESSAGES.sub(_sorted, said.decode("utf-8", "replace"))
    # What a server tells of itself is compared elsewhere.
    text = re.sub(r"INFO \{.*\}", "INFO {}", text)
    return re.sub(r"x{100,}", "x...", text)
