"""TLS at the door for NATS: behind INFO as NATS has it, for who wants it, with clients' certificates, and before INFO."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest

from microd.testing import nats_wire as wire
from microd.testing.certificates import Authority, Issued
from microd.testing.nats_client import RawNats
from microd.testing.platform import Platform
from tests.conftest import PEERS

pytestmark = [pytest.mark.peer, pytest.mark.e2e]

#: Comes in over TLS with npm's client, and hears itself.
_JS = """
const { connect, StringCodec } = require('nats');
(async () => {
  const [servers, user, pass, caFile] = process.argv.slice(1);
  const nc = await connect({ servers, user, pass, tls: { caFile } });
  const heard = nc.subscribe('a', { max: 1 });
  nc.publish('a', StringCodec().encode('x'));
  for await (const message of heard) console.log(message.string());
  await nc.close();
})();
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom everybody trusts."""
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    """The daemon's certificate."""
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture
def start(tmp_path: Path, issued: Issued) -> Iterator[Callable[..., Platform]]:
    """Starts a daemon with the certificate and these options."""
    platform = Platform(tmp_path / "home")

    def start(*options: str) -> Platform:
        platform.start(
            "--nats-tls-cert", str(issued.certificate), "--nats-tls-key", str(issued.key), *options
        )
        return platform

    yield start
    platform.close()


def _secret(platform: Platform) -> str:
    return (platform.data / "admin-secret").read_text().strip()


def _with_nats_py(platform: Platform, context: ssl.SSLContext, **options: bool) -> bytes:
    """What somebody hears who comes in and speaks to themselves."""

    async def act() -> bytes:
        port = platform.door("nats").rpartition(":")[2]
        connection = await nats.connect(
            f"tls://localhost:{port}", tls=context, user="admin", password=_secret(platform), **options
        )
        try:
            subscription = await connection.subscribe("a")
            await connection.publish("a", b"x" * 100_000)
            return (await subscription.next_msg(timeout=10)).data
        finally:
            await connection.close()

    return asyncio.run(act())


def test_required(start: Callable[..., Platform], authority: Authority) -> None:
    """With a certificate clients turn to TLS behind INFO; who does not is not let in, and nothing of it is read."""
    platform = start()
    context = ssl.create_default_context(cafile=str(authority.root))
    assert _with_nats_py(platform, context) == b"x" * 100_000
    port = platform.door("nats").rpartition(":")[2]
    said = subprocess.run(
        ["node", "-e", _JS, f"tls://localhost:{port}", "admin", _secret(platform), str(authority.root)],
        cwd=PEERS,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (said.stdout, said.stderr) == ("x\n", "")
    with RawNats(platform.door("nats")) as plain:
        assert plain.info["tls_required"] is True
        plain.send(wire.connect(user="admin", **{"pass": _secret(platform)}), wire.PING)
        assert plain.until_end() == []


def test_available(start: Callable[..., Platform], authority: Authority) -> None:
    """With nats.tls_required off, clients do as they like."""
    platform = start("--nats-tls-required", "false")
    shown = {"verbose": False, "user": "admin", "pass": _secret(platform)}
    context = ssl.create_default_context(cafile=str(authority.root))
    with RawNats(platform.door("nats")) as plain, RawNats(platform.door("nats"), tls=context) as secure:
        assert plain.info["tls_available"] is True
        assert "tls_required" not in plain.info
        plain.login(**shown).send(wire.sub("a", 1))
        plain.flush()
        secure.login(**shown).send(wire.pub("a", b"x"))
        assert plain.messages(1)[0].payload == b"x"


def test_clients_certificates(
    start: Callable[..., Platform], authority: Authority, issued: Issued, tmp_path: Path
) -> None:
    """With nats.tls_ca, clients must show a certificate which that has signed; their accounts are asked for all the same."""
    platform = start("--nats-tls-ca", str(authority.root))
    context = ssl.create_default_context(cafile=str(authority.root))
    context.load_cert_chain(issued.certificate, issued.key)
    assert _with_nats_py(platform, context) == b"x" * 100_000
    stranger = Authority(tmp_path, "stranger").issue("mallory")
    forged = ssl.create_default_context(cafile=str(authority.root))
    forged.load_cert_chain(stranger.certificate, stranger.key)
    for bad in (forged, ssl.create_default_context(cafile=str(authority.root))):
        with RawNats(platform.door("nats"), tls=bad) as refused:
            assert refused.info["tls_verify"] is True
            refused.send(wire.connect(user="admin", **{"pass": _secret(platform)}), wire.PING)
            assert refused.until_end() == []
    with RawNats(platform.door("nats"), tls=context) as nobody:
        nobody.send(wire.connect(verbose=False), wire.PING)
        nobody.until_end()
        assert nobody.errors == ["Authorization Violation"]


def test_first(tmp_path: Path, authority: Authority, issued: Issued) -> None:
    """An address may do TLS by itself: then it comes before INFO."""
    platform = Platform(tmp_path / "home")
    address = f"ssl:0:interface=127.0.0.1:certKey={issued.certificate}:privateKey={issued.key}"
    try:
        platform.start("--nats-address", address)
        assert json.loads((platform.data / "daemon.json").read_text())["doors"]["nats"].startswith(
            "tls://127"
        )
        context = ssl.create_default_context(cafile=str(authority.root))
        assert _with_nats_py(platform, context, tls_handshake_first=True) == b"x" * 100_000
    finally:
        platform.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--nats-tls-cert", "/none.pem"),
            "nats.tls_cert, nats.tls_key, nats.tls_ca: /none.pem: No such file",
        ),
        (("--nats-tls-key", "/none.pem"), "nats.tls_key: it is for the certificate in nats.tls_cert"),
    ],
)
def test_bad(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """A daemon whose certificate is no good does not start, and says which file and which setting."""
    platform = Platform(tmp_path / "home")
    try:
        daemon = platform.launch(*options)
        assert daemon.wait() == 1
        assert said in str(daemon.output)
    finally:
        platform.close()
