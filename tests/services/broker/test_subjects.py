"""What a NATS subject is, and what a pattern."""

from __future__ import annotations

import pytest

from microd.services.broker.subjects import is_pattern, is_subject, is_wild


@pytest.mark.parametrize(
    "text",
    [b"a", b"a.b", b"$x", b"_INBOX.a.1", b"a*", b"a*b", b"a>b.c", b"\xff.\xc3\xa4", b"a\x00b", b"a\x0bb"],
)
def test_subjects(text: bytes) -> None:
    """Anything but blanks, line ends and empty tokens; stars within a token are nothing special, as nats-server has it."""
    assert is_subject(text)
    assert is_pattern(text)
    assert not is_wild(text)


@pytest.mark.parametrize("text", [b"*", b">", b"a.*", b"*.a", b"a.*.b", b"a.>", b"*.>"])
def test_patterns(text: bytes) -> None:
    """A star is one token, and C{>} the rest; nobody publishes to them."""
    assert is_pattern(text)
    assert is_wild(text)
    assert not is_subject(text)


@pytest.mark.parametrize(
    "text", [b"", b".", b".a", b"a.", b"a..b", b"a b", b"a\tb", b"a\r", b"a\nb", b">.a", b"a.>.b"]
)
def test_neither(text: bytes) -> None:
    """Empty tokens, blanks, line ends, and a C{>} which is not the last."""
    assert not is_pattern(text)
    assert not is_subject(text)
