"""What clients of the NATS door that do harm cost the others: the p99 of a question and its answer, with and without them.

Quiet and loaded windows alternate, beside the same steady traffic; what is compared is the p99 within a pair of windows,
and the median over the pairs. A window with a hostile client begins before it connects. Those which the issue names have a
bar; a flood, which takes what processor it can get, has none.

Hostile clients are polite to the machine that they share with the daemon and with those who measure: they run at the lowest
priority, and show a token, so that what is measured is what they cost the daemon.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.alternation import Report
from benches.bench_proxy import token
from microd.testing.nats_client import Pair
from microd.testing.nats_hostile import KINDS
from microd.testing.nats_idle import resident_kib
from microd.testing.platform import Platform

#: What the others' p99 may grow to.
BAR = 1.2
#: Named by the issue.
BARRED = ("never-reads", "octet-a-second", "huge-subjects", "many-subscriptions", "lying-lengths")
#: MiB which the daemon may take more for any one of them: the backlogs of a namespace, and as much again.
MEMORY = 256
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock, and as whom."""

    address: str
    secret: str
    pid: int

    @property
    def arguments(self) -> tuple[str, str, str]:
        return (self.address, "admin", self.secret)


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen in one window, in microseconds."""

    p99: float
    worst: float


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7, help="windows of each kind")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="length of a window")
    parser.add_argument("--all", action="store_true", help="those which have no bar, too")
    parser.add_argument("only", nargs="*", help=f"some of: {' '.join(KINDS)}")
    wanted = parser.parse_args(argv)
    report = Report("hostile")
    with (
        daemon() as door,
        helper("benches.nats_steady", *door.arguments),
        Pair(door.address, user="admin", **{"pass": door.secret}) as pair,
    ):
        window(pair, 1.0)
        for name in wanted.only or (KINDS if wanted.all else (*BARRED, "flood")):
            measure(report, door, pair, name, wanted.pairs, wanted.seconds)
    report.finish()


def measure(report: Report, door: Door, pair: Pair, name: str, pairs: int, seconds: float) -> None:
    """Alternate quiet windows and loaded ones."""
    quiet: list[Window] = []
    loaded: list[Window] = []
    grown: list[float] = []
    for number in range(pairs):
        window(pair, 0.3)
        before = resident_kib(door.pid)
        if number % 2:
            loaded.append(loaded_window(door, pair, name, seconds))
            grown.append((resident_kib(door.pid) - before) / 1024)
            quiet.append(window(pair, seconds))
        else:
            quiet.append(window(pair, seconds))
            loaded.append(loaded_window(door, pair, name, seconds))
            grown.append((resident_kib(door.pid) - before) / 1024)
        print(
            f"  {name:<20} quiet {quiet[-1].p99:8.0f} us  loaded {loaded[-1].p99:8.0f} us"
            f"  worst {loaded[-1].worst:8.0f} us  {grown[-1]:+7.1f} MiB",
            file=sys.stderr,
            flush=True,
        )
    report.figures(name, {"quiet": [each.p99 for each in quiet], "loaded": [each.p99 for each in loaded]})
    report.figure(f"{name} worst", max(each.worst for each in loaded))
    report.below(f"{name} MiB", max(grown), MEMORY)
    ratio = median(other.p99 / mine.p99 for mine, other in zip(quiet, loaded, strict=True))
    if name in BARRED:
        report.below(name, ratio, BAR)
    else:
        report.figure(f"{name} ratio", ratio)


def loaded_window(door: Door, pair: Pair, name: str, seconds: float) -> Window:
    """A window in which a hostile client comes and stays; it is gone afterwards."""
    with helper("microd.testing.nats_hostile", name, *door.arguments) as hostile:
        assert hostile.stdin is not None
        hostile.stdin.write("begin\n")
        hostile.stdin.flush()
        return window(pair, seconds)


def window(pair: Pair, seconds: float) -> Window:
    """Ask for so long."""
    took: list[float] = []
    now = time.perf_counter
    last = now()
    end = last + seconds
    while last < end:
        began = last
        pair.ask()
        last = now()
        took.append((last - began) * 1e6)
    took.sort()
    return Window(took[int(len(took) * 0.99)], took[-1])


@contextmanager
def helper(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, from the line which says that it is ready up to the end of its input."""
    with subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"{module} {' '.join(arguments[:1])} ended at once")
            yield process
        finally:
            process.terminate()


@contextmanager
def daemon() -> Iterator[Door]:
    """The daemon as operators start it, which allows as many subscriptions as nats-server does, and lets less wait: a
    client who reads nothing is to lose messages within a window."""
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder) / "home")
        try:
            process = platform.start(
                MICRO_NATS_ADDRESS="127.0.0.1:0",
                MICRO_NATS_MAX_SUBSCRIPTIONS="200000",
                MICRO_NATS_MAX_PENDING=str(2 << 20),
                MICRO_BROKER_MAX_SUBSCRIPTIONS="200000",
            )
            yield Door(platform.door("nats"), token(platform), process.pid)
        finally:
            platform.close()


if __name__ == "__main__":
    main(sys.argv[1:])
