"""The traffic of well-behaved NATS clients beside which a bench measures: 500 messages a second of 8 KiB, and one reader.

Run with the address, the user and the secret; it goes on until its input ends, and then prints how many it sent and read.
"""

from __future__ import annotations

import select
import sys

from microd.testing import nats_wire as wire
from microd.testing.nats_client import RawNats
from microd.testing.nats_hostile import LOAD

_PAUSE, _BURST = 0.01, 5


def main(address: str, user: str, secret: str) -> None:
    """Publish and read, and lose nothing."""
    options = {"user": user, "pass": secret}
    message = wire.pub(LOAD, b"x" * 8192)
    sent = 0
    with RawNats(address) as writer, RawNats(address) as reader:
        writer.login(**options)
        reader.login(**options).send(wire.sub("load.*", 1))
        reader.flush()
        print("steady", flush=True)
        while not select.select([sys.stdin], [], [], _PAUSE)[0]:
            writer.send(message * _BURST)
            reader.messages(_BURST)
            sent += _BURST
    print(f"{sent} sent and read", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
