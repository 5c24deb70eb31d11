"""Headers as a map and as a block."""

from __future__ import annotations

from microd.services.broker.headers import block_from, map_from
from microd.services.broker.model import Message


def test_block() -> None:
    """A map becomes a block with its names as they are."""
    assert block_from({"Content-Type": "text/plain", "x-ä": "ü"}) == (
        "NATS/1.0\r\nContent-Type: text/plain\r\nx-ä: ü\r\n\r\n".encode()
    )
    assert block_from({}) == b""


def test_no_injection() -> None:
    """What would be taken for two lines, or for another name, is left out."""
    assert (
        block_from({"a": "1\r\nb: 2", "c\n": "3", "d:e": "4", "": "5", "f": "6"})
        == b"NATS/1.0\r\nf: 6\r\n\r\n"
    )


def test_map() -> None:
    """A block becomes a map; of names that come twice the first value stays."""
    assert map_from(b"NATS/1.0\r\nA: 1\r\nA: 2\r\nb:3\r\n\r\n") == {"A": "1", "b": "3"}


def test_status() -> None:
    """A status is shown as clients of NATS show it."""
    assert map_from(b"NATS/1.0 503\r\n\r\n") == {"Status": "503"}
    assert map_from(b"NATS/1.0 503 No Responders\r\nA: 1\r\n\r\n") == {
        "Status": "503",
        "Description": "No Responders",
        "A": "1",
    }


def test_no_block() -> None:
    """Whatever else a publisher calls headers is an empty map, and breaks nothing."""
    for block in (
        b"",
        b"abc",
        b"HTTP/1.1 200",
        b"NATS/1.0",
        b"NATS/1.0\r\nno colon\r\n: no name\r\n",
        b"NATS/1.0\r\n\xff: \xfe\r\n\r\n",
    ):
        assert all(isinstance(value, str) for value in map_from(block).values())
    assert map_from(b"abc") == {}


def test_message() -> None:
    """A message is made into the other form when somebody asks, and stays the same."""
    theirs = Message(None, b"x", "inbox", b"NATS/1.0\r\nA: 1\r\n\r\n")
    assert theirs.header == {"A": "1"}
    assert theirs.block == b"NATS/1.0\r\nA: 1\r\n\r\n"
    ours = Message({"A": "1"}, b"x")
    assert ours.block == b"NATS/1.0\r\nA: 1\r\n\r\n"
    assert (ours.reply, theirs.reply) == ("", "inbox")
    assert Message().block == b""
    assert Message(None, b"", "", b"").header == {}
