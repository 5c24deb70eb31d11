"""The daemon's door for NATS, as another server which speaks the protocol."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from microd.testing.platform import Platform
from tests.compat.nats.peers import Credentials


class Microd:
    """A daemon of its own, with one account.

    @ivar credentials: of the account; what L{token} gets replaces its secret with an access token.
    """

    def __init__(self, home: Path, max_payload: int) -> None:
        self.platform = Platform(home)
        self.credentials = Credentials()
        self._options = ["--nats-max-payload", str(max_payload)]
        self._address = "127.0.0.1:0"

    @property
    def address(self) -> str:
        """C{host:port}."""
        return self._address

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.platform.start(*self._options, "--nats-address", self._address)
        self._address = self.platform.door("nats")

    def enrol(self, credentials: Credentials) -> None:
        """Make the account."""
        self.platform.ok("auth", "create", "account", credentials.user, f"--secret={credentials.secret}")
        self.credentials = credentials

    def token(self) -> None:
        """Get a token."""
        shown = self.credentials
        said = self.platform.ok(
            "auth", "create", "token", f"--id={shown.user}", f"--secret={shown.secret}", "--json"
        )
        self.credentials = Credentials(token=json.loads(said)["access_token"])

    def restart(self) -> None:
        """Stop it and start it again."""
        self.duck()
        assert self.platform.daemon is not None
        self.platform.daemon.wait()
        self.start()

    def duck(self) -> None:
        """Have it say that it goes."""
        assert self.platform.daemon is not None
        self.platform.daemon.signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it."""
        self.platform.close()
