"""Refresh tokens: what is in them, and what happens when one is shown. Nothing here can wait.

A I{session} begins with a login, and has one refresh token at a time: each use replaces it. ::

    login ──▶ token 0 ──used──▶ token 1 ──used──▶ token 2 ...
                 └──again, within L{RACE} of that use──▶ token 1, the same as before
                 └──again, later──▶ the session is void

So who asks twice at the same time, or asks again because the answer was lost, gets what the first answer said; and where
two go on from the same token, one of them having stolen it, both are out.

An account has at most L{MOST_SESSIONS} of them: a login beyond ends the one that would end first, which is the one that was
used longest ago, and its refresh token buys nothing any more. The log says so.

Nothing is kept from which a token could be made. A token says its session's name and the number of its turn, under a MAC
whose key is derived from the one which signs access tokens; what is kept is a hash of the name, and the turn. Whatever we
did not make is refused before anything is looked up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from dataclasses import replace
from typing import NamedTuple

from twisted.logger import Logger

from microd.kernel.caller import Account
from microd.services.auth.model import Enrolment, Session

#: Seconds which a session lasts after its last use.
LIFETIME = 30 * 24 * 3600
#: Seconds for which a token that was used may be used again: clients wait ten seconds for an answer, and ask again.
RACE = 30.0
#: Clocks differ: what ends is good for so many seconds more.
SKEW = 30.0
#: Sessions which an account has at most; the one that ends first makes room.
MOST_SESSIONS = 32
#: Seconds for which the log says no more of accounts with too many.
TOLD_EVERY = 60.0
#: Bytes of a session's name.
NAME = 16
_TURN = struct.Struct(">I")
_LONGEST = 2048


class Shown(NamedTuple):
    """A refresh token of ours.

    @ivar turn: how many tokens its session had before.
    """

    namespace: str
    id: str
    name: bytes
    turn: int


class Step(NamedTuple):
    """What a use of a refresh token leads to.

    @ivar turn: the token to answer with; None where there is none.
    @ivar kept: what to keep; None where nothing changes.
    """

    turn: int | None
    kept: Enrolment | None


class Seal:
    """Makes refresh tokens, and reads those which it made.

    @param key: secret; whoever has it can make tokens.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, shown: Shown) -> str:
        """The token which says this."""
        whose = json.dumps([shown.namespace, shown.id], separators=(",", ":")).encode()
        said = shown.name + _TURN.pack(shown.turn)
        return f"{_text(whose)}.{_text(said + self._mac(whose, said))}"

    def read(self, token: str) -> Shown | None:
        """What a token says; None unless it is ours."""
        if len(token) > _LONGEST or not token.isascii():
            return None
        first, dot, second = token.partition(".")
        whose, rest = _bytes(first), _bytes(second)
        said, mac = rest[: NAME + _TURN.size], rest[NAME + _TURN.size :]
        if not dot or not hmac.compare_digest(mac, self._mac(whose, said)):
            return None
        namespace, id = json.loads(whose)
        return Shown(namespace, id, said[:NAME], *_TURN.unpack(said[NAME:]))

    def _mac(self, whose: bytes, said: bytes) -> bytes:
        return hmac.digest(self._key, said + whose, "sha256")


def begun(kept: Enrolment, name: bytes, now: float) -> Enrolment:
    """Begin a session; forget those that ended, and those that are too many."""
    living = sorted((each for each in kept.sessions if each.expires > now), key=lambda each: each.expires)
    session = Session(_digest(name), 0, now, now + LIFETIME)
    return replace(kept, sessions=(*living[-(MOST_SESSIONS - 1) :], session))


def crowded(kept: Enrolment, now: float) -> bool:
    """Whether another session ends one of those that there are."""
    return sum(each.expires > now for each in kept.sessions) >= MOST_SESSIONS


class Crowded:
    """Says in the log that an account has so many sessions that they end each other, once in a while for all accounts."""

    log = Logger()

    def __init__(self) -> None:
        self._next = 0.0
        self._untold = 0

    def tell(self, account: Account, now: float) -> None:
        """Say it, or count it for the next time."""
        if now < self._next:
            self._untold += 1
            return
        self.log.info(
            "{id} of {namespace} logged in with {most} sessions, so that the one used longest ago ended; "
            "{untold} such logins since this was last said",
            id=account.id,
            namespace=account.issuer,
            most=MOST_SESSIONS,
            untold=self._untold,
        )
        self._next, self._untold = now + TOLD_EVERY, 0


def used(kept: Enrolment, shown: Shown, now: float) -> Step:
    """Use a refresh token of an account."""
    digest = _digest(shown.name)
    session = next((each for each in kept.sessions if each.digest == digest), None)
    if session is None or session.expires + SKEW <= now:
        return Step(None, None)
    others = tuple(each for each in kept.sessions if each is not session)
    if shown.turn == session.turn:
        turned = Session(digest, session.turn + 1, now, now + LIFETIME)
        return Step(turned.turn, replace(kept, sessions=(*others, turned)))
    if shown.turn == session.turn - 1 and abs(now - session.turned) <= RACE:
        return Step(session.turn, None)
    return Step(None, replace(kept, sessions=others))


def ended(kept: Enrolment, shown: Shown) -> Enrolment | None:
    """End the session of a refresh token; None where it is over."""
    digest = _digest(shown.name)
    rest = tuple(each for each in kept.sessions if each.digest != digest)
    return None if len(rest) == len(kept.sessions) else replace(kept, sessions=rest)


def _digest(name: bytes) -> str:
    return hashlib.sha256(name).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""
