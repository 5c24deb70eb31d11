"""The key pair which signs tokens (spec 1.3): made at the first start, or given by the operator."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509 import load_pem_x509_certificate

from microd.kernel.private import write_private

BITS = 2048
_SHORTEST = 2048


class BadKey(Exception):
    """A key from outside cannot be used; the message says whose and why."""


def load_or_make(folder: Path, private: str = "", public: str = "") -> RSAPrivateKey:
    """The key which was given; else the one in C{folder}; else a new one, which is kept there.

    @param private: PEM, or base64 of PEM; empty for none.
    @param public: its other half, only to be compared.
    @raise BadKey: what is given or kept is no such key.
    """
    where = folder / "id_rsa"
    if private:
        key = private_key(private, "the private key in the settings")
    elif public:
        raise BadKey("a public key is set without its private key: set both, or neither")
    elif where.exists():
        key = private_key(where.read_text(), str(where))
    else:
        key = generate_private_key(65537, BITS)
        write_private(where, _one_line(private_pem(key)))
    if public and _numbers(public) != key.public_key().public_numbers():
        raise BadKey("the public key in the settings is not the other half of the private key")
    if not private and not (folder / "id_rsa.pub").exists():
        write_private(folder / "id_rsa.pub", _one_line(public_pem(key)))
    return key


def private_key(text: str, whose: str) -> RSAPrivateKey:
    """Read a private key, PEM or base64 of PEM.

    @raise BadKey: it is none, or a short one.
    """
    try:
        key = serialization.load_pem_private_key(_pem(text), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{whose} is no private key in PEM, or base64 of PEM") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < _SHORTEST:
        raise BadKey(f"{whose} is no RSA key of {_SHORTEST} bits or more")
    return key


def private_pem(key: RSAPrivateKey) -> bytes:
    """PKCS#1, as Go services read it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def public_pem(key: RSAPrivateKey) -> bytes:
    """PKIX, as Go services read it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def derived(key: RSAPrivateKey, purpose: bytes) -> bytes:
    """A secret of 32 bytes, for one purpose, which only the holder of C{key} can derive."""
    secret = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return HKDF(hashes.SHA256(), 32, salt=None, info=purpose).derive(secret)


def _numbers(text: str) -> object:
    pem = _pem(text)
    certificate = b"BEGIN CERTIFICATE" in pem
    try:
        key: object = (
            load_pem_x509_certificate(pem).public_key()
            if certificate
            else serialization.load_pem_public_key(pem)
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("the public key in the settings is no PEM, or base64 of PEM") from error
    return key.public_numbers() if isinstance(key, RSAPublicKey) else None


def _pem(text: str) -> bytes:
    raw = text.strip().encode()
    if raw.startswith(b"-----BEGIN "):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error:
        return b""


def _one_line(pem: bytes) -> bytes:
    return base64.b64encode(pem)
