"""What counts as an address."""

from __future__ import annotations

from typing import Any

import pytest

from microd.cli.address import Address, address_from
from microd.cli.failure import CommandFailed


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:8081", Address("127.0.0.1", 8081)),
        (":8081", Address("127.0.0.1", 8081)),
        ("0.0.0.0:8081", Address("127.0.0.1", 8081)),
        ("[::]:8081", Address("127.0.0.1", 8081)),
        ("[::1]:8081", Address("[::1]", 8081)),
        ("micro.example.com", Address("micro.example.com", 443, tls=True)),
        ("micro.example.com:443", Address("micro.example.com", 443, tls=True)),
        ("https://micro.example.com", Address("micro.example.com", 443, tls=True)),
        ("https://micro.example.com:8443/", Address("micro.example.com", 8443, tls=True)),
        ("http://micro.example.com:8081", Address("micro.example.com", 8081)),
    ],
)
def test_understood(text: Any, meant: Any) -> None:
    """No port and port 443 mean TLS; a host for every interface means this one."""
    assert address_from(text) == meant


@pytest.mark.parametrize("text", ["127.0.0.1:0", "host:port", "host:99999", "ftp://host:21", "host/path:1"])
def test_refused(text: Any) -> None:
    """What is no address is named."""
    with pytest.raises(CommandFailed, match="is not an address"):
        address_from(text)
