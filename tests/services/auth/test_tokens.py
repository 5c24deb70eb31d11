"""Tokens: what buys one, how long it lasts, what ends it."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest
from microd.services.auth.keys import private_pem, public_pem
from microd.services.auth.model import InvalidToken, UnknownAccount, WrongSecret
from microd.services.auth.rules import LONGEST_LIFETIME
from microd.services.auth.sessions import LIFETIME, MOST_SESSIONS, RACE, SKEW, TOLD_EVERY
from microd.services.auth.tokens import Claims, Mint, Remembered
from microd.wire import auth_pb2 as wire

YEAR = 365 * 24 * 3600


def said(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_claims(scene: Any) -> None:
    """An access token carries the claims of the reference, in their order, and nothing else."""
    scene.enrol("ada", name="Ada", scopes=("admin",), metadata={"created": "1"})
    claims = said(scene.token(id="ada", secret="s3cret", lifetime=60).access)
    assert list(claims.items()) == [
        ("type", "user"),
        ("scopes", ["admin"]),
        ("metadata", {"created": "1"}),
        ("name", "Ada"),
        ("exp", 1_800_000_060),
        ("iss", "micro"),
        ("sub", "ada"),
    ]


def test_header(scene: Any) -> None:
    """Tokens are RS256 JWTs."""
    header = scene.token(id="admin", secret="first-secret").access.split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "RS256", "typ": "JWT"}


def test_default_lifetime(scene: Any) -> None:
    """A token lasts 15 minutes unless asked otherwise."""
    token = scene.token(id="admin", secret="first-secret")
    assert token.expires - token.created == 900


@pytest.mark.parametrize("asked", [-1, LONGEST_LIFETIME + 1, 2**63 - 1])
def test_lifetime_bounds(scene: Any, asked: int) -> None:
    """Nobody gets a token for longer than 30 days, nor for less than a second."""
    with pytest.raises(BadRequest, match="2592000 seconds"):
        scene.token(id="admin", secret="first-secret", lifetime=asked)


def test_by_name(scene: Any) -> None:
    """An account may log in with its name in place of its id."""
    scene.enrol("u-1", name="ada@example.org")
    token = scene.token(id="ada@example.org", secret="s3cret")
    assert scene.auth.inspect_cached(token.access).id == "u-1"


def test_skew(scene: Any) -> None:
    """A token is good until 30 seconds after its end, and then no more, remembered or not."""
    token = scene.token(id="admin", secret="first-secret", lifetime=60).access
    assert scene.auth.inspect_cached(token).id == "admin"
    scene.clock.advance(60 + SKEW - 1)
    assert scene.auth.inspect_cached(token).id == "admin"
    scene.clock.advance(1)
    assert scene.auth.inspect_cached(token) is None
    with pytest.raises(InvalidToken):
        scene.now(scene.auth.inspect(token))


def test_skew_backwards(scene: Any) -> None:
    """A token which comes from a clock that is ahead of ours is good."""
    token = scene.token(id="admin", secret="first-secret", lifetime=60).access
    scene.clock.rightNow -= SKEW
    assert scene.auth.inspect_cached(token).id == "admin"
    scene.clock.rightNow += 60 + 2 * SKEW
    assert scene.auth.inspect_cached(token) is None


def test_verified_once(scene: Any) -> None:
    """The signature of a token is checked once; afterwards it is known."""
    token = scene.token(id="admin", secret="first-secret").access
    read: list[str] = []
    mint = scene.auth._mint

    class Counting:
        def read(self, token: str, now: float) -> Claims | None:
            read.append(token)
            found: Claims | None = mint.read(token, now)
            return found

    scene.auth._mint = Counting()
    accounts = [scene.auth.inspect_cached(token) for _ in range(3)]
    assert [account.id for account in accounts] == ["admin"] * 3
    assert read == [token]


def test_read_by_others(scene: Any) -> None:
    """A token is a JWT that another library takes."""
    token = scene.token(id="admin", secret="first-secret")
    read = jwt.decode(token.access, RSAKey.import_key(public_pem(scene.key)), algorithms=["RS256"])
    assert (read.header, read.claims["sub"]) == ({"alg": "RS256", "typ": "JWT"}, "admin")


@pytest.mark.parametrize("header", [{"alg": "RS256"}, {"typ": "JWT", "alg": "RS256", "kid": "1"}])
def test_other_header(scene: Any, header: dict[str, str]) -> None:
    """A token that another holder of the key has signed is good, however its header is written."""
    claims = {"type": "user", "exp": 1_900_000_000, "iss": "micro", "sub": "x"}
    token = jwt.encode(header, claims, RSAKey.import_key(private_pem(scene.key)))
    assert scene.auth.inspect_cached(token).id == "x"


def sealed(scene: Any, header: bytes, payload: bytes) -> str:
    """What is signed with our key, whatever it is."""
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (header, payload))
    signature = scene.key.sign(signed.encode(), PKCS1v15(), SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


CLAIMS = b'{"type":"user","exp":1900000000,"iss":"micro","sub":"x"}'


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (b'{"alg":"RS512"}', CLAIMS),
        (b'{"alg":"none"}', CLAIMS),
        (b'{"typ":"JWT"}', CLAIMS),
        (b'{"alg":"RS256","crit":["exp"]}', CLAIMS),
        (b'["RS256"]', CLAIMS),
        (b"[" * 4000, CLAIMS),
        (b"\xff", CLAIMS),
        (b'{"alg":"RS256"}', b"[]"),
        (b'{"alg":"RS256"}', b"\xff"),
        (b'{"alg":"RS256"}', CLAIMS.replace(b"1900000000", b"NaN")),
        (b'{"alg":"RS256"}', CLAIMS.replace(b"1900000000", b"1e999")),
        (b'{"alg":"RS256"}', CLAIMS.replace(b"1900000000", b"null")),
    ],
)
def test_not_what_we_sign(scene: Any, header: bytes, payload: bytes) -> None:
    """What is signed with our key but is no token as we make them stands for nobody."""
    assert scene.auth.inspect_cached(sealed(scene, header, payload)) is None


@pytest.mark.parametrize(
    "change", ["signature", "surplus", "space", "payload", "alg-none", "garbage", "two-parts", "huge"]
)
def test_forged(scene: Any, change: str) -> None:
    """What we did not sign stands for nobody."""
    header, payload, signature = scene.token(id="admin", secret="first-secret").access.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    forged = {
        "signature": f"{header}.{payload}.{signature[:-8]}AAAAAAAA",
        "surplus": f"{header}.{payload}.{signature}.{signature}",
        "space": f"{header}.{payload}.{signature[:9]} {signature[9:]}",
        "payload": f"{header}.{payload[:-4]}AAAA.{signature}",
        "alg-none": f"{none}.{payload}.",
        "garbage": "a.b.c",
        "two-parts": f"{header}.{payload}",
        "huge": f"{header}.{payload}.{'A' * 100_000}",
    }[change]
    assert scene.auth.inspect_cached(forged) is None


def test_foreign_algorithm(scene: Any) -> None:
    """A token signed with the public key as an HMAC secret stands for nobody."""
    payload = scene.token(id="admin", secret="first-secret").access.split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
    mac = hmac.digest(public_pem(scene.key), f"{header}.{payload}".encode(), "sha256")
    forged = f"{header}.{payload}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert scene.auth.inspect_cached(forged) is None


def test_access_token_buys_nothing(scene: Any) -> None:
    """An access token cannot be exchanged for another, neither as a secret nor as a refresh token."""
    access = scene.token(id="admin", secret="first-secret").access
    with pytest.raises(WrongSecret):
        scene.token(id="admin", secret=access)
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=access)


def test_refresh(scene: Any) -> None:
    """A refresh token buys an access token and the next refresh token, again and again."""
    token = scene.token(id="admin", secret="first-secret")
    seen = {token.refresh}
    for _ in range(3):
        scene.clock.advance(1000)
        token = scene.token(refresh_token=token.refresh, lifetime=600)
        assert token.refresh not in seen
        seen.add(token.refresh)
        assert scene.auth.inspect_cached(token.access).id == "admin"


def test_refresh_race(scene: Any) -> None:
    """Who uses a refresh token twice within half a minute, since two asked or the answer was lost, gets the same next one."""
    first = scene.token(id="admin", secret="first-secret")
    scene.clock.advance(1000)
    second = scene.token(refresh_token=first.refresh)
    scene.clock.advance(RACE)
    again = scene.token(refresh_token=first.refresh)
    assert again.refresh == second.refresh
    assert scene.auth.inspect_cached(again.access).id == "admin"
    scene.token(refresh_token=again.refresh)


def test_refresh_used_twice(scene: Any) -> None:
    """A refresh token which is used again later voids its session, and no other: one of two who go on from it stole it."""
    other = scene.token(id="admin", secret="first-secret")
    first = scene.token(id="admin", secret="first-secret")
    second = scene.token(refresh_token=first.refresh)
    scene.clock.advance(RACE + 1)
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=first.refresh)
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=second.refresh)
    scene.token(refresh_token=other.refresh)
    scene.token(id="admin", secret="first-secret")


def test_refresh_used_two_turns_ago(scene: Any) -> None:
    """A refresh token of two turns ago voids its session, however quickly that went."""
    first = scene.token(id="admin", secret="first-secret")
    second = scene.token(refresh_token=first.refresh)
    third = scene.token(refresh_token=second.refresh)
    for token in (first, third):
        with pytest.raises(InvalidToken):
            scene.token(refresh_token=token.refresh)


def test_refresh_after_restart(scene: Any) -> None:
    """That a refresh token was used is not forgotten with a restart."""
    first = scene.token(id="admin", secret="first-secret")
    second = scene.token(refresh_token=first.refresh)
    scene.start()
    assert scene.token(refresh_token=first.refresh).refresh == second.refresh
    scene.clock.advance(RACE + 1)
    scene.start()
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=first.refresh)


@pytest.mark.parametrize("step", [-3600.0, -RACE, 3600.0])
def test_refresh_when_the_clock_is_set(scene: Any, step: float) -> None:
    """A clock that is set back or forward takes nobody's present refresh token away."""
    token = scene.token(id="admin", secret="first-secret")
    scene.clock.rightNow += step
    token = scene.token(refresh_token=token.refresh)
    scene.clock.rightNow -= step
    scene.token(refresh_token=token.refresh)


def test_refresh_ends(scene: Any) -> None:
    """A refresh token ends 30 days after the last use of its session, and half a minute for the clocks' sake."""
    token = scene.token(id="admin", secret="first-secret")
    scene.clock.advance(LIFETIME + SKEW - 1)
    token = scene.token(refresh_token=token.refresh)
    scene.clock.advance(LIFETIME + SKEW)
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=token.refresh)


def test_logout(scene: Any) -> None:
    """Who logs out ends the session of a refresh token, also of one that was replaced since, and no other session."""
    other = scene.token(id="admin", secret="first-secret")
    first = scene.token(id="admin", secret="first-secret")
    second = scene.token(refresh_token=first.refresh)
    for _ in range(2):
        scene.call("/auth.Auth/Logout", wire.LogoutRequest(refresh_token=first.refresh), None)
        with pytest.raises(InvalidToken):
            scene.token(refresh_token=second.refresh)
    scene.token(refresh_token=other.refresh)


@pytest.mark.parametrize("token", ["", "x.y", "é", "." * 100_000])
def test_logout_of_nothing(scene: Any, token: str) -> None:
    """What is no refresh token ends nothing."""
    good = scene.token(id="admin", secret="first-secret")
    scene.call("/auth.Auth/Logout", wire.LogoutRequest(refresh_token=token), None)
    scene.token(refresh_token=good.refresh)


def test_refresh_finds_its_namespace(scene: Any) -> None:
    """A refresh token is good where no namespace is named, as Go services use theirs."""
    scene.enrol("ada", "foo")
    token = scene.token("foo", id="ada", secret="s3cret")
    again = scene.token("", refresh_token=token.refresh)
    assert scene.auth.inspect_cached(again.access).issuer == "foo"
    credential = scene.auth.issue(SERVICE, YEAR)
    assert scene.auth.inspect_cached(scene.token("", refresh_token=credential).access) == SERVICE


def test_refresh_forged(scene: Any) -> None:
    """A refresh token cannot be made of another: not for a later turn, nor for somebody else."""
    scene.enrol("ada")
    whose, _, rest = scene.token(id="ada", secret="s3cret").refresh.partition(".")
    admins = scene.token(id="admin", secret="first-secret").refresh.partition(".")[0]
    raw = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4))
    later = raw[:16] + b"\0\0\0\1" + raw[20:]
    forged = [
        f"{admins}.{rest}",
        f"{whose}.{base64.urlsafe_b64encode(later).decode().rstrip('=')}",
        f"{whose}.{base64.urlsafe_b64encode(raw[:20]).decode().rstrip('=')}",
        f"{whose}.",
        f"{whose}.{rest}.",
    ]
    for each in forged:
        with pytest.raises(InvalidToken):
            scene.token(refresh_token=each)
    scene.token(refresh_token=f"{whose}.{rest}")


def test_refresh_tokens_are_hashed(scene: Any) -> None:
    """What is kept holds neither a secret nor any part of a refresh token."""
    token = scene.token(id="admin", secret="first-secret")
    kept = b"".join(value for _, value in scene.now(scene.vault.under("")))
    assert b"first-secret" not in kept
    secret = token.refresh.partition(".")[2]
    raw = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    for part in (secret.encode(), raw[:16], raw[:16].hex().encode(), raw[20:], raw[20:].hex().encode()):
        assert part not in kept


def test_old_sessions(scene: Any) -> None:
    """Sessions which were kept before refresh tokens were replaced are over; their accounts are not."""
    scene.enrol("ada")
    key = "account/micro/ada"
    kept = json.loads(scene.now(scene.vault.read(key)))
    kept["sessions"] = [["digest", 2_000_000_000.0]]
    scene.now(scene.vault.apply({key: json.dumps(kept).encode()}))
    scene.token(id="ada", secret="s3cret")


def test_refresh_tokens_are_bounded(scene: Any) -> None:
    """The refresh token that ends first makes room for one too many."""
    tokens = []
    for _ in range(MOST_SESSIONS + 1):
        scene.clock.advance(1)
        tokens.append(scene.token(id="admin", secret="first-secret").refresh)
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=tokens[0])
    for token in tokens[1:]:
        scene.token(refresh_token=token)


@pytest.mark.parametrize(
    "token", ["", ".", "x.y", "bm90anNvbg.x", "WyJtaWNybyIsImFkbWluIl0.x", "WzEsMl0.x", "é.x"]
)
def test_bad_refresh(scene: Any, token: str) -> None:
    """What is no refresh token of ours buys nothing."""
    with pytest.raises(BadRequest, match=r"invalid token provided|Credentials or a refresh token required"):
        scene.token(refresh_token=token)


def test_refresh_elsewhere(scene: Any) -> None:
    """A refresh token is good in its own namespace only."""
    scene.enrol("ada", "foo")
    token = scene.token("foo", id="ada", secret="s3cret")
    with pytest.raises(InvalidToken):
        scene.token("micro", refresh_token=token.refresh)


def test_survives_restart(scene: Any) -> None:
    """Tokens of both kinds outlive a restart of the daemon."""
    token = scene.token(id="admin", secret="first-secret")
    scene.start()
    assert scene.auth.inspect_cached(token.access).id == "admin"
    scene.token(refresh_token=token.refresh)


def test_deleted(scene: Any) -> None:
    """A deleted account's tokens are void at once, remembered or not, and after a restart too."""
    scene.enrol("ada")
    token = scene.token(id="ada", secret="s3cret")
    other = scene.token(id="ada", secret="s3cret", lifetime=77)
    assert scene.auth.inspect_cached(token.access).id == "ada"
    scene.now(scene.auth.delete("micro", "ada", scene.admin))
    for _ in range(2):
        assert scene.auth.inspect_cached(token.access) is None
        assert scene.auth.inspect_cached(other.access) is None
        with pytest.raises(InvalidToken):
            scene.token(refresh_token=token.refresh)
        scene.start()


def test_made_again(scene: Any) -> None:
    """The tokens of a deleted account do not come back to life with another of the same id."""
    scene.enrol("ada")
    old = scene.token(id="ada", secret="s3cret")
    scene.now(scene.auth.delete("micro", "ada", scene.admin))
    scene.enrol("ada")
    new = scene.token(id="ada", secret="s3cret")
    assert scene.auth.inspect_cached(old.access) is None
    assert scene.auth.inspect_cached(new.access).id == "ada"


def test_changed_secret(scene: Any) -> None:
    """A new secret voids what was issued with the old one."""
    account = scene.enrol("ada")
    token = scene.token(id="ada", secret="s3cret")
    scene.now(scene.auth.change_secret("micro", "ada", "s3cret", "another", account))
    assert scene.auth.inspect_cached(token.access) is None
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=token.refresh)
    with pytest.raises(WrongSecret):
        scene.token(id="ada", secret="s3cret")
    scene.token(id="ada", secret="another")


SERVICE = Account("greeter-latest", "service", "foo", "greeter-latest", ("service",))


def test_credential(scene: Any) -> None:
    """A service's credential buys access tokens as a secret, and so does the refresh token it gets for it."""
    credential = scene.auth.issue(SERVICE, YEAR)
    token = scene.token("foo", id="greeter-latest", secret=credential, lifetime=600)
    again = scene.token("foo", refresh_token=token.refresh, lifetime=600)
    assert scene.auth.inspect_cached(token.access) == scene.auth.inspect_cached(again.access) == SERVICE


def test_credential_is_no_access_token(scene: Any) -> None:
    """A credential is not let through a door: it lasts too long to be shown around."""
    assert scene.auth.inspect_cached(scene.auth.issue(SERVICE, YEAR)) is None


def test_credential_of_another(scene: Any) -> None:
    """A credential is good for its own id, in its own namespace."""
    credential = scene.auth.issue(SERVICE, YEAR)
    with pytest.raises(WrongSecret):
        scene.token("foo", id="admin", secret=credential)
    with pytest.raises(InvalidToken):
        scene.token("micro", id="greeter-latest", secret=credential)


def test_credential_ends(scene: Any) -> None:
    """A credential ends."""
    credential = scene.auth.issue(SERVICE, 100)
    scene.clock.advance(100 + SKEW)
    with pytest.raises(InvalidToken):
        scene.token("foo", id="greeter-latest", secret=credential)


def test_credential_revoked(scene: Any) -> None:
    """A credential can be revoked, and the tokens which it bought with it; a new one is good again."""
    credential = scene.auth.issue(SERVICE, YEAR)
    token = scene.token("foo", id="greeter-latest", secret=credential)
    scene.now(scene.auth.revoke("foo", "greeter-latest"))
    assert scene.auth.inspect_cached(token.access) is None
    with pytest.raises(InvalidToken):
        scene.token("foo", id="greeter-latest", secret=credential)
    scene.token("foo", id="greeter-latest", secret=scene.auth.issue(SERVICE, YEAR))


def test_unknown(scene: Any) -> None:
    """An account that does not exist is told so in the reference's words."""
    with pytest.raises(UnknownAccount, match="Account not found with this ID"):
        scene.token(id="nobody", secret="x")


def test_nothing_shown(scene: Any) -> None:
    """A token takes a secret with an id, or a refresh token."""
    for shown in ({}, {"id": "admin"}, {"secret": "first-secret"}):
        with pytest.raises(BadRequest, match="Credentials or a refresh token required"):
            scene.token(**shown)


def test_memory_is_bounded() -> None:
    """Of too many tokens the least recently used are forgotten."""
    memory = Remembered(most=2)
    claims = Claims(SERVICE, "access", 0, 100)
    memory.keep("a", claims)
    memory.keep("b", claims)
    assert memory.get("a", 0) is SERVICE
    memory.keep("c", claims)
    assert [memory.get(token, 0) for token in "abc"] == [SERVICE, None, SERVICE]
    assert len(memory) == 2


def test_reference_tokens(scene: Any) -> None:
    """A token which the reference signed with the same key is good, though it lacks some claims."""
    claims = {
        "type": "user",
        "scopes": None,
        "metadata": None,
        "exp": 1_900_000_000,
        "iss": "micro",
        "sub": "x",
    }
    token = jwt.encode({"alg": "RS256"}, claims, RSAKey.import_key(private_pem(scene.key)))
    assert scene.auth.inspect_cached(token) == Account("x", "user", "micro", "x")


@pytest.mark.parametrize(
    "change",
    [{"exp": "soon"}, {"sub": 7}, {"gen": "1"}, {"use": "other"}, {"scopes": [7]}, {"metadata": [1]}],
)
def test_odd_claims(scene: Any, change: dict[str, object]) -> None:
    """A signed token with claims of the wrong shape stands for nobody."""
    claims = {"type": "user", "exp": 1_900_000_000, "iss": "micro", "sub": "x"} | change
    token = jwt.encode({"alg": "RS256"}, claims, RSAKey.import_key(private_pem(scene.key)))
    assert Mint(scene.key).read(token, 0) is None


@pytest.mark.parametrize("how", ["delete", "revoke", "change_secret"])
def test_lasts_until_void(scene: Any, how: str) -> None:
    """What was answered about a token holds until its account is deleted, revoked, or has another secret."""
    scene.enrol("ada")
    token = scene.token(id="ada", secret="s3cret").access
    assert scene.auth.inspect_cached(token).id == "ada"
    lasts = scene.auth.lasting(token)
    assert lasts()
    match how:
        case "delete":
            scene.now(scene.auth.delete("micro", "ada", scene.admin))
        case "revoke":
            scene.now(scene.auth.revoke("micro", "ada"))
        case _:
            scene.now(scene.auth.change_secret("micro", "ada", "s3cret", "0ther", scene.admin))
    assert not lasts()
    assert scene.auth.inspect_cached(token) is None


def test_lasts_until_the_end(scene: Any) -> None:
    """What was answered about a token holds for exactly as long as the token is good."""
    token = scene.token(id="admin", secret="first-secret", lifetime=60).access
    scene.auth.inspect_cached(token)
    lasts = scene.auth.lasting(token)
    for _ in range(200):
        assert lasts() == (scene.auth.inspect_cached(token) is not None)
        scene.clock.advance(1)
    assert not lasts()


def test_bad_tokens_do_not_last(scene: Any) -> None:
    """Nothing is promised about a token which was not found to be good; that nobody is nobody holds."""
    assert scene.auth.inspect_cached("a.b.c") is None
    assert not scene.auth.lasting("a.b.c")()
    assert scene.auth.lasting(None)()


def test_figures(scene: Any) -> None:
    """Operators see how often tokens were known, and how often a signature had to be checked."""
    token = scene.token(id="admin", secret="first-secret").access
    for shown in (token, token, token, "nonsense"):
        scene.auth.inspect_cached(shown)
    lookups, size = scene.auth.figures()
    assert {labels["outcome"]: value for labels, value in lookups.samples} == {"hit": 2, "miss": 2}
    assert size.samples[0][1] == 1


def test_crowded(scene: Any) -> None:
    """The log says when a login ended another session of the account, at most once a minute, and how many it left out."""

    def log_in(times: int) -> list[str]:
        return [
            line
            for _ in range(times)
            for line in scene.told(lambda: scene.token(id="admin", secret="first-secret"))
            if "ended" in line
        ]

    assert log_in(MOST_SESSIONS) == []
    (line,) = log_in(5)
    assert line.startswith(
        "admin of micro logged in with 32 sessions, so that the one used longest ago ended; 0 such"
    )
    scene.clock.advance(TOLD_EVERY)
    (line,) = log_in(2)
    assert "; 4 such logins since" in line
    scene.clock.advance(LIFETIME)
    assert log_in(1) == []
