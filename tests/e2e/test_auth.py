"""Accounts, rules and tokens of a running daemon, as people and scripts meet them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from microd.cli.tokens import Holder, Tokens
from microd.kernel.errors import MicroError
from microd.testing.platform import Platform
from microd.wire import auth_pb2, store_pb2

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A machine with a daemon and a service."""
    made = Platform(tmp_path_factory.mktemp("auth") / "home")
    try:
        made.start()
        made.ok("new", "greeter")
        made.ok("run", "greeter")
        yield made
    finally:
        made.close()


def test_rules(machine: Platform) -> None:
    """A rule keeps people out until it is deleted; they are told which, and how to see it."""
    rule = ("no-greetings", "--scope=*", "--resource=service:greeter:*", "--access=denied")
    assert "Hello" in machine.ok("greeter", "hello", "--name=Ada")
    assert machine.ok("auth", "create", "rule", *rule) == "Rule created\n"
    refused = machine.micro("greeter", "hello", "--name=Ada")
    assert "rule `no-greetings` of namespace micro; see `micro auth list rules`" in refused.stderr
    assert "service:greeter:*" in machine.ok("auth", "list", "rules")
    assert machine.ok("auth", "delete", "rule", "no-greetings") == "Rule deleted\n"
    assert "Hello" in machine.ok("greeter", "hello", "--name=Ada")


def test_closed_and_reopened(machine: Platform) -> None:
    """One command closes the users' services, and the platform's go on; another reopens them."""
    machine.ok("auth", "delete", "rule", "default")
    refused = machine.micro("greeter", "hello", "--name=Ada")
    assert "no rule of namespace micro allows it" in refused.stderr
    assert "greeter" in machine.ok("services").split()
    assert machine.ok("auth", "list", "rules").splitlines()[1:] == []
    machine.ok("auth", "create", "rule", "members", "--scope=*", "--resource=*:*:*")
    assert "Hello" in machine.ok("greeter", "hello", "--name=Ada")
    machine.ok("auth", "create", "rule", "default", "--resource=*:*:*")
    machine.ok("auth", "delete", "rule", "members")


def test_commands_share_a_refresh(machine: Platform) -> None:
    """Commands which find the stored token ended at the same time go on together, and stay logged in."""
    machine.ok("auth", "create", "account", "ada", "--secret=s3cret", "--scopes=admin")
    machine.ok("login", "--username=ada", "--password=s3cret")
    tokens = Tokens(machine.home / "tokens")
    holder = Holder(machine.door("proxy"), "micro", "ada")
    for _ in range(2):
        stored = tokens.find(holder)
        assert stored is not None
        tokens.save(holder, stored._replace(expiry=int(time.time())))
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: machine.ok("user", "token"), range(6)))
        assert len(set(found)) == 1
        fresh = tokens.find(holder)
        assert fresh is not None
        assert fresh.access_token == found[0].strip()
        assert fresh.refresh_token != stored.refresh_token
    assert machine.ok("user") == "ada\n"
    machine.ok("logout")
    machine.ok("login")


def test_deleted_account(machine: Platform) -> None:
    """A deleted account's token is worth nothing with the next call."""
    machine.ok("auth", "create", "account", "eve", "--secret=s3cret", "--scopes=admin")
    made = machine.ok("auth", "create", "token", "--id=eve", "--secret=s3cret", "--json")
    token = json.loads(made)["access_token"]
    assert machine.ok("auth", "inspect", token).startswith("id: eve\n")
    with machine.client() as client:
        reply = client.ask("/auth.Rules/List", auth_pb2.ListRequest(), auth_pb2.ListResponse, token=token)
        assert [rule.id for rule in reply.rules] == ["default"]
        machine.ok("auth", "delete", "account", "eve")
        with pytest.raises(MicroError, match="an account is required"):
            client.ask("/auth.Rules/List", auth_pb2.ListRequest(), auth_pb2.ListResponse, token=token)


NAMES = ("", "micro", "auth", "system", "server", "main", "sqlite_master", "records", "account")
TRICKS = (
    "../system",
    "../server/system.db",
    "system.db",
    "/etc/passwd",
    "micro/auth",
    "micro\0auth",
    "%2e%2e",
    "'; ATTACH 'system.db",
    "*",
    "%",
)
KEYS = ("", "account/", "account/micro/admin", "rule/", "generation/", "%", "*", "\0")


def _answers(machine: Platform) -> Iterator[bytes]:
    """Whatever the store tells the platform's admin, asked in every way that there is."""
    secret = (machine.data / "admin-secret").read_text().strip()
    request = auth_pb2.TokenRequest(id="admin", secret=secret, token_expiry=600)
    with machine.client() as client:

        def ask(path: str, request: Any, reply: Any) -> bytes:
            try:
                answer: bytes = client.ask(path, request, reply, token=token).SerializeToString()
            except MicroError as error:
                return error.detail.encode()
            return answer

        token = client.ask("/auth.Auth/Token", request, auth_pb2.TokenResponse, token="").token.access_token
        yield ask("/store.Store/Databases", store_pb2.DatabasesRequest(), store_pb2.DatabasesResponse)
        for database in (*NAMES, *TRICKS):
            yield ask(
                "/store.Store/Tables", store_pb2.TablesRequest(database=database), store_pb2.TablesResponse
            )
        places = {*product(NAMES, NAMES), *product(NAMES, TRICKS), *product(TRICKS, NAMES)}
        for database, table in sorted(places):
            for key in KEYS[:3]:
                options = store_pb2.ReadOptions(database=database, table=table, prefix=True)
                wanted = store_pb2.ReadRequest(key=key, options=options)
                yield ask("/store.Store/Read", wanted, store_pb2.ReadResponse)
        for key in KEYS:
            wanted = store_pb2.ReadRequest(
                key=key, options=store_pb2.ReadOptions(database="micro", table="auth")
            )
            yield ask("/store.Store/Read", wanted, store_pb2.ReadResponse)


def test_store_does_not_tell(machine: Platform) -> None:
    """What auth keeps is not to be had from the store, whatever database, table and key are asked for."""
    kept = (machine.data / "system.db").read_bytes() + (machine.data / "system.db-wal").read_bytes()
    assert b"scrypt$" in kept
    told = list(_answers(machine))
    assert len(told) > 500
    assert not [each for each in told if b"scrypt$" in each or b'"sessions"' in each]


def test_store_lists_nothing_of_it(machine: Platform, tmp_path: Path) -> None:
    """No database or table of the store is auth's, and writing to one of that name changes nobody's account."""
    machine.ok("store", "write", "--table=auth", "account/micro/admin", "forged")
    assert machine.ok("store", "read", "--table=auth", "account/micro/admin") == "forged\n"
    assert "admin" in machine.ok("auth", "list", "accounts")
    machine.ok("store", "delete", "--table=auth", "account/micro/admin")
    machine.ok("logout")
    machine.ok("login")


def test_reset(machine: Platform) -> None:
    """Who controls the machine gets in again after the admin's secret was lost, and the former one is worth nothing."""
    machine.ok("auth", "create", "account", "keeper", "--secret=s3cret", "--scopes=admin")
    file = machine.data / "admin-secret"
    former = file.read_text()
    daemon = machine.daemon
    assert daemon is not None
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    daemon = machine.start("--auth-reset-admin=true")
    assert f"the secret of the account admin is in {file}" in str(daemon.output)
    assert file.read_text() != former
    assert machine.ok("user") == "admin\n"
    assert "keeper" in machine.ok("auth", "list", "accounts")
    refused = machine.micro("login", "--username=admin", f"--password={former.strip()}")
    assert "Secret not correct" in refused.stderr
