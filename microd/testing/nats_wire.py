"""The NATS client protocol by the octet, as a client speaks and hears it.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_END = b"\r\n"


@dataclass(frozen=True, slots=True)
class Heard:
    """One operation of a server.

    @ivar verb: C{INFO}, C{MSG}, C{HMSG}, C{PING}, C{PONG}, C{+OK} or C{-ERR}.
    @ivar rest: what stands behind the verb; for C{-ERR} the text without its quotes.
    @ivar header: the header block of C{HMSG}, with its version line.
    """

    verb: str
    rest: str = ""
    header: bytes = b""
    payload: bytes = b""

    @property
    def subject(self) -> str:
        """The subject of a message."""
        return self.rest.split()[0]

    @property
    def sid(self) -> str:
        """The subscription which a message is for."""
        return self.rest.split()[1]

    @property
    def reply(self) -> str:
        """Where an answer is expected; empty for nowhere."""
        words = self.rest.split()
        return words[2] if len(words) == (5 if self.verb == "HMSG" else 4) else ""

    @property
    def info(self) -> dict[str, Any]:
        """What C{INFO} says."""
        said: dict[str, Any] = json.loads(self.rest)
        return said


class Ear:
    """Cuts what a server says into operations, however it is split."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Octets of an operation which is not complete."""
        return len(self._held)

    def feed(self, octets: bytes) -> list[Heard]:
        """The operations that are complete now.

        @raise ValueError: no server may say that.
        """
        self._held += octets
        heard: list[Heard] = []
        at = 0
        while (end := self._held.find(_END, at)) >= 0:
            after, operation = self._operation(end, bytes(self._held[at:end]))
            if operation is None:
                break
            heard.append(operation)
            at = after
        del self._held[:at]
        return heard

    def _operation(self, end: int, line: bytes) -> tuple[int, Heard | None]:
        """Where the next begins, and the operation of this line; None until its payload is here."""
        verb, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
        after = end + len(_END)
        if verb in ("MSG", "HMSG"):
            words = rest.split()
            size = int(words[-1])
            header = int(words[-2]) if verb == "HMSG" else 0
            if len(self._held) < after + size + len(_END):
                return after, None
            block = bytes(self._held[after : after + size])
            after += size
            if self._held[after : after + len(_END)] != _END:
                raise ValueError(f"the payload of {line!r} has another size")
            return after + len(_END), Heard(verb, rest, block[:header], block[header:])
        if verb == "-ERR":
            return after, Heard(verb, rest.strip().strip("'"))
        if verb in ("INFO", "PING", "PONG", "+OK"):
            return after, Heard(verb, rest)
        raise ValueError(f"a server may not say {line[:80]!r}")


def connect(**options: object) -> bytes:
    """C{CONNECT}; quiet, and with all that a modern client can do, unless said otherwise."""
    modern = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1}
    said = {**modern, "lang": "raw", "version": "1", **options}
    return b"CONNECT " + json.dumps(said).encode() + _END


def pub(subject: str | bytes, payload: bytes = b"", reply: str = "", size: int | None = None) -> bytes:
    """C{PUB}.

    @param size: what it says of its payload, where that is a lie.
    """
    words = [b"PUB", _octets(subject), *([reply.encode()] if reply else [])]
    words.append(b"%d" % (len(payload) if size is None else size))
    return b" ".join(words) + _END + payload + _END


def hpub(
    subject: str | bytes,
    header: bytes,
    payload: bytes = b"",
    reply: str = "",
    size: tuple[int, int] | None = None,
) -> bytes:
    """C{HPUB}.

    @param header: the block, with its version line and the empty line at its end.
    @param size: what it says of its header and of all, where that is a lie.
    """
    block, all_of_it = size or (len(header), len(header) + len(payload))
    words = [b"HPUB", _octets(subject), *([reply.encode()] if reply else []), b"%d %d" % (block, all_of_it)]
    return b" ".join(words) + _END + header + payload + _END


def sub(subject: str | bytes, sid: int | str, queue: str = "") -> bytes:
    """C{SUB}."""
    words = [b"SUB", _octets(subject), *([queue.encode()] if queue else []), str(sid).encode()]
    return b" ".join(words) + _END


def unsub(sid: int | str, most: int | None = None) -> bytes:
    """C{UNSUB}; with C{most} once so many messages have come."""
    return b"UNSUB %s" % str(sid).encode() + (b"" if most is None else b" %d" % most) + _END


PING, PONG = b"PING\r\n", b"PONG\r\n"


def headers(**lines: str) -> bytes:
    """A header block."""
    return b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items()) + _END


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
