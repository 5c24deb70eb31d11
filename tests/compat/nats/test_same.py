"""Clients of NATS, unmodified, see the same at our door as at nats-server's.

What is another way round with us stands in C{OTHERWISE} and C{SAID_OTHERWISE}, each with its reason, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.nats.dialogues import DIALOGUES, MAX_PAYLOAD, Answer, Dialogue, converse
from tests.compat.nats.ours import Microd
from tests.compat.nats.peers import ALICE, TOKEN, Credentials, NatsServer
from tests.compat.nats.playing import CLIENTS, Server, play

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

STRANGERS = (
    Credentials(ALICE.user, "a wrong secret"),
    Credentials("mallory", "mallory's secret"),
    Credentials(token="no.such.token"),
    Credentials(),
)


#: Who shows what.
SHOWN = {"nats-py": "secret", "nats.js": "token"}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Each client."""
    name: str = request.param
    return name


@pytest.fixture
def pair(client: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """nats-server and our daemon, which let the same account in."""
    by_token = SHOWN[client] == "token"
    theirs = NatsServer(tmp_path / "theirs", TOKEN if by_token else ALICE, MAX_PAYLOAD)
    ours = Microd(tmp_path / "ours", MAX_PAYLOAD)
    try:
        theirs.start()
        ours.start()
        ours.enrol(ALICE)
        if by_token:
            ours.token()
        yield theirs, ours
    finally:
        theirs.stop()
        ours.stop()


def test_transcripts(pair: tuple[Server, Server], client: str) -> None:
    """A client which goes through the whole protocol sees the same, step by step."""
    theirs, ours = (play(client, each, STRANGERS) for each in pair)
    assert not [step for step, seen in theirs.items() if str(seen).startswith("failed")], theirs
    for place in OTHERWISE:
        for seen in (theirs, ours):
            _forget(seen, place)
    assert ours == theirs


def _forget(seen: Any, place: tuple[str | int, ...]) -> None:
    *way, last = place
    for step in way:
        if isinstance(step, int) and step >= len(seen):
            return
        seen = seen[step]
    if isinstance(seen, dict):
        seen.pop(last, None)


#: Steps of the transcripts, and what in them need not be the same.
OTHERWISE: tuple[tuple[str | int, ...], ...] = (
    # nats-server hands a message whose subject is no subject, C{a.*}, to those who listen to the pattern of that name; with
    # us nobody hears of it. (The last part of the step has what the server says: by another index in each client.)
    ("subjects", 1, "a.*"),
    ("subjects", 2, "a.*"),
)


@pytest.fixture(scope="module")
def line_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The same, for all conversations."""
    folder = tmp_path_factory.mktemp("lines")
    theirs, ours = NatsServer(folder / "theirs", ALICE, MAX_PAYLOAD), Microd(folder / "ours", MAX_PAYLOAD)
    try:
        theirs.start()
        ours.start()
        ours.enrol(ALICE)
        yield theirs, ours
    finally:
        theirs.stop()
        ours.stop()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda each: each.name)
def test_lines(line_pair: tuple[Server, Server], dialogue: Dialogue) -> None:
    """Line by line, hostile ones included: the same is said, and the same ends the connection."""
    theirs, ours = (converse(each.address, each.credentials.options, dialogue) for each in line_pair)
    assert _explained(theirs, ours, dialogue) == ours


def _explained(theirs: Answer, ours: Answer, dialogue: Dialogue) -> Answer:
    """What nats-server says, but for the differences which have a reason."""
    said = list(theirs.said)
    if theirs.closed and said[-1] == "":
        # It hangs up without a word where it cannot read an argument, and where headers come from a client that never
        # said it could have any. We say why, with the texts which the protocol's description has for it.
        for text in ("Parser Error", "message headers not supported"):
            if ours.said[-1] == f"-ERR '{text}'\r\n":
                said[-1] = ours.said[-1]
    return SAID_OTHERWISE.get(dialogue.name, Answer(said, theirs.closed))


_OK, _PONG = "+OK\r\n", "PONG\r\n"
SAID_OTHERWISE: dict[str, Answer] = {
    # Nobody hears of a message whose subject is no subject; see above.
    "publishing to a wildcard": Answer([_PONG, _PONG, _PONG, "MSG a.b 1 1\r\ny\r\n" + _PONG], False),
    # nats-server gives up at the first letter of what can be no verb, and we at the end of the line, or at the longest.
    next(each.name for each in DIALOGUES if each.name.startswith("long line: b'xxx")): Answer(
        [_OK + _PONG, "-ERR 'maximum control line exceeded'\r\n"], True
    ),
    # nats-server hangs up without a word; with us it is no CONNECT without anything behind it.
    "CONNECT: ": Answer(["-ERR 'Authorization Violation'\r\n"], True),
}
