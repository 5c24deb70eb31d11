"""The key pair: made once, kept safely, or given."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from microd.services.auth.keys import BadKey, load_or_make, private_pem, public_pem


def test_made(tmp_path: Path) -> None:
    """The first start makes a pair of 2048 bits, each file one line of base64 of PEM, mode 0600."""
    key = load_or_make(tmp_path / "data")
    assert key.key_size == 2048
    for name, begin in (("id_rsa", b"BEGIN RSA PRIVATE KEY"), ("id_rsa.pub", b"BEGIN PUBLIC KEY")):
        file = tmp_path / "data" / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert begin in base64.b64decode(file.read_text(), validate=True)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["id_rsa", "id_rsa.pub"]


def test_kept(tmp_path: Path) -> None:
    """Later starts use the same pair."""
    first, second = load_or_make(tmp_path), load_or_make(tmp_path)
    assert first.private_numbers() == second.private_numbers()


def test_given(key: RSAPrivateKey, tmp_path: Path) -> None:
    """A pair from outside is taken as PEM or as base64 of it, and nothing is written."""
    private, public = private_pem(key), public_pem(key)
    for form in (bytes.decode, lambda pem: base64.b64encode(pem).decode()):
        found = load_or_make(tmp_path, form(private), form(public))
        assert found.private_numbers() == key.private_numbers()
    assert list(tmp_path.iterdir()) == []


def test_not_a_pair(key: RSAPrivateKey, tmp_path: Path) -> None:
    """Two halves of different pairs are refused."""
    other = generate_private_key(65537, 2048)
    with pytest.raises(BadKey, match="not the other half"):
        load_or_make(tmp_path, private_pem(key).decode(), public_pem(other).decode())


@pytest.mark.parametrize(
    "text", ["nonsense", "é", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"]
)
def test_no_key(tmp_path: Path, text: str) -> None:
    """What is no key is refused, saying what would be one."""
    with pytest.raises(BadKey, match="in PEM, or base64 of PEM"):
        load_or_make(tmp_path, text)


def test_public_only(key: RSAPrivateKey, tmp_path: Path) -> None:
    """A public key without its private one would be passed over in silence; it is refused."""
    with pytest.raises(BadKey, match="set both, or neither"):
        load_or_make(tmp_path, "", public_pem(key).decode())


def test_weak(tmp_path: Path) -> None:
    """Keys which are too short, or no RSA keys, are refused."""
    short = private_pem(generate_private_key(65537, 1024)).decode()
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for text in (short, curve.decode()):
        with pytest.raises(BadKey, match="no RSA key of 2048 bits or more"):
            load_or_make(tmp_path, text)


def test_damaged(tmp_path: Path) -> None:
    """A damaged key file is named, and not overwritten: every token in the world hangs on it."""
    (tmp_path / "id_rsa").write_text("x")
    with pytest.raises(BadKey, match=str(tmp_path)):
        load_or_make(tmp_path)
    assert (tmp_path / "id_rsa").read_text() == "x"
