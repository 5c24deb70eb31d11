"""What goes along with a message, and what a message may be."""

from __future__ import annotations

import pytest

from microd.kernel.errors import BadRequest, TooLarge
from microd.services.broker import rules
from microd.services.broker.model import Limits

LIMITS = Limits(message=1000, headers=2, header_size=100)


def test_metadata_in_title_case() -> None:
    """Headers of the publisher's request join those of the message, in title case."""
    metadata = {"traceparent": "00-1", "micro-trace-id": "t", "x-shop": "7", "x-author": "ann"}
    assert rules.header_from({"Micro-Topic": "x"}, metadata) == {
        "Micro-Topic": "x",
        "Traceparent": "00-1",
        "Micro-Trace-Id": "t",
        "X-Shop": "7",
        "X-Author": "ann",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"),
        *(
            "micro-token",
            "x-amz-security-token",
            "x-csrf-token",
            "client-secret",
            "x-authorization",
            "x-session-id",
        ),
        *("micro-namespace", "micro-lease", "micro-hops", "micro-router", "micro-gateway", "remote"),
        *("user-agent", "content-type", "te", "timeout", "x-content-type", "grpc-timeout", "grpc-encoding"),
        *(":authority", "host", "x-forwarded-for", "forwarded", "trace-bin", "x" * 129),
    ],
)
def test_goes_no_further(name: str) -> None:
    """Credentials, and what concerns the connection or the hop, are never shown to subscribers."""
    assert rules.header_from({}, {name: "value"}) == {}


def test_message_wins() -> None:
    """What the message says itself stays, however it is spelt."""
    assert rules.header_from({"x-shop": "1"}, {"x-shop": "2"}) == {"x-shop": "1"}
    assert rules.header_from({"X-SHOP": "1"}, {"x-shop": "2"}) == {"X-SHOP": "1"}


def test_sizes() -> None:
    """A message over a limit is refused with the limit."""
    rules.require_size({"a": "b", "c": "d"}, b"x" * 996, LIMITS)
    with pytest.raises(TooLarge, match=r"1001 bytes, and may have 1000 \(broker.max_message\)"):
        rules.require_size({"a": "b", "c": "d"}, b"x" * 997, LIMITS)
    with pytest.raises(TooLarge, match="headers are larger than 100 bytes"):
        rules.require_size({"a": "b" * 100}, b"", LIMITS)
    with pytest.raises(BadRequest, match="at most 2 headers"):
        rules.require_size({"a": "", "b": "", "c": ""}, b"", LIMITS)


@pytest.mark.parametrize("topic", ["x" * 256, "\u00e4" * 200, "a\nb", "\0"])
def test_no_topic(topic: str) -> None:
    """A topic is short, and has no control characters."""
    with pytest.raises(BadRequest, match="the topic"):
        rules.require_topic(topic, LIMITS)
    with pytest.raises(BadRequest, match="the queue"):
        rules.require_queue(topic, LIMITS)


def test_topics_are_free() -> None:
    """A topic may have slashes, spaces, stars and any script: it is only a name."""
    for topic in ("a/b", "a b", "*", "a.>", "\u00e4", "../x"):
        assert rules.require_topic(topic, LIMITS) == topic


@pytest.mark.parametrize("header", [{"a": "1\r\nb: 2"}, {"a": "1\n"}, {"a\r": "1"}, {"a\nb": "1"}])
def test_line_breaks(header: dict[str, str]) -> None:
    """A header with a line break is refused: subscribers of NATS would take it for two."""
    with pytest.raises(BadRequest, match="line break"):
        rules.require_size(header, b"", LIMITS)
