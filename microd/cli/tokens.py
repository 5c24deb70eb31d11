"""The tokens of this user: one line each, found by the address, namespace and account which it was made for.

A line is C{micro://<address>/<namespace>/<account>:<base64 of a JSON object>} (spec micro-v3-cli 1.7).
"""

from __future__ import annotations

import binascii
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from microd.cli.files import locked, read, replace


class Token(NamedTuple):
    """Proof of who is calling.

    @ivar created: unix seconds.
    @ivar expiry: unix seconds.
    """

    access_token: str
    refresh_token: str = ""
    created: int = 0
    expiry: int = 0


class Holder(NamedTuple):
    """Whom a token is for, and the only address that it may be shown to."""

    address: str
    namespace: str
    account: str

    @property
    def key(self) -> str:
        """The first part of the line."""
        return f"micro://{self.address}/{self.namespace}/{self.account}"


class Tokens:
    """The file C{tokens}."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, holder: Holder) -> Token | None:
        """The token kept for exactly this holder."""
        return _token_from(self._lines().get(holder.key, ""))

    def save(self, holder: Holder, token: Token) -> None:
        """Keep a token, in place of the one before."""
        self._change(holder, _payload(token))

    def forget(self, holder: Holder) -> None:
        """Keep none."""
        self._change(holder, None)

    def refreshing(self) -> AbstractContextManager[None]:
        """Keep every other C{micro} from refreshing a token meanwhile: a refresh token is good for one use."""
        return locked(self._path.with_name(f"{self._path.name}.refresh"))

    def _change(self, holder: Holder, payload: str | None) -> None:
        with locked(self._path):
            lines = self._lines()
            lines.pop(holder.key, None)
            if payload is not None:
                lines[holder.key] = payload
            replace(self._path, "".join(f"{key}:{value}\n" for key, value in lines.items()))

    def _lines(self) -> dict[str, str]:
        found = {}
        for line in (read(self._path) or "").splitlines():
            key, colon, payload = line.rpartition(":")
            if colon:
                found[key] = payload
        return found


def _payload(token: Token) -> str:
    made = json.dumps(
        {
            "access_token": token.access_token,
            "refresh_token": token.refresh_token,
            "created": token.created,
            "expiry": token.expiry,
        },
        separators=(",", ":"),
    )
    return binascii.b2a_base64(made.encode(), newline=False).decode()


def _token_from(payload: str) -> Token | None:
    """Read a payload; one that is damaged is as good as none."""
    try:
        found = json.loads(binascii.a2b_base64(payload))
        return Token(
            access_token=str(found["access_token"]),
            refresh_token=str(found.get("refresh_token", "")),
            created=int(found.get("created", 0)),
            expiry=int(found.get("expiry", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
