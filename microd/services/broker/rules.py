"""What a message may say, and what of a publisher's request goes along with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from microd.kernel.errors import BadRequest, TooLarge, Unavailable
from microd.kernel.names import require_text
from microd.services.broker.model import Limits

#: What belongs to the connection, to HTTP, to gRPC or to a hop of the platform (spec micro-v3-server 2.4).
_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("host", "content-type", "content-length", "content-encoding", "accept", "accept-encoding"),
        *("accept-language", "expect", "user-agent", "timeout", "x-content-type", "remote", "method", "url"),
        *("origin", "referer", "priority", "dnt", "forwarded", "via", "x-real-ip", "pragma", "cache-control"),
        *("micro-namespace", "micro-lease", "micro-hops", "micro-router", "micro-gateway", "micro-network"),
        *("micro-database", "micro-table", "micro-from-service", "micro-method", "micro-endpoint"),
    )
)
_HOP_PREFIXES = (":", "grpc-", "sec-", "x-forwarded-", "access-control-", "if-", "cf-")
#: Whatever opens a door. Defect 11.4 of the reference: subscribers there are given the publisher's token.
_CREDENTIAL = re.compile(
    r"auth(?!ors?\b)|cookie|token|secret|passw|credential|api-?key|session|signature|csrf"
)


def require_topic(topic: str, limits: Limits) -> str:
    """Let a topic pass.

    @raise BadRequest: it is missing, too long, or has control characters in it.
    """
    if not topic:
        raise BadRequest("Missing topic")
    return require_text("the topic", topic, limits.topic)


def require_queue(queue: str, limits: Limits) -> str:
    """Let the name of a queue pass; none is fine."""
    return require_text("the queue", queue, limits.topic) if queue else ""


def require_size(header: Mapping[str, str], body: bytes, limits: Limits) -> None:
    """Let a message pass.

    @raise BadRequest: it has too many headers, or one with a line break, which subscribers of NATS would take for two.
    @raise TooLarge: its headers, or all of it, are over the limit.
    """
    if len(header) > limits.headers:
        raise BadRequest(f"a message may have at most {limits.headers} headers")
    said = 0
    for name, value in header.items():
        said += len(name) + len(value)
        if "\n" in value or "\r" in value or "\n" in name or "\r" in name:
            raise BadRequest(f"the message's header {name!r} has a line break in it")
    if said > limits.header_size:
        raise TooLarge(f"the message's headers are larger than {limits.header_size} bytes")
    if said + len(body) > limits.message:
        raise TooLarge(
            f"the message has {said + len(body)} bytes, and may have {limits.message} (broker.max_message)"
        )


def weight(pattern: bytes) -> int:
    """What a subscription counts for: one, and one more for every 256 bytes of its pattern."""
    return 1 + (len(pattern) >> 8)


def require_room(weight: int, namespace: str, limits: Limits) -> None:
    """Let a subscription pass.

    @raise Unavailable: the namespace has as many as it may.
    """
    if weight >= limits.subscriptions:
        raise Unavailable(
            f"the namespace {namespace} has {limits.subscriptions} subscriptions, and may have no more "
            "(broker.max_subscriptions)"
        )


def header_from(said: Mapping[str, str], metadata: Mapping[str, str]) -> dict[str, str]:
    """The headers which subscribers get: the message's own, and those of the publisher's request that may go along.

    @param metadata: names in lower case.
    """
    header = dict(said)
    taken: frozenset[str] | None = None
    for name, value in metadata.items():
        title = heading(name)
        if title is not None and title not in header:
            if taken is None:
                taken = frozenset(each.lower() for each in said)
            if name not in taken:
                header[title] = value
    return header


@lru_cache(maxsize=1024)
def heading(name: str) -> str | None:
    """A request header as a message has it, C{Micro-Trace-Id}; None for one that goes no further."""
    if name in _HOP or name.startswith(_HOP_PREFIXES) or name.endswith("-bin") or len(name) > 128:
        return None
    if _CREDENTIAL.search(name) is not None:
        return None
    return "-".join(part[:1].upper() + part[1:] for part in name.split("-"))
