"""The certificate that the door shows, when clients turn to TLS behind its INFO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    trustRootFromCertificates,
)

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def server_options(certificate: str, key: str, authorities: str = "") -> CertificateOptions:
    """What TLS is begun with: 1.2 or newer.

    @param certificate: a PEM file; behind the certificate come those which lead to its issuer.
    @param key: a PEM file with the private key.
    @param authorities: a PEM file with whoever may have signed the clients' certificates; empty: clients show none.
    @raise ValueError: a file cannot be read, or is something else; the sentence names it.
    """
    chain = _certificates(certificate)
    pem = _read(key) + b"\n" + _read(certificate)
    try:
        own = PrivateCertificate.loadPEM(pem)
    except Exception as error:  # OpenSSL's errors have no base that could be named
        raise ValueError(f"{key} is not the key of {certificate}: {error}") from error
    # As objects of the cryptography package, since pyOpenSSL would warn of its own.
    given: dict[str, Any] = {
        "privateKey": own.privateKey.original.to_cryptography_key(),
        "certificate": own.original.to_cryptography(),
        "extraCertChain": [each.original.to_cryptography() for each in chain[1:]],
    }
    options = CertificateOptions(
        trustRoot=trustRootFromCertificates(_certificates(authorities)) if authorities else None, **given
    )
    try:
        # What does not fit together is found now, and not with the first client.
        options.getContext()
    except Exception as error:
        raise ValueError(f"{key} is not the key of {certificate}") from error
    return options


def _certificates(file: str) -> list[Any]:
    try:
        found = [Certificate.loadPEM(part) for part in _PEM.findall(_read(file))]
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{file} has no certificate in PEM form: {error}") from error
    if not found:
        raise ValueError(f"{file} has no certificate in PEM form")
    return found


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as problem:
        raise ValueError(f"{file}: {problem.strerror}") from problem
