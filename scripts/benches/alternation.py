"""How every bench measures and reports: contenders take turns, medians are compared, the last line is JSON.

A machine's speed drifts within a minute, so contenders alternate and the ratio of a pair is the ratio within one round;
what is reported is the median over the rounds.

    rounds = alternate(5, {"microd": measure_ours, "grpc.aio": measure_theirs})
    report = Report("grpc")
    report.figures("server_per_s", rounds)
    report.at_least("server", ratio(rounds, "microd", "grpc.aio"), 8)
    report.finish()
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NoReturn

Rounds = Mapping[str, Sequence[float]]


def alternate(pairs: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure the contenders in turn, C{pairs} times each; every other round goes backwards."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(pairs):
        turn = list(contenders.items())
        if round_number % 2:
            turn.reverse()
        for name, measure in turn:
            figure = measure()
            figures[name].append(figure)
            print(
                f"  round {round_number + 1}/{pairs}  {name:<24} {figure:>14,.2f}",
                file=sys.stderr,
                flush=True,
            )
    return figures


def ratio(rounds: Rounds, ours: str, theirs: str) -> float:
    """The median, over the rounds, of our figure divided by theirs."""
    return median(mine / other for mine, other in zip(rounds[ours], rounds[theirs], strict=True))


def pairs_from(argv: Sequence[str], least: int = 5) -> int:
    """Read C{--pairs N} from the command line; C{least} where it is not given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=least, help="rounds of the alternation")
    pairs: int = parser.parse_args(argv).pairs
    return max(1, pairs)


class Report:
    """Collects figures, ratios and bars; C{finish} prints them as one line and ends the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._figures: dict[str, float | dict[str, float]] = {}
        self._ratios: dict[str, float] = {}
        self._bars: dict[str, dict[str, float | bool]] = {}
        busy = os.getloadavg()[0]
        if busy > 1:
            print(f"  the machine is busy (load {busy:.1f}): do not trust these figures", file=sys.stderr)

    def figures(self, name: str, rounds: Rounds) -> None:
        """Note the medians of one alternation."""
        self._figures[name] = {contender: round(median(got), 2) for contender, got in rounds.items()}

    def figure(self, name: str, value: float) -> None:
        """Note one number that has no counterpart."""
        self._figures[name] = round(value, 2)

    def at_least(self, name: str, value: float, bar: float) -> None:
        """Note a ratio which must reach C{bar}."""
        self._ratios[name] = round(value, 3)
        self._bars[name] = {"at_least": bar, "is": round(value, 3), "ok": value >= bar}

    def below(self, name: str, value: float, bar: float) -> None:
        """Note a value which must stay under C{bar}."""
        self._ratios[name] = round(value, 3)
        self._bars[name] = {"below": bar, "is": round(value, 3), "ok": value < bar}

    def finish(self) -> NoReturn:
        """Print the JSON line; exit 0 where every bar holds, else 1."""
        ok = bool(self._bars) and all(bar["ok"] for bar in self._bars.values())
        line = {
            "bench": self._name,
            "figures": self._figures,
            "ratios": self._ratios,
            "bars": self._bars,
            "ok": ok,
        }
        print(json.dumps(line), flush=True)
        sys.exit(0 if ok else 1)
