"""C{micro services}, from a shell's point of view, beside the time Python takes to do nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benches.alternation import Report, alternate, pairs_from, ratio
from microd.testing.platform import BIN, Platform

OURS, THEIRS = "micro services", "python -c pass"
#: The ratio which must not be reached.
BAR = 12
RUNS = 7


def milliseconds(command: Sequence[str], env: Mapping[str, str]) -> float:
    """How long a process takes from its start to its end: the median of several."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def main() -> None:
    """Measure against a daemon of our own, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder) / "home")
        # As installed: compiled once, not at every start.
        platform.env.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            platform.start()
            # The first call logs in and stores the token; both have then been compiled and read once.
            platform.ok("services")
            report = Report("cli")
            # The plain interpreter reads the same site-packages and the same environment.
            python, env = [str(BIN / "python"), "-c", "pass"], platform.env
            rounds = alternate(
                pairs,
                {
                    THEIRS: partial(milliseconds, python, env),
                    OURS: partial(milliseconds, [str(BIN / "micro"), "services"], env),
                },
            )
        finally:
            platform.close()
    report.figures("milliseconds", rounds)
    report.below("micro_services_to_python_pass", ratio(rounds, OURS, THEIRS), BAR)
    report.finish()


if __name__ == "__main__":
    main()
