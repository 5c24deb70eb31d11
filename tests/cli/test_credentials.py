"""Which token is shown, and to whom."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from microd.cli.config import Config
from microd.cli.credentials import Credentials, Login
from microd.cli.failure import REFUSED, CommandFailed
from microd.cli.tokens import Holder, Token, Tokens
from microd.wire import auth_pb2, registry_pb2

from .conftest import Call, Daemon, Refusal, User

LIST = "/registry.Registry/ListServices"
TOKEN = "/auth.Auth/Token"
HOLDER = Holder("127.0.0.1:8081", "micro", "admin")


@pytest.fixture
def services(daemon: Daemon) -> None:
    """A registry without services."""
    daemon.answers(LIST, registry_pb2.ListResponse())


@pytest.fixture
def issuer(daemon: Daemon, user: User) -> None:
    """An auth service that gives tokens by secret and by refresh token; the tokens tell by which."""

    def give(call: Call) -> auth_pb2.TokenResponse:
        request = auth_pb2.TokenRequest.FromString(call.body)
        how = request.refresh_token or f"{request.id}:{request.secret}"
        given = auth_pb2.Token(
            access_token=f"by {how}",
            refresh_token="again",
            created=int(user.now),
            expiry=int(user.now) + request.token_expiry,
        )
        return auth_pb2.TokenResponse(token=given)

    daemon.handlers[TOKEN] = give


def shown(daemon: Daemon) -> str | None:
    """The last token that the registry was shown."""
    return daemon.asked(LIST)[-1].metadata.get("authorization")


def test_admin_secret(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """With a daemon of one's own on this host, nobody types anything: the admin's secret is exchanged, once."""
    user.has_a_daemon()
    assert user.micro("services").code == 0
    assert shown(daemon) == "Bearer by admin:s3cret"
    assert user.micro("services").code == 0
    assert len(daemon.asked(TOKEN)) == 1
    assert Tokens(user.home / "tokens").find(HOLDER) is not None


def test_core_calls_name_the_platform(user: User, daemon: Daemon, services: None) -> None:
    """A call to a core service is routed in the platform's namespace; where it works is in the request."""
    user.micro("services", "--namespace=foo")
    call = daemon.asked(LIST)[0]
    assert call.metadata["micro-namespace"] == "micro"
    assert registry_pb2.ListRequest.FromString(call.body).options.domain == "foo"


def test_dead_daemon(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """The admin's secret is for the process that daemon.json names: with that gone, it is shown to nobody."""
    user.has_a_daemon(pid=2**22 + 1)
    user.micro("services")
    assert daemon.asked(TOKEN) == []


def test_other_address(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """The admin's secret is not shown to an address which is no door of the user's own daemon."""
    user.has_a_daemon()
    user.environ["MICRO_PROXY"] = "127.0.0.1:9999"
    user.micro("services")
    assert daemon.connected[-1].port == 9999
    assert daemon.asked(TOKEN) == []


def test_other_environment(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """A token made for one address is not shown to another, whatever the names."""
    user.has_a_daemon()
    user.micro("services")
    user.micro("env", "add", "far", "far.example.com:8081")
    user.micro("services", "--env=far")
    assert shown(daemon) is None
    user.micro("env", "add", "near", "127.0.0.1:8081")
    user.micro("services", "--env=near")
    assert shown(daemon) is None


def test_refreshed(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """A token within a minute of its end is refreshed, and the new one kept."""
    user.has_a_daemon()
    user.micro("services")
    user.now += 600 - 59
    user.micro("services")
    assert shown(daemon) == "Bearer by again"
    kept = Tokens(user.home / "tokens").find(HOLDER)
    assert kept is not None
    assert kept.access_token == "by again"


def test_fresh(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """A token further from its end is shown as it is."""
    user.has_a_daemon()
    user.micro("services")
    user.now += 600 - 61
    user.micro("services")
    assert len(daemon.asked(TOKEN)) == 1


def test_refresh_refused(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """Where the refresh token is refused, the admin's secret is used again."""
    user.has_a_daemon()
    Tokens(user.home / "tokens").save(HOLDER, Token("old", "", 0, int(user.now) - 1))
    user.micro("user", "config", "set", "local.current-user", "admin")
    user.micro("services")
    assert shown(daemon) == "Bearer by admin:s3cret"


class OneUse:
    """An auth service whose refresh tokens are good for one use, with no tolerance at all.

    @ivar slow: whether its answers come too late.
    """

    def __init__(self) -> None:
        self.current = "r0"
        self.asked: list[str] = []
        self.slow = False

    def by_secret(self, id: str, secret: str, namespace: str) -> Token:
        """Nobody logs in here."""
        raise AssertionError

    def by_refresh(self, refresh_token: str, namespace: str) -> Token:
        """The next token."""
        if self.slow:
            raise CommandFailed("Request timed out")
        self.asked.append(refresh_token)
        if refresh_token != self.current:
            raise CommandFailed("Invalid token provided", REFUSED)
        self.current = f"r{len(self.asked)}"
        return Token(f"a{len(self.asked)}", self.current, 0, 10_000)


@pytest.fixture
def one_use() -> OneUse:
    """An auth service."""
    return OneUse()


def credentials(home: Path, issuer: OneUse, secret: str = "") -> Credentials:
    """What one command makes of the token file."""
    config = Config(home / "config.json")
    config.set("local.current-user", "admin")
    return Credentials(
        HOLDER.address,
        "micro",
        tokens=Tokens(home / "tokens"),
        login=Login(config, "local"),
        issuer=issuer,
        admin_secret=lambda: secret,
        now=lambda: 1000.0,
    )


def test_commands_share_a_refresh(tmp_path: Path, one_use: OneUse) -> None:
    """Of many commands which find the token ending at the same time one refreshes it, and all go on with what it got."""
    Tokens(tmp_path / "tokens").save(HOLDER, Token("a0", "r0", 0, 1001))
    ready = Barrier(8)

    def command() -> str:
        each = credentials(tmp_path, one_use)
        ready.wait()
        return each.token()

    with ThreadPoolExecutor(8) as pool:
        found = [each.result() for each in [pool.submit(command) for _ in range(8)]]
    assert found == ["a1"] * 8
    assert one_use.asked == ["r0"]
    assert Tokens(tmp_path / "tokens").find(HOLDER) == Token("a1", "r1", 0, 10_000)


def test_refresh_token_of_the_past(tmp_path: Path, one_use: OneUse) -> None:
    """A refresh token that is refused is not shown again; what it came with serves while it lasts."""
    Tokens(tmp_path / "tokens").save(HOLDER, Token("a0", "stolen", 0, 1001))
    assert [credentials(tmp_path, one_use).token() for _ in range(2)] == ["a0", "a0"]
    assert one_use.asked == ["stolen"]


def test_no_answer(tmp_path: Path, one_use: OneUse) -> None:
    """Where a refresh is not answered, the same refresh token is shown the next time."""
    Tokens(tmp_path / "tokens").save(HOLDER, Token("a0", "r0", 0, 999))
    one_use.slow = True
    assert credentials(tmp_path, one_use).token() == ""
    one_use.slow = False
    assert credentials(tmp_path, one_use).token() == "a1"


def test_refused_before_its_end(tmp_path: Path, one_use: OneUse) -> None:
    """A token which the server refuses, though by our clock it lasts, is refreshed."""
    Tokens(tmp_path / "tokens").save(HOLDER, Token("a0", "r0", 0, 5000))
    mine = credentials(tmp_path, one_use)
    assert (mine.token(), mine.renewed(), mine.token()) == ("a0", "a1", "a1")


def test_refused_while_another_refreshed(tmp_path: Path, one_use: OneUse) -> None:
    """Where another command has refreshed the refused token meanwhile, its token is taken."""
    Tokens(tmp_path / "tokens").save(HOLDER, Token("a0", "r0", 0, 5000))
    mine, other = credentials(tmp_path, one_use), credentials(tmp_path, one_use)
    assert (mine.token(), other.token()) == ("a0", "a0")
    assert (other.renewed(), mine.renewed()) == ("a1", "a1")
    assert one_use.asked == ["r0"]


def test_no_promotion(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """Who logged in as somebody else does not become admin when their token has ended."""
    user.has_a_daemon()
    Tokens(user.home / "tokens").save(
        Holder("127.0.0.1:8081", "micro", "jane"), Token("old", "", 0, int(user.now) - 1)
    )
    user.micro("user", "config", "set", "local.current-user", "jane")
    user.micro("services")
    assert shown(daemon) is None


def test_daemon_forgot(user: User, daemon: Daemon, issuer: None, refusal: Refusal) -> None:
    """A stored token that the server refuses is replaced by a new one, and the call is made again."""
    user.has_a_daemon()
    Tokens(user.home / "tokens").save(HOLDER, Token("of another life", "", 0, int(user.now) + 600))
    user.micro("user", "config", "set", "local.current-user", "admin")

    def lists(call: Call) -> registry_pb2.ListResponse:
        if call.metadata.get("authorization") != "Bearer by admin:s3cret":
            raise refusal(401, "an account is required")
        return registry_pb2.ListResponse()

    daemon.handlers[LIST] = lists
    assert user.micro("services").code == 0
    assert len(daemon.asked(LIST)) == 2


def test_not_logged_in(user: User, daemon: Daemon) -> None:
    """A 401 for nobody says which command helps, with exit code 2."""
    daemon.refuses(LIST, 401, "an account is required")
    got = user.micro("services")
    assert (got.code, got.err) == (2, "Not logged in. Run `micro login`.\n")


def test_namespace_token(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """An account of the namespace comes before one of the platform."""
    user.has_a_daemon()
    user.micro("services")
    Tokens(user.home / "tokens").save(
        Holder("127.0.0.1:8081", "foo", "admin"), Token("foo's own", "", 0, int(user.now) + 600)
    )
    user.micro("services", "--namespace=foo")
    assert shown(daemon) == "Bearer foo's own"
    user.micro("services", "--namespace=bar")
    assert shown(daemon) == "Bearer by admin:s3cret"


def test_logged_out(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """After a logout nobody is logged in again unasked."""
    user.has_a_daemon()
    user.micro("services")
    assert user.micro("logout").out == ""
    user.micro("services")
    assert shown(daemon) is None
    assert Tokens(user.home / "tokens").find(HOLDER) is None


def test_tls(user: User, daemon: Daemon, services: None) -> None:
    """An environment at port 443 is spoken to over TLS."""
    user.micro("env", "add", "far", "far.example.com")
    user.micro("services", "--env=far")
    assert (str(daemon.connected[-1]), daemon.connected[-1].tls) == ("far.example.com:443", True)


def test_told_address(user: User, daemon: Daemon, services: None) -> None:
    """MICRO_PROXY_ADDRESS moves the local environment; --env beats MICRO_PROXY."""
    user.environ["MICRO_PROXY_ADDRESS"] = ":18081"
    user.micro("services")
    assert str(daemon.connected[-1]) == "127.0.0.1:18081"
    user.environ["MICRO_PROXY"] = "127.0.0.1:18443"
    user.micro("services")
    assert str(daemon.connected[-1]) == "127.0.0.1:18443"
    user.micro("env", "add", "far", "far.example.com:8081")
    user.micro("services", "--env=far")
    assert str(daemon.connected[-1]) == "far.example.com:8081"


def test_down(user: User, daemon: Daemon, services: None) -> None:
    """A server that is not there is told with its address and the command that starts one, with exit code 4."""
    daemon.up = False
    got = user.micro("services")
    assert got.code == 4
    assert got.err == ("Failed to connect to micro server at 127.0.0.1:8081. Start it with `micro server`.\n")


def test_not_a_server(user: User, daemon: Daemon, services: None) -> None:
    """What is wrong with a connection is told, if it is more than that nobody is there."""
    daemon.up, daemon.why_down = False, "h:1 does not speak TLS as it should"
    user.micro("env", "add", "far", "h:1")
    assert user.micro("services", "--env=far").err == (
        "Failed to connect to micro server at h:1: h:1 does not speak TLS as it should. See `micro env`.\n"
    )


def test_secret_never_in_config(user: User, daemon: Daemon, services: None, issuer: None) -> None:
    """Neither secret nor token is in config.json."""
    user.has_a_daemon()
    user.micro("services")
    assert "s3cret" not in json.dumps(user.config())
