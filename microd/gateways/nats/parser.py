"""The lines of the NATS client protocol, as nats-server 2.9.10 reads them. Pure: no I/O, no state.

Found out by talking to it: verbs in any case; blanks and tabs, any number, between arguments; a line may end with C{\\n}
alone, a payload may not; a size has at most nine digits and may begin with zeros, which subscribers are shown; what stands behind
C{PING}, C{PONG}, C{+OK} is of no account. It says C{Unknown Protocol Operation} for what is no verb; bad arguments close the connection without a word there, and with
C{Parser Error} here.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from microd.gateways.nats.model import Connect

UNKNOWN = "Unknown Protocol Operation"
BAD_ARGUMENTS = "Parser Error"
LONG_LINE = "maximum control line exceeded"
LARGE = "Maximum Payload Violation"
UNFINISHED = "too many unfinished messages"
NO_HEADERS = "message headers not supported"

_DIGITS = 9
_BLANKS = re.compile(rb"[ \t\r]+")


class ProtocolError(Exception):
    """What was sent is against the protocol; the connection ends with this text."""


class Publication(NamedTuple):
    """The line before a message.

    @ivar headers: bytes of headers; -1: it is a C{PUB}.
    @ivar size: bytes altogether.
    @ivar sizes: the numbers as they were written.
    """

    subject: bytes
    reply: bytes
    headers: int
    size: int
    sizes: bytes


def words(line: bytes) -> list[bytes]:
    """The words of a line, the verb first."""
    return _BLANKS.sub(b" ", line).strip(b" ").split(b" ")


def require_short(line: bytes, most: int) -> None:
    """Let a line pass with so many bytes behind its verb.

    @raise ProtocolError: there are more.
    """
    if len(line) > most:
        behind = len(line) - line.replace(b"\t", b" ").find(b" ") - 1 - line.endswith(b"\r")
        if behind > most:
            raise ProtocolError(LONG_LINE)


def is_connect(line: bytes) -> bool:
    """Whether a line begins with C{CONNECT}."""
    return line[:8].upper() in (b"CONNECT ", b"CONNECT\t")


def is_unsub(line: bytes) -> bool:
    """Whether a line begins with C{UNSUB}."""
    return line[:6].upper() in (b"UNSUB ", b"UNSUB\t")


def is_publication(line: bytes) -> bool:
    """Whether a line begins with C{PUB} or C{HPUB}."""
    return line[:4].upper() in (b"PUB ", b"PUB\t") or line[:5].upper() in (b"HPUB ", b"HPUB\t")


def is_info(line: bytes) -> bool:
    """Whether a line begins with C{INFO}."""
    return line[:5].upper() in (b"INFO ", b"INFO\t")


def size_from(text: bytes) -> int:
    """A size.

    @raise ProtocolError: it is none.
    """
    if len(text) > _DIGITS or not text.isdigit():
        raise ProtocolError(BAD_ARGUMENTS)
    return int(text)


def publication(words: list[bytes], headers: bool) -> Publication:
    """What a C{PUB} or, with C{headers}, C{HPUB} says.

    @param words: the line's words, the verb first.
    @raise ProtocolError: it says something else.
    """
    sizes = 2 if headers else 1
    named = len(words) - 1 - sizes
    if named not in (1, 2):
        raise ProtocolError(BAD_ARGUMENTS)
    size = size_from(words[-1])
    ahead = size_from(words[-2]) if headers else -1
    if ahead > size:
        raise ProtocolError(BAD_ARGUMENTS)
    reply = words[2] if named == 2 else b""
    return Publication(words[1], reply, ahead, size, b" ".join(words[-sizes:]))


def subscription(words: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Subject, queue and id of a C{SUB}.

    @raise ProtocolError: it says something else.
    """
    if len(words) == 3:
        return words[1], b"", words[2]
    if len(words) == 4:
        return words[1], words[2], words[3]
    raise ProtocolError(BAD_ARGUMENTS)


def unsubscription(words: list[bytes]) -> tuple[bytes, int]:
    """Id and most messages of an C{UNSUB}; 0: at once, as for a number that is none.

    @raise ProtocolError: it says something else.
    """
    if len(words) == 2:
        return words[1], 0
    if len(words) == 3:
        most = words[2]
        return words[1], int(most) if most.isdigit() and len(most) <= _DIGITS else 0
    raise ProtocolError(BAD_ARGUMENTS)


_FIELDS = {
    "verbose": ("verbose", bool),
    "pedantic": ("pedantic", bool),
    "tls_required": ("tls_required", bool),
    "auth_token": ("token", str),
    "jwt": ("jwt", str),
    "user": ("user", str),
    "pass": ("password", str),
    "name": ("name", str),
    "lang": ("lang", str),
    "version": ("version", str),
    "protocol": ("protocol", int),
    "echo": ("echo", bool),
    "headers": ("headers", bool),
    "no_responders": ("no_responders", bool),
}


def connect(text: bytes) -> Connect:
    """What a C{CONNECT} says. Names are read in any case; those which are not known are passed over.

    @param text: what stands behind the verb.
    @raise ProtocolError: it is no JSON object, or a value is of the wrong type.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError(BAD_ARGUMENTS) from None
    if said is None:
        return Connect()
    if not isinstance(said, dict):
        raise ProtocolError(BAD_ARGUMENTS)
    found: dict[str, object] = {}
    for name, value in said.items():
        field = _FIELDS.get(name.lower())
        if field is None or value is None:
            continue
        if type(value) is not field[1]:
            raise ProtocolError(BAD_ARGUMENTS)
        found[field[0]] = value
    return Connect(**found)  # type: ignore[arg-type]
