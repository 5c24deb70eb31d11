"""Debian's nats-server with JetStream, its files in a folder of ours and all else at its defaults."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benches.contender import free_port, needed, wait_for
from benches.publishers import Connection

STREAM = "EVENTS"


@contextmanager
def jetstream(folder: Path) -> Iterator[int]:
    """Run it, with a stream that keeps C{ev.>} in files; its port."""
    port = free_port()
    command = [needed("nats-server", "nats-server"), "-js", "-sd", str(folder / "jetstream")]
    command += ["-a", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            wanted = {"name": STREAM, "subjects": ["ev.>"], "storage": "file", "retention": "limits"}
            _api(port, f"STREAM.CREATE.{STREAM}", wanted)
            yield port
        finally:
            process.terminate()


def stored(port: int) -> int:
    """How many messages the stream has."""
    state = _api(port, f"STREAM.INFO.{STREAM}", {})["state"]
    assert isinstance(state, dict)
    messages: int = state["messages"]
    return messages


def _api(port: int, what: str, request: dict[str, object]) -> dict[str, object]:
    with Connection(port) as connection:
        answer = json.loads(connection.ask(f"$JS.API.{what}", json.dumps(request).encode()))
    if "error" in answer:
        raise RuntimeError(f"JetStream refused {what}: {answer['error']}")
    assert isinstance(answer, dict)
    return answer
