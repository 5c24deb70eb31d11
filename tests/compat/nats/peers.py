"""nats-server as a process, for the tests to compare the daemon's NATS door with."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PEERS

#: So long each server lets clients go in lame duck mode; nats-server takes no less.
DUCK = "30s"


@dataclass(frozen=True)
class Credentials:
    """What a client shows: a name and a secret, or a token."""

    user: str = ""
    secret: str = ""
    token: str = ""

    @property
    def options(self) -> dict[str, str]:
        """As they stand in CONNECT."""
        if self.token:
            return {"auth_token": self.token}
        return {"user": self.user, "pass": self.secret}


#: A short secret would cost a third of a second with each connection.
ALICE = Credentials("alice", "alice's secret, which is too long to be guessed")
TOKEN = Credentials(token="a token, which is no JWT")


def nats_server() -> str:
    """Where the program is."""
    for place in (PEERS / "debian/usr/sbin/nats-server", Path("/usr/sbin/nats-server")):
        if place.exists():
            return str(place)
    found = shutil.which("nats-server")
    assert found is not None, "run tests/peers/install"
    return found


class NatsServer:
    """One nats-server, which knows one account.

    @ivar credentials: of the account.
    """

    def __init__(self, folder: Path, credentials: Credentials, max_payload: int) -> None:
        folder.mkdir(parents=True)
        self.credentials = credentials
        self.port = _free_port()
        if credentials.token:
            authorization = f'token: "{credentials.token}"'
        else:
            authorization = f'user: "{credentials.user}", password: "{credentials.secret}"'
        self._settings = folder / "nats.conf"
        self._settings.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f"authorization: {{ {authorization} }}\n"
            f"max_payload: {max_payload}\n"
            f'lame_duck_duration: "{DUCK}"\nlame_duck_grace_period: "500ms"\n'
            f'log_file: "{folder / "log"}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """C{host:port}."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen([nats_server(), "-c", str(self._settings)])
        for _ in range(1000):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.01)
        raise AssertionError("nats-server does not listen")

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def duck(self) -> None:
        """Have it say that it goes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR2)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
