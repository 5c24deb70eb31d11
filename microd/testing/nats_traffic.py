"""Traffic of NATS clients, and what may become of it: the same seed makes the same traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from microd.testing import nats_wire as wire

_TOKENS = ("a", "b", "c", "orders", "eu", "x-1", "_INBOX", "$x", "ä")
_SPACES = (b" ", b" ", b" ", b"  ", b"\t", b" \t ")
#: What is put in by a mutation: octets which mean something somewhere.
_WORDS = (
    *(b"\r\n", b"\r", b"\n", b" ", b"\t", b"\0", b"\xff", b"0", b"-1", b"99999999999999999999", b"{", b"}"),
    *(
        b"PUB ",
        b"HPUB ",
        b"SUB ",
        b"UNSUB ",
        b"CONNECT {",
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'x'\r\n",
    ),
    *(b"*", b">", b".", b"..", b"NATS/1.0\r\n\r\n", b"INFO {}\r\n", b"MSG a 1 1\r\nx\r\n"),
)


class Traffic:
    """What one legal client might say.

    @ivar sids: the subscriptions which it has asked for.
    """

    def __init__(self, seed: int, *, most: int = 200) -> None:
        """@param most: octets of a payload."""
        self.random = Random(seed)
        self.sids: list[int] = []
        self._most = most
        self._count = 0
        self._makers: Sequence[Callable[[], bytes]] = (
            *([self.publish] * 6),
            *([self.publish_with_headers] * 3),
            *([self.subscribe] * 3),
            self.unsubscribe,
            lambda: self._line(b"PING"),
            lambda: self._line(b"PONG"),
        )

    def operations(self, count: int) -> list[bytes]:
        """So many operations; every payload among them is another one."""
        return [self.random.choice(self._makers)() for _ in range(count)]

    def subject(self, *, wild: bool = False) -> str:
        """A subject; with C{wild} perhaps one that stands for many."""
        tokens = [self.random.choice(_TOKENS) for _ in range(self.random.randint(1, 4))]
        if wild and self.random.random() < 0.5:
            tokens[self.random.randrange(len(tokens))] = "*"
            if self.random.random() < 0.4:
                tokens[-1] = ">"
        return ".".join(tokens)

    def publish(self) -> bytes:
        payload = self._payload()
        return self._line(b"PUB", *self._whither(), b"%d" % len(payload)) + payload + b"\r\n"

    def publish_with_headers(self) -> bytes:
        payload, block = self._payload(), wire.headers(**self._header_lines())
        sizes = (b"%d" % len(block), b"%d" % (len(block) + len(payload)))
        return self._line(b"HPUB", *self._whither(), *sizes) + block + payload + b"\r\n"

    def subscribe(self) -> bytes:
        """A subscription; one that shares a queue is the only one of its queue."""
        sid = len(self.sids) + 1
        self.sids.append(sid)
        queue = [b"queue-%d" % sid] if self.random.random() < 0.3 else []
        return self._line(b"SUB", self.subject(wild=True).encode(), *queue, b"%d" % sid)

    def unsubscribe(self) -> bytes:
        sid = self.random.choice(self.sids) if self.sids else 1
        most = [b"%d" % self.random.randint(1, 9)] if self.random.random() < 0.5 else []
        return self._line(b"UNSUB", b"%d" % sid, *most)

    def _whither(self) -> list[bytes]:
        reply = [self.subject().encode()] if self.random.random() < 0.3 else []
        return [self.subject().encode(), *reply]

    def _payload(self) -> bytes:
        """Octets which look like anything, the protocol's own words included; its beginning is unique."""
        self._count += 1
        kind = self.random.random()
        if kind < 0.3:
            rest = b"".join(self.random.choices(_WORDS, k=4))
        else:
            rest = self.random.randbytes(self.random.randint(0, 20 if kind < 0.9 else self._most))
        return b"%d:" % self._count + rest

    def _header_lines(self) -> dict[str, str]:
        lines = self.random.randint(0, 3)
        return {f"X-{number}": self.random.choice(("", "one", "a: b", "ä", " ")) for number in range(lines)}

    def _line(self, verb: bytes, *words: bytes) -> bytes:
        """A control line, in whatever case, with whatever spaces."""
        if self.random.random() < 0.2:
            verb = self.random.choice((verb.lower(), verb.title()))
        return verb + b"".join(self.random.choice(_SPACES) + word for word in words) + b"\r\n"


def pieces(random: Random, octets: bytes, most: int = 40) -> list[bytes]:
    """The octets in pieces of 1 to C{most}; most of the pieces are short, and some of them long."""
    cut: list[bytes] = []
    at = 0
    while at < len(octets):
        size = random.randint(1, random.choice((1, 3, most, most * 20)))
        cut.append(octets[at : at + size])
        at += size
    return cut


def mutated(random: Random, octets: bytes, times: int = 3) -> bytes:
    """The octets with a few changes: bits, cuts, repetitions, words of the protocol put where they do not belong."""
    changed = bytearray(octets)
    for _ in range(random.randint(1, times)):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.choice((1, 1, 2, 8, 60)))
        kind = random.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del changed[at:end]
        elif kind == 2:
            changed[at:at] = changed[at:end]
        elif kind == 3:
            changed[at:at] = random.choice(_WORDS)
        elif kind == 4:
            changed[at:end] = random.choice(_WORDS)
        else:
            changed[at:at] = random.randbytes(random.randint(1, 12))
    return bytes(changed)
