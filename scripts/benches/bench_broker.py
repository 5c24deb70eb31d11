"""The broker beside Debian's nats-server: the same messages over the same raw sockets, in turn.

A publisher in a process of its own sends as fast as it is read, and listeners count bytes; what is given is messages a second from the first that was sent to
the last that had reached everybody. nats-server runs with its defaults, on as many cores as it likes, and without accounts; ours has one thread, and asks its auth
who comes in. The bars: 0.35 of nats-server one to one, 0.5 one to three, and 5,000 idle connections in less than 200 MiB of our process.
The other figures have no bar: many subjects through wildcards, sizes and subjects at random, headers, queues.

What a message costs our thread without sockets (benches.nats_memory, on the machine of the README):
320 ns one to one, and 80 more for each further listener; 360 with 1,000 subjects through a wildcard; 470 through a queue; 750 with headers; 1,100 where neither size nor
subject comes again soon, so that the line has to be taken apart. With sockets 550 ns, where nats-server takes 690 of its two cores.
The designs that were measured on the way there: a parser with C{find} and an object for each message 3,600 ns; lines remembered as a whole, what was read
split at C{\\r\\n} 370; split at C{\\n} 320.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benches.alternation import Report, alternate, pairs_from, ratio
from benches.contender import Contender, free_port, needed, wait_for
from benches.nats_load import Load, flood
from microd.kernel.caller import Account
from microd.services.auth.keys import load_or_make
from microd.services.auth.tokens import Claims, Mint
from microd.testing.nats_idle import idle_connections, resident_kib

OURS, THEIRS = "microd", "nats-server"
IDLE = 5000
_PLAIN = {"verbose": False, "pedantic": False, "headers": True}

#: What is sent, and the least that we must do of what nats-server does; None: it is only told.
CASES: Mapping[str, tuple[Load, float | None]] = {
    "one_to_one": (Load(), 0.35),
    "one_to_three": (Load(listeners=3), 0.5),
    "1000_subjects_rest": (Load(subjects=1000, patterns=("bench.>",)), None),
    "1000_subjects_stars": (Load(subjects=1000, patterns=("bench.*.*.orders",)), None),
    "random": (Load(subjects=1000, order="random", sizes=(16, 512), patterns=("bench.>",)), None),
    "headers": (Load(headers=True), None),
    "queue_of_three": (Load(listeners=3, queue="workers"), None),
    "16_KiB": (Load(sizes=(16384, 16384), messages=50_000), None),
}


@contextmanager
def nats_server() -> Iterator[int]:
    """Run nats-server; its port."""
    port = free_port()
    command = [needed("nats-server", "nats-server"), "-a", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()


def token(data: Path) -> str:
    """An access token which the door with its key in C{data} takes."""
    account = Account("bench", "service", "micro", "bench", ("service",))
    claims = Claims(account, "access", 0, 1 << 40)
    return Mint(load_or_make(data)).sign(claims)


def idle(report: Report, ours: Contender, options: dict[str, Any]) -> None:
    """What connections cost that are there and say nothing, each with a subscription."""
    before = resident_kib(ours.pid)
    with idle_connections(f"127.0.0.1:{ours.port}", IDLE, subscriptions=1, **options):
        after = resident_kib(ours.pid)
    report.figure("idle_growth_mib", (after - before) / 1024)
    report.below("idle_total_mib", after / 1024, 200)


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("broker")
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {**_PLAIN, "auth_token": token(Path(folder))}
        with Contender.module("benches.broker_door", folder) as ours:
            idle(report, ours, options)
        with Contender.module("benches.broker_door", folder) as ours, nats_server() as theirs:
            doors = {OURS: (ours.port, options), THEIRS: (theirs, _PLAIN)}
            for name, (load, bar) in CASES.items():
                rounds = alternate(
                    pairs,
                    {
                        who: partial(flood, replace(load, port=port, connect=json.dumps(said)))
                        for who, (port, said) in doors.items()
                    },
                )
                report.figures(f"{name}_per_s", rounds)
                got = ratio(rounds, OURS, THEIRS)
                if bar is None:
                    report.figure(f"{name}_ratio", got)
                else:
                    report.at_least(name, got, bar)
    report.finish()


if __name__ == "__main__":
    main()
