"""What a NATS subject is, and which subjects a pattern means. Pure.

Tokens stand between dots; in a pattern C{*} means any one token, and C{>}, which can only be the last, one or more. There
are no empty tokens, no blanks and no line ends. Everything else is allowed, as nats-server 2.9 has it. A topic of the gRPC
API may be anything; one that is no subject is only a name, and no protocol of NATS can speak of it.
"""

from __future__ import annotations

import re

_SUBJECT = re.compile(rb"[^. \t\r\n]+(?:\.[^. \t\r\n]+)*")
#: A wildcard is a token of its own; elsewhere C{*} and C{>} are ordinary bytes.
_WILD = re.compile(rb"(?:^|\.)[*>](?:\.|$)")

#: Tokens of a pattern with wildcards; each costs memory. Patterns without have no such limit.
MOST_TOKENS = 64


def is_pattern(text: bytes) -> bool:
    """Whether one can subscribe to it in NATS."""
    if _SUBJECT.fullmatch(text) is None:
        return False
    return b">." not in text or b">" not in text.split(b".")[:-1]


def is_wild(text: bytes) -> bool:
    """Whether a pattern has wildcards, and so means more than itself."""
    return (b"*" in text or b">" in text) and _WILD.search(text) is not None


def is_subject(text: bytes) -> bool:
    """Whether one can publish to it in NATS: no wildcards."""
    return _SUBJECT.fullmatch(text) is not None and not is_wild(text)
