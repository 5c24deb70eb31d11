"""What a NATS server says to one client which is alone: slow, and simple enough to be believed.

It reads the protocol as its documentation tells it, line by line, and keeps nothing but a list of subscriptions. It has
an opinion on legal input only: at the first octet that is not plainly legal it stops, and tells where.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from microd.testing.nats_wire import Heard

#: A token of a subject: anything that is printed, but no dot.
_SUBJECT = re.compile(r"[^.\s\x00-\x1f\x7f]+(\.[^.\s\x00-\x1f\x7f]+)*")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,8}")
_CONTROL_LINE = 4096


class Illegal(Exception):
    """Here the reference has no opinion any more."""


@dataclass(slots=True)
class _Subscription:
    subject: str
    queue: bool
    got: int = 0
    most: int = 0


@dataclass(slots=True)
class Reference:
    """A server and its only client, who is let in without a question.

    @ivar max_payload: as INFO tells.
    @ivar said: what the server has said so far, but for INFO. What one publication brings to several subscriptions is
        in the order of their ids.
    @ivar read: octets of the input which were legal.
    """

    max_payload: int = 1 << 20
    verbose: bool = False
    no_responders: bool = False
    said: list[Heard] = field(default_factory=list)
    read: int = 0
    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)

    def run(self, octets: bytes) -> bool:
        """Serve the client.

        @return: whether all of it was legal, up to an operation which is not complete.
        """
        while self.read < len(octets):
            try:
                after = self._operation(octets, self.read)
            except Illegal:
                return False
            if after is None:
                return True
            self.read = after
        return True

    def _operation(self, octets: bytes, at: int) -> int | None:
        """Serve the operation which begins here: where the next begins, or None if this one is not complete."""
        end = octets.find(b"\r\n", at)
        line = octets[at:] if end < 0 else octets[at:end]
        if len(line) >= _CONTROL_LINE - 512 or b"\n" in line or b"\r" in line[:-1]:
            raise Illegal
        if end < 0:
            return None
        verb, *words = line.replace(b"\t", b" ").split(b" ")
        if not verb:
            raise Illegal
        words = [word for word in words if word]
        match verb.upper():
            case b"PING" if not words:
                self._say("PONG")
            case b"PONG" if not words:
                pass
            case b"CONNECT":
                self._connect(line[len(verb) :])
            case b"SUB":
                self._subscribe(words)
            case b"UNSUB":
                self._unsubscribe(words)
            case b"PUB" | b"HPUB":
                return self._publish(verb.upper() == b"HPUB", words, octets, end + 2)
            case _:
                raise Illegal
        return end + 2

    def _connect(self, said: bytes) -> None:
        try:
            options = json.loads(said)
        except ValueError:
            raise Illegal from None
        if not isinstance(options, dict) or not all(
            isinstance(options.get(name, False), bool)
            for name in ("verbose", "pedantic", "no_responders", "headers")
        ):
            raise Illegal
        if options.get("pedantic") or not options.get("headers"):
            raise Illegal
        self.verbose = options.get("verbose", True)
        self.no_responders = options.get("no_responders", False)
        self._ok()

    def _subscribe(self, words: list[bytes]) -> None:
        if len(words) not in (2, 3):
            raise Illegal
        subject = _subject(words[0], wild=True)
        if len(words) == 3:
            _subject(words[1])
        self._subscriptions.setdefault(_sid(words[-1]), _Subscription(subject, queue=len(words) == 3))
        self._ok()

    def _unsubscribe(self, words: list[bytes]) -> None:
        if len(words) not in (1, 2):
            raise Illegal
        sid = _sid(words[0])
        most = _number(words[1]) if len(words) == 2 else 0
        subscription = self._subscriptions.get(sid)
        if subscription is not None:
            subscription.most = most
            if subscription.got >= most:
                del self._subscriptions[sid]
        self._ok()

    def _publish(self, headed: bool, words: list[bytes], octets: bytes, at: int) -> int | None:
        sizes = 2 if headed else 1
        if len(words) not in (sizes + 1, sizes + 2):
            raise Illegal
        numbers = [_number(word) for word in words[-sizes:]]
        size, header = numbers[-1], numbers[0] if headed else 0
        subject = _subject(words[0])
        reply = _subject(words[1]) if len(words) == sizes + 2 else ""
        if size > self.max_payload or header > size:
            raise Illegal
        body, tail = octets[at : at + size], octets[at + size : at + size + 2]
        if tail not in (b"", b"\r", b"\r\n"):
            raise Illegal
        block = body[:header]
        if headed and len(block) == header:
            _require_headers(block)
        if tail != b"\r\n":
            return None
        self._ok()
        self._deliver(subject, reply, block, body[header:])
        return at + size + 2

    def _deliver(self, subject: str, reply: str, header: bytes, payload: bytes) -> None:
        heard = False
        for sid, subscription in sorted(self._subscriptions.items()):
            if not matches(subscription.subject, subject):
                continue
            heard = True
            answer = f" {reply}" if reply else ""
            if header:
                sizes = f"{len(header)} {len(header) + len(payload)}"
                self._say("HMSG", f"{subject} {sid}{answer} {sizes}", header, payload)
            else:
                self._say("MSG", f"{subject} {sid}{answer} {len(payload)}", b"", payload)
            subscription.got += 1
            if subscription.most and subscription.got >= subscription.most:
                del self._subscriptions[sid]
        if not heard and reply and self.no_responders:
            self._tell_nobody(reply)

    def _tell_nobody(self, reply: str) -> None:
        """Nobody heard it, and who waits for an answer should know: one subscription which shares no queue."""
        status = b"NATS/1.0 503\r\n\r\n"
        for sid, subscription in sorted(self._subscriptions.items()):
            if matches(subscription.subject, reply) and not subscription.queue:
                self._say("HMSG", f"{reply} {sid} {len(status)} {len(status)}", status)
                return

    def _ok(self) -> None:
        if self.verbose:
            self._say("+OK")

    def _say(self, verb: str, rest: str = "", header: bytes = b"", payload: bytes = b"") -> None:
        self.said.append(Heard(verb, rest, header, payload))


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to C{pattern} hears C{subject}."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for number, token in enumerate(wanted):
        if token == ">":
            return len(tokens) > number
        if number >= len(tokens) or token not in ("*", tokens[number]):
            return False
    return len(wanted) == len(tokens)


def _subject(word: bytes, *, wild: bool = False) -> str:
    try:
        subject = word.decode()
    except UnicodeDecodeError:
        raise Illegal from None
    tokens = subject.split(".")
    if _SUBJECT.fullmatch(subject) is None or (">" in tokens[:-1]):
        raise Illegal
    if not wild and ("*" in subject or ">" in subject):
        raise Illegal
    if len(word) > 200 or subject.startswith(("$EVENTS", "$SYS", "$JS")):
        raise Illegal
    return subject


def _sid(word: bytes) -> str:
    if re.fullmatch(rb"[0-9A-Za-z_-]{1,30}", word) is None:
        raise Illegal
    return word.decode()


def _number(word: bytes) -> int:
    if _NUMBER.fullmatch(word) is None:
        raise Illegal
    return int(word)


def _require_headers(block: bytes) -> None:
    """Legal is the version line, then lines with a name and a colon, then an empty line."""
    lines = block.split(b"\r\n")
    if lines[0] != b"NATS/1.0" or lines[-2:] != [b"", b""] or b"" in lines[1:-2]:
        raise Illegal
    for line in lines[1:-2]:
        if re.fullmatch(rb"[!-9;-~]+:[^\r\n\x00]*", line) is None:
            raise Illegal


def comparable(said: Iterable[Heard]) -> list[Heard]:
    """What was said, without what a server is free to choose.

    That is the order in which one publication reaches several subscriptions of a client, and which of them is told that
    nobody heard a question. INFO is left out. Publications are told apart by what their payloads begin with (see
    L{microd.testing.nats_traffic.Traffic}).
    """
    ordered: list[Heard] = []
    for key, run in itertools.groupby(said, _publication):
        said_of_it = list(run)
        ordered += sorted(said_of_it, key=lambda heard: heard.rest) if key else said_of_it
    return [_anonymous(heard) for heard in ordered if heard.verb != "INFO"]


def _publication(heard: Heard) -> bytes:
    return heard.payload.partition(b":")[0]


def _anonymous(heard: Heard) -> Heard:
    if heard.header.startswith(b"NATS/1.0 503") and not heard.payload:
        return replace(heard, rest=heard.rest.split(" ")[0])
    return heard
