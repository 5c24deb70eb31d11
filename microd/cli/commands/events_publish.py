"""C{micro events publish}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from microd.cli.eventing import ask, pairs, require
from microd.cli.failure import CommandFailed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.session import Session
from microd.cli.wholefile import STANDARD, source_file

if TYPE_CHECKING:
    from typing import BinaryIO

#: Bytes that are read at once; the lines in them are stored together. And bytes of the longest line.
_CHUNK, _LONGEST = 256 << 10, 8 << 20
_MOST_LINES = 1000
#: A batch is one transaction; a slow disk may take its time.
_PATIENCE = 60.0


@click.command(cls=MicroCommand, short_help="Store events")
@click.argument("topic", default="")
@click.argument("words", nargs=-1)
@click.option("--metadata", "-m", multiple=True, metavar="KEY=VALUE", help="Said about the event; repeat it.")
@click.option(
    "--timestamp",
    default="",
    metavar="WHEN",
    help="When it happened, if not now: 5m, or 2025-01-31T12:00:00Z.",
)
@click.option(
    "--file",
    "-f",
    "path",
    default="",
    metavar="FILE",
    help="The payload is in this file; - for standard input.",
)
@click.option("--lines", is_flag=True, help="Each line of the file, or of standard input, is an event.")
@pass_session
def publish(
    session: Session,
    topic: str,
    words: tuple[str, ...],
    metadata: tuple[str, ...],
    timestamp: str,
    path: str,
    lines: bool,
) -> None:
    """Store an event in TOPIC: micro events publish TOPIC JSON. It is on disk when the command ends.

    Words are joined with spaces; - stands for standard input. With --lines each line is an event, in their order; empty
    lines are left out.

    \b
    Example:
      micro events publish orders '{"id": 7}' --metadata shop=berlin
      tail -f orders.jsonl | micro events publish orders --lines
    """
    from microd.cli.positions import milliseconds

    usage = "publish TOPIC JSON"
    require(topic, usage)
    if path and words:
        raise CommandFailed("--file and a payload exclude each other", remedy="Choose one of them.")
    if words == (STANDARD,) or (lines and not words):
        words, path = (), path or STANDARD
    if lines and words:
        raise CommandFailed(
            "--lines reads standard input, or what --file names", remedy="Leave the payload out."
        )
    if not path and not words:
        raise CommandFailed("missing payload", remedy=f"Write `micro events {usage}`.")
    moment = milliseconds(timestamp, session.now(), "--timestamp") if timestamp else 0
    if timestamp and not moment:
        raise CommandFailed(f"--timestamp {timestamp} is before 1970")
    said = pairs(metadata)
    if lines:
        with source_file(path) as file:
            _Lines(session, topic, said, moment).publish(file)
        return
    if path:
        with source_file(path) as file:
            payload = file.read()
    else:
        payload = " ".join(words).encode()
    _one(session, topic, said, moment, payload)


def _one(session: Session, topic: str, said: dict[str, str], moment: int, payload: bytes) -> None:
    from microd.wire.events_pb2 import PublishRequest, PublishResponse

    request = PublishRequest(topic=topic, metadata=said, payload=payload, timestamp=moment // 1000)
    made = ask(session, "Stream/Publish", request, PublishResponse)
    session.answer(
        {"topic": topic, "offset": made.offset, "id": made.id},
        lambda: f"{topic} has it at offset {made.offset}.",
    )
    if payload[:1] in (b"{", b"[") and not _is_json(payload):
        session.warn(
            "It looks like JSON, but is none, and was stored as it is. Did the shell take the quotes?"
        )


class _Lines:
    """Publishes lines as they come, those together which came together."""

    def __init__(self, session: Session, topic: str, said: dict[str, str], moment: int) -> None:
        self._session = session
        self._topic = topic
        self._said = said
        self._moment = moment
        self._count = self._first = self._last = 0

    def publish(self, file: BinaryIO) -> None:
        """Publish all lines of a file."""
        try:
            for lines in _batches(file):
                self._store(lines)
        except CommandFailed as failure:
            sentence = f"{failure.sentence.rstrip('.')}. {self._told()} before that."
            raise CommandFailed(sentence, failure.code, remedy=failure.remedy) from failure
        except KeyboardInterrupt:
            self._session.tell(f"\n{self._told()}.")
            raise
        self._session.answer(self._plain(), lambda: f"{self._told()}.")

    def _store(self, lines: list[bytes]) -> None:
        from microd.wire.events_pb2 import Event, PublishManyRequest, PublishManyResponse

        events = [
            Event(
                payload=line, metadata=self._said, timestamp=self._moment // 1000, timestamp_ms=self._moment
            )
            for line in lines
        ]
        request = PublishManyRequest(topic=self._topic, events=events)
        path = "/events.Stream/PublishMany"
        session = self._session
        made = session.remote.unary(
            path, request, PublishManyResponse, namespace=session.namespace, timeout=_PATIENCE
        )
        self._count += len(lines)
        self._first, self._last = self._first or made.first, made.last

    def _told(self) -> str:
        if self._count > 1:
            return f"{self._count} events were stored at offsets {self._first} to {self._last}"
        return f"1 event was stored at offset {self._last}" if self._count else "No event was stored"

    def _plain(self) -> dict[str, Any]:
        return {"topic": self._topic, "count": self._count, "first": self._first, "last": self._last}


def _batches(file: BinaryIO) -> Iterator[list[bytes]]:
    """The lines which have come, whenever some have."""
    rest = b""
    while chunk := file.read1(_CHUNK):  # type: ignore[attr-defined]
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            raise CommandFailed(f"A line is longer than {_LONGEST >> 20} MiB")
        yield from _filled(lines)
    yield from _filled([rest])


def _filled(lines: list[bytes]) -> Iterator[list[bytes]]:
    found = [line.removesuffix(b"\r") for line in lines if line.strip()]
    for first in range(0, len(found), _MOST_LINES):
        yield found[first : first + _MOST_LINES]


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return True
