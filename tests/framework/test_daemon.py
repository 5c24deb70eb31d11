"""Finding the daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from microd.framework.daemon import DEFAULT_ADDRESS, address_from, find_daemon


@pytest.mark.parametrize(
    ("text", "description", "host", "port", "tls"),
    [
        ("127.0.0.1:8443", "tcp:127.0.0.1:8443", "127.0.0.1", 8443, False),
        (":8443", "tcp:127.0.0.1:8443", "127.0.0.1", 8443, False),
        ("https://m.example.com", "tls:m.example.com:443", "m.example.com", 443, True),
        ("m.example.com", "tls:m.example.com:443", "m.example.com", 443, True),
        ("m.example.com:443", "tls:m.example.com:443", "m.example.com", 443, True),
        ("https://m.example.com:9000/", "tls:m.example.com:9000", "m.example.com", 9000, True),
        ("[::1]:8443", "tcp:[::1]:8443", "::1", 8443, False),
        ("tcp:localhost:8443", "tcp:localhost:8443", "localhost", 8443, False),
        ("tls:h:1:trustRoots=ca.pem", "tls:h:1:trustRoots=ca.pem", "h", 1, True),
        ("unix:/run/m.sock", "unix:/run/m.sock", "", 0, False),
    ],
)
def test_address(text: str, description: str, host: str, port: int, tls: bool) -> None:
    """An address may be written in each of the usual ways."""
    found = address_from(text)
    assert (found.description, found.host, found.port, found.tls) == (description, host, port, tls)


def test_trust_roots() -> None:
    """An address may say whose certificates are believed."""
    assert address_from("tls:h:1:trustRoots=ca.pem").trust_roots == "ca.pem"
    assert address_from("h:1").trust_roots == ""


@pytest.mark.parametrize("text", ["a:b", "a:70000", "a/b:1", "::1:5"])
def test_no_address(text: str) -> None:
    """What is no address is refused in a sentence."""
    with pytest.raises(ValueError, match="is not the address of a daemon: write host:port"):
        address_from(text)


def note(home: Path, pid: int, **doors: str) -> None:
    """Leave what a running daemon leaves."""
    (home / "server").mkdir()
    (home / "server" / "daemon.json").write_text(json.dumps({"pid": pid, "doors": doors}))
    (home / "server" / "admin-secret").write_text("the secret\n")


def test_order(tmp_path: Path) -> None:
    """MICRO_PROXY comes before MICRO_ADDRESS, that before the daemon's own note, that before the usual address."""
    environ = {"MICRO_HOME": str(tmp_path)}
    assert find_daemon(environ).address.text == DEFAULT_ADDRESS
    note(tmp_path, os.getpid(), network="127.0.0.1:1234", proxy="127.0.0.1:9")
    assert find_daemon(environ).address.text == "127.0.0.1:1234"
    assert find_daemon({**environ, "MICRO_ADDRESS": "b:2"}).address.text == "b:2"
    assert find_daemon({**environ, "MICRO_ADDRESS": "b:2", "MICRO_PROXY": "a:1"}).address.text == "a:1"


def test_stale_note(tmp_path: Path) -> None:
    """The note of a daemon that is gone counts for nothing, and its secret is shown to nobody."""
    note(tmp_path, 1, network="127.0.0.1:1234")
    found = find_daemon({"MICRO_HOME": str(tmp_path)}, lambda pid: False)
    assert found.address.text == DEFAULT_ADDRESS
    assert found.admin_secret() == ""


def test_secret(tmp_path: Path) -> None:
    """The admin's secret is read for a door of the daemon that runs here, and for no other address."""
    note(tmp_path, os.getpid(), network="127.0.0.1:1234")
    environ = {"MICRO_HOME": str(tmp_path)}
    assert find_daemon(environ).admin_secret() == "the secret"
    assert find_daemon({**environ, "MICRO_PROXY": "127.0.0.1:1234"}).admin_secret() == "the secret"
    assert find_daemon({**environ, "MICRO_PROXY": "127.0.0.1:1235"}).admin_secret() == ""
