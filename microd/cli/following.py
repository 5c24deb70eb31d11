"""Streams that outlive the daemon: what is lost is opened again, and the user told."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator

from microd.cli.durations import go_duration
from microd.cli.failure import CommandFailed
from microd.cli.remote import MessageT, Remote, Replies
from microd.cli.session import Session

#: Seconds before the first attempt, and at most before any.
_FIRST, _LONGEST = 0.25, 5.0


def follow(
    session: Session, begin: Callable[[Remote], Replies[MessageT]], meanwhile: str
) -> Generator[tuple[Replies[MessageT], MessageT]]:
    """Each reply, and where it came from; for ever, over as many connections as it takes.

    What fails the first time fails; so does what would fail again.

    @param meanwhile: what becomes of messages while nobody listens, for the user.
    """
    remote = session.remote
    replies = begin(remote)
    pauses = _pauses()
    while True:
        begun, why = session.now(), "The server has ended the stream"
        try:
            for reply in replies:
                yield replies, reply
        except CommandFailed as failure:
            if not failure.passing:
                raise
            why = failure.sentence
        finally:
            replies.close()
        lost = session.now()
        if lost - begun > _LONGEST:
            pauses = _pauses()
        session.warn(f"Disconnected. {why}. {meanwhile}")
        remote, replies = _again(session, remote, begin, pauses)
        session.warn(f"Connected again after {_went(session.now() - lost)}.")


def _again(
    session: Session,
    remote: Remote,
    begin: Callable[[Remote], Replies[MessageT]],
    pauses: Iterator[float],
) -> tuple[Remote, Replies[MessageT]]:
    """Begin until it succeeds."""
    for pause in pauses:
        session.sleep(pause)
        remote = session.remote_after(remote)
        try:
            return remote, begin(remote)
        except CommandFailed as failure:
            if not failure.passing:
                raise
    raise AssertionError("the pauses have no end")


def _pauses() -> Iterator[float]:
    """Longer and longer, each cut by a random part, so that not all come back at once."""
    pause = _FIRST
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, _LONGEST)


def _went(seconds: float) -> str:
    return go_duration(max(1, round(seconds * 10)) * 10**8)
