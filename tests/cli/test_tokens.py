"""The file of tokens."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

from microd.cli.tokens import Holder, Token, Tokens

HOLDER = Holder("127.0.0.1:8081", "micro", "admin")
TOKEN = Token("access", "refresh", 10, 20)


def test_line(tmp_path: Path) -> None:
    """A token is a line in the reference's form, in a private file."""
    Tokens(tmp_path / "tokens").save(HOLDER, TOKEN)
    key, _, payload = (tmp_path / "tokens").read_text().rstrip("\n").rpartition(":")
    assert key == "micro://127.0.0.1:8081/micro/admin"
    assert json.loads(base64.b64decode(payload)) == {
        "access_token": "access",
        "refresh_token": "refresh",
        "created": 10,
        "expiry": 20,
    }
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600


def test_found(tmp_path: Path) -> None:
    """A token is found by address, namespace and account, all three."""
    tokens = Tokens(tmp_path / "tokens")
    tokens.save(HOLDER, TOKEN)
    assert tokens.find(HOLDER) == TOKEN
    for other in (
        Holder("127.0.0.1:8082", "micro", "admin"),
        Holder("127.0.0.1:8081", "foo", "admin"),
        Holder("127.0.0.1:8081", "micro", "jane"),
    ):
        assert tokens.find(other) is None


def test_replaced(tmp_path: Path) -> None:
    """A second token takes the place of the first; forgetting one keeps the others."""
    tokens, other = Tokens(tmp_path / "tokens"), Holder("127.0.0.1:8081", "micro", "me@email.com")
    tokens.save(HOLDER, Token("old"))
    tokens.save(other, TOKEN)
    tokens.save(HOLDER, TOKEN)
    assert len((tmp_path / "tokens").read_text().splitlines()) == 2
    tokens.forget(HOLDER)
    assert (tokens.find(HOLDER), tokens.find(other)) == (None, TOKEN)


def test_damaged(tmp_path: Path) -> None:
    """A damaged line is no token, and no error."""
    (tmp_path / "tokens").write_text(f"{HOLDER.key}:%%%\nnonsense\n{HOLDER.key}:e30=\n")
    assert Tokens(tmp_path / "tokens").find(HOLDER) is None
