"""The keys which keep secrets secret: AES-256-GCM, and a name for each key, so that a wrong one is told from a right one.

What is sealed is bound to its namespace and path: moved elsewhere, in the file underneath, it does not open. The first key
seals; the others only open what was sealed before they were replaced.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path as File

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from microd.kernel.errors import Internal
from microd.kernel.private import write_private
from microd.services.config.model import Path

FILE = "config_secret_key"
_BYTES = 32
_NONCE = 12
_SETTINGS = "config.secret_key (MICRO_CONFIG_SECRET_KEY) or config.secret_key_file"


class UnusableKeys(Exception):
    """Secrets cannot be kept or read with the keys which were given; the message says why, and what to do."""


class Keyring:
    """Seals secrets, and opens them.

    @param keys: 32 bytes each, the first one seals.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self.current = key_id(keys[0])

    def __contains__(self, id: str) -> bool:
        return id in self._ciphers

    def seal(self, namespace: str, path: Path, text: str) -> str:
        """Make a secret unreadable."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self.current].encrypt(nonce, text.encode(), _place(namespace, path))
        return f"{self.current}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, namespace: str, path: Path, sealed: str) -> str:
        """Make it readable.

        @raise Internal: the key is not here, or this is not what was sealed for this place.
        """
        where = ".".join(path)
        id, _, text = sealed.partition(".")
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise Internal(
                f"Error in config structure: Can't decode secret: {where} was encrypted with the key {id}, "
                f"which is not among those of {_SETTINGS}"
            )
        try:
            raw = base64.b64decode(text, validate=True)
            return cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _place(namespace, path)).decode()
        except (InvalidTag, ValueError):
            raise Internal(
                f"Error in config structure: Can't decode secret: what is kept for {where} was changed or moved"
            ) from None


def id_of(sealed: str) -> str:
    """Which key a sealed secret needs."""
    return sealed.partition(".")[0]


def key_id(key: bytes) -> str:
    """A name for a key, which tells nothing of it."""
    return hashlib.sha256(b"microd config key " + key).hexdigest()[:16]


def load_or_make(
    folder: File, used: Collection[str], *, given: str = "", file: str = "", lost: Collection[str] = ()
) -> Keyring:
    """The keys which were given; else those in C{folder}; else a new one, which is kept there.

    @param used: ids of the keys which secrets were sealed with.
    @param given: keys, base64 of 32 bytes each, with spaces, commas or lines between them.
    @param file: a file which holds the same.
    @param lost: ids which may be missing.
    @raise UnusableKeys: what is given or kept is no key, or one of C{used} is missing.
    """
    kept = folder / FILE
    if given:
        whose, text = "config.secret_key", given
    elif file:
        whose, text = file, _read(File(file))
    elif kept.exists():
        whose, text = str(kept), _read(kept)
    else:
        whose, text = str(kept), ""
    missing = sorted(set(used) - set(lost))
    if not text.split() and whose == str(kept) and not missing:
        text = base64.b64encode(secrets.token_bytes(_BYTES)).decode()
        write_private(kept, text.encode() + b"\n")
    if text.split():
        keys = [_key(word, whose) for word in text.replace(",", " ").split()]
        missing = sorted(set(missing) - set(map(key_id, keys)))
    elif not missing:
        raise UnusableKeys(f"{whose} holds no key: write base64 of {_BYTES} bytes into it")
    if missing:
        raise UnusableKeys(
            f"secrets in the config are encrypted with a key that is missing (id {', '.join(missing)}): "
            f"give it in {_SETTINGS}, beside the new one; if it is lost for good, name the id in config.lost_keys"
        )
    return Keyring(keys)


def _read(path: File) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise UnusableKeys(f"{path}: {getattr(problem, 'strerror', None) or 'no text in it'}") from problem


def _key(word: str, whose: str) -> bytes:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _BYTES:
        raise UnusableKeys(
            f"{whose} holds something else than base64 of {_BYTES} bytes: make a key with `openssl rand -base64 32`"
        )
    return key


def _place(namespace: str, path: Path) -> bytes:
    return f"{namespace}/{'.'.join(path)}".encode()
