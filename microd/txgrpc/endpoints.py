"""Endpoints from strings, with TLS that insists on HTTP/2 (ALPN C{h2}).

Where a server listens::

    tcp:8081:interface=127.0.0.1
    unix:/run/microd/proxy.sock:mode=660
    tls:8443:certificate=chain.pem:privateKey=key.pem[:interface=ADDRESS][:trustRoots=ca.pem]
    systemd:domain=INET:index=0

What a client connects to::

    tcp:HOST:PORT (or just HOST:PORT)        unix:PATH
    tls:HOST:PORT[:trustRoots=ca.pem][:hostname=NAME][:certificate=chain.pem:privateKey=key.pem]

C{ssl:} says the same as C{tls:}. C{trustRoots} is a PEM file or a folder of them; a server that has some demands a certificate
from its clients, a client that has none trusts what the system trusts. C{timeout} bounds a client's connecting, handshake included.
A colon within a value is written C{\\:}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from microd.txgrpc.alpn import H2, TlsClientEndpoint, TlsServerEndpoint

#: Seconds that connecting may take, TLS handshake included.
CONNECT_TIMEOUT = 5.0

_fields = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")
_keyword = re.compile(r"([A-Za-z]+)=(.*)", re.DOTALL)
_pem = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)

# What Twisted calls the same.
_SYNONYMS = {
    "certKey": "certificate",
    "trustRoot": "trustRoots",
    "caCertsDir": "trustRoots",
    "path": "address",
}


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Where a server shall listen.

    @raise ValueError: the string cannot be understood, or names a file that is not what it should be.
    """
    kind, positional, named = _parse(description)
    if kind not in ("tls", "ssl"):
        try:
            plain: IStreamServerEndpoint = serverFromString(reactor, description)
        except (LookupError, TypeError) as error:
            why = "systemd passed no such socket on" if kind == "systemd" else error
            raise ValueError(f"{description!r} is not an endpoint: {why}") from error
        return plain
    (port,) = _ports(description, positional, named, ("port",))
    interface = named.pop("interface", "")
    backlog = int(named.pop("backlog", "50"))
    options = _server_options(description, named)
    _nothing_else(description, named)
    make = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return TlsServerEndpoint(make(reactor, int(port), backlog, interface), options, reactor)


def client_endpoint(reactor: Any, description: str) -> IStreamClientEndpoint:
    """What a client shall connect to.

    @raise ValueError: as L{server_endpoint} does.
    """
    kind, positional, named = _parse(description)
    timeout = float(named.pop("timeout", CONNECT_TIMEOUT))
    if kind == "unix":
        path = named.pop("address", "") or (positional[0] if positional else "")
        if not path:
            raise ValueError(f"{description!r} names no path")
        _nothing_else(description, named)
        return UNIXClientEndpoint(reactor, path, timeout)
    if kind not in ("tcp", "tls", "ssl"):
        kind, positional = "tcp", [kind, *positional]
    host, port = _ports(description, positional, named, ("host", "port"))
    connection = HostnameEndpoint(reactor, host.strip("[]"), int(port), timeout)
    if kind == "tcp":
        _nothing_else(description, named)
        return connection
    hostname = named.pop("hostname", host.strip("[]"))
    options = _client_options(description, hostname, named)
    _nothing_else(description, named)
    return TlsClientEndpoint(connection, options, reactor, timeout)


def _parse(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Split at colons: the first word, the values by position, those by name."""
    if "[" in description:
        # An IPv6 address in brackets keeps its colons.
        description = re.sub(r"\[[^]]*\]", lambda found: found[0].replace(":", r"\:"), description)
    words = [found[1] for found in _fields.finditer(description)]
    if words and not words[-1]:
        words.pop()
    if not words:
        raise ValueError("an endpoint's description is empty")
    positional: list[str] = []
    named: dict[str, str] = {}
    for word in words[1:]:
        keyword = _keyword.fullmatch(word)
        value = re.sub(r"\\(.)", r"\1", keyword[2] if keyword else word)
        if keyword:
            named[_SYNONYMS.get(keyword[1], keyword[1])] = value
        else:
            positional.append(value)
    first = re.sub(r"\\(.)", r"\1", words[0])
    return (first.lower() if first.lower() in ("tcp", "tls", "ssl", "unix") else first), positional, named


def _ports(
    description: str, positional: list[str], named: dict[str, str], names: tuple[str, ...]
) -> tuple[str, ...]:
    """The values that may stand by position or by name; the last is a port number."""
    values = tuple(named.pop(name, "") or (positional.pop(0) if positional else "") for name in names)
    if not all(values) or positional or not values[-1].isdigit() or int(values[-1]) > 65535:
        raise ValueError(
            f"{description!r} is not an endpoint: {' and '.join(names)} are wanted, the port as a number"
        )
    return values


def _nothing_else(description: str, named: dict[str, str]) -> None:
    if named:
        raise ValueError(f"{description!r} has an option that is not known here: {', '.join(sorted(named))}")


def _server_options(description: str, named: dict[str, str]) -> CertificateOptions:
    own = _own_certificate(description, named)
    if not own:
        raise ValueError(f"{description!r} needs certificate=FILE and privateKey=FILE")
    return CertificateOptions(trustRoot=_trust(description, named), acceptableProtocols=[H2], **own)


def _client_options(description: str, hostname: str, named: dict[str, str]) -> Any:
    """Options that verify the server's certificate, and that it is for C{hostname} (service_identity does)."""
    own = _own_certificate(description, named)
    return optionsForClientTLS(
        hostname,
        trustRoot=_trust(description, named),
        acceptableProtocols=[H2],
        extraCertificateOptions=own,
    )


def _own_certificate(description: str, named: dict[str, str]) -> dict[str, Any]:
    """What L{CertificateOptions} wants to know of our certificate, its key, and those which lead to its issuer."""
    certificate = named.pop("certificate", None)
    key = named.pop("privateKey", "") or certificate
    further = named.pop("extraCertChain", None)
    if certificate is None or key is None:
        return {}
    pem = _bytes_of(description, Path(key)) + b"\n" + _bytes_of(description, Path(certificate))
    own = _load(description, certificate, PrivateCertificate.loadPEM, pem)
    chain = _certificates(description, certificate)[1:]
    if further is not None:
        chain += _certificates(description, further)
    # As objects of the cryptography package, since pyOpenSSL would warn of its own.
    return {
        "privateKey": own.privateKey.original.to_cryptography_key(),
        "certificate": own.original.to_cryptography(),
        "extraCertChain": [each.original.to_cryptography() for each in chain],
    }


def _trust(description: str, named: dict[str, str]) -> Any:
    roots = named.pop("trustRoots", None)
    return trustRootFromCertificates(_certificates(description, roots)) if roots else None


def _certificates(description: str, path: str) -> list[Any]:
    """The certificates in a PEM file, or in all of a folder."""
    place = Path(path)
    files: Iterable[Path] = sorted(place.glob("*.pem")) if place.is_dir() else [place]
    found = [
        _load(description, str(file), Certificate.loadPEM, part)
        for file in files
        for part in _pem.findall(_bytes_of(description, file))
    ]
    if not found:
        raise ValueError(f"{path}, named by {description!r}, has no certificate in PEM form")
    return found


def _bytes_of(description: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}, named by {description!r}, cannot be read: {error.strerror}") from error


def _load(description: str, path: str, load: Callable[[bytes], Any], pem: bytes) -> Any:
    try:
        return load(pem)
    except Exception as error:  # OpenSSL's errors have no base that could be named
        raise ValueError(
            f"{path}, named by {description!r}, is no certificate with its key: {error}"
        ) from error
