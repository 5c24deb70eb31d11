"""Doors that are not where they are by default."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from microd.testing.certificates import Authority
from microd.testing.platform import BIN, Platform

pytestmark = pytest.mark.e2e


def test_tls(platform: Platform) -> None:
    """With TLS at every door, the CLI, services and curl come in by them, and trust what the system trusts."""
    authority = Authority(platform.work)
    issued = authority.issue("127.0.0.1", "localhost")
    grpc = f"tls:0:certificate={issued.certificate}:privateKey={issued.key}:interface=127.0.0.1"
    http = f"ssl:0:certKey={issued.certificate}:privateKey={issued.key}:interface=127.0.0.1"
    platform.env["SSL_CERT_FILE"] = str(authority.root)
    platform.start("--proxy-address", grpc, "--network-address", grpc, "--api-address", http)
    assert "registry" in platform.ok("services").split()
    platform.ok("new", "greeter")
    platform.ok("run", "greeter")
    assert "Hello Ada" in platform.ok("greeter", "hello", "--name=Ada")
    url = f"https://{platform.door('api').removeprefix('https://')}/greeter/hello"
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority.root), "--json", '{"name":"Ada"}', url],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "Hello Ada" in done.stdout, done.stderr


def test_tls_untrusted(platform: Platform) -> None:
    """The CLI does not talk to a door whose certificate it cannot trust, and says so in a sentence."""
    issued = Authority(platform.work).issue("127.0.0.1")
    grpc = f"tls:0:certificate={issued.certificate}:privateKey={issued.key}:interface=127.0.0.1"
    platform.start("--proxy-address", grpc)
    done = platform.micro("services")
    assert done.returncode != 0
    assert "certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_unix(platform: Platform) -> None:
    """A door may be a socket in the file system."""
    folder = Path(platform.work)
    platform.start("--api-address", "unix:api.sock")
    assert platform.door("api") == f"unix:{folder / 'api.sock'}"
    done = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(folder / "api.sock"), "http://localhost/"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "version" in done.stdout, done.stderr


def test_only(platform: Platform) -> None:
    """With --only, what was not named and no door needs is not there, and calls to it say so."""
    platform.start("--only", "registry,store,proxy")
    needed = {"registry", "auth", "network", "router", "api", "proxy"}
    assert set(platform.ok("services").split()) == needed | {"store"}
    platform.ok("store", "write", "key", "value")
    assert platform.ok("store", "read", "key").strip() == "value"
    done = platform.micro("status")
    assert done.returncode != 0
    assert "runtime" in done.stdout + done.stderr


def test_micro_server(platform: Platform) -> None:
    """`micro server` is the same daemon."""
    server = platform.spawn(str(BIN / "micro"), "server")
    server.output.wait_for(" is ready: ")
    assert "registry" in platform.ok("services").split()
    server.popen.terminate()
    assert server.wait() == 0


def test_login_from_elsewhere(platform: Platform, tmp_path: Path) -> None:
    """Somebody else's CLI gets in with the secret, and not without it."""
    platform.start(MICRO_ADMIN_SECRET="correct horse battery staple")
    elsewhere = Platform(tmp_path / "elsewhere")
    elsewhere.ok("env", "add", "there", platform.door("proxy"))
    elsewhere.ok("env", "set", "there")
    refused = elsewhere.micro("services")
    assert refused.returncode != 0
    assert "micro login" in refused.stderr
    wrong = elsewhere.micro("login", "--username", "admin", "--password", "micro")
    assert wrong.returncode != 0
    elsewhere.ok("login", "--username", "admin", "--password", "correct horse battery staple")
    assert "registry" in elsewhere.ok("services").split()
    elsewhere.ok("logout")
    assert elsewhere.micro("services").returncode != 0


def test_without_nats(platform: Platform) -> None:
    """Who wants no door for NATS switches it off."""
    platform.start("--nats-address", "off")
    doors = json.loads((platform.data / "daemon.json").read_text())["doors"]
    assert set(doors) == {"api", "proxy", "network", "ops"}
