"""The certificate which the door for NATS shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from microd.gateways.nats.tls import server_options
from microd.testing.certificates import Authority


def test_good(tmp_path: Path) -> None:
    """A certificate with its key will do, and one for clients besides."""
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    assert server_options(str(issued.certificate), str(issued.key)).getContext() is not None
    assert server_options(str(issued.certificate), str(issued.key), str(authority.root)).verify


def test_bad_files(tmp_path: Path) -> None:
    """Whatever is wrong with a file is said of that file, and before anybody connects."""
    authority = Authority(tmp_path)
    issued, other = authority.issue("localhost"), authority.issue("elsewhere")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    good = str(issued.certificate), str(issued.key)
    for files, named in (
        (("/none.pem", good[1]), "/none.pem: No such file"),
        ((good[0], "/none.pem"), "/none.pem: No such file"),
        ((str(nothing), good[1]), f"{nothing} has no certificate"),
        ((good[0], str(nothing)), f"{nothing} is not the key of {good[0]}"),
        ((good[0], str(other.key)), f"{other.key} is not the key of {good[0]}"),
        ((*good, str(nothing)), f"{nothing} has no certificate"),
    ):
        with pytest.raises(ValueError, match=f"^{named}"):
            server_options(*files)
