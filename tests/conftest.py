"""What tests of several areas share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

# grpcio would tidy up in every child process between fork and exec, and now and then aborts it there; its own threads are
# in this process, ours start children. It is asked before anybody imports it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

PEERS = Path(__file__).parent / "peers"


@pytest.fixture(scope="session")
def interop_players() -> Mapping[str, Sequence[str]]:
    """The commands that play gRPC's interop cases, for L{microd.testing.interop.playing.play_in_process}."""
    ours = [sys.executable, "-m", "microd.testing.interop", "--client"]
    return {
        "channel": [*ours, "channel"],
        "blocking": [*ours, "blocking"],
        "grpcio": [sys.executable, str(PEERS / "grpcio_client.py")],
        "grpc-js": ["node", str(PEERS / "interop_client.js")],
    }
