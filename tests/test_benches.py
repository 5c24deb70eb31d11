"""What every bench promises: contenders take turns, the last line is JSON, the exit status says whether all bars hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(script: str) -> tuple[Any, int]:
    """Run a bench written for the occasion: its last line, its exit status."""
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    code = f"from benches.alternation import *\n{script}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    return json.loads(ran.stdout.splitlines()[-1]), ran.returncode


@pytest.mark.parametrize(("bar", "ok"), [(2, True), (3, False)])
def test_report(bar: int, ok: bool) -> None:
    """The line has medians, ratios and bars; the status is 0 only where the bars hold."""
    line, status = run(
        f"""
rounds = {{"us": [20.0, 30.0, 10.0], "them": [10.0, 10.0, 10.0]}}
report = Report("example")
report.figures("per_s", rounds)
report.at_least("speed", ratio(rounds, "us", "them"), {bar})
report.below("size", 5.0, 6)
report.finish()
"""
    )
    assert line == {
        "bench": "example",
        "figures": {"per_s": {"us": 20.0, "them": 10.0}},
        "ratios": {"speed": 2.0, "size": 5.0},
        "bars": {
            "speed": {"at_least": bar, "is": 2.0, "ok": ok},
            "size": {"below": 6, "is": 5.0, "ok": True},
        },
        "ok": ok,
    }
    assert status == (0 if ok else 1)


def test_no_bars() -> None:
    """A bench that compared nothing has not passed."""
    line, status = run("Report('empty').finish()")
    assert (line["ok"], status) == (False, 1)


def test_alternation() -> None:
    """Contenders take turns, and who is first changes from round to round."""
    line, _ = run(
        """
turns = []
contenders = {name: (lambda name=name: turns.append(name) or len(turns)) for name in ("us", "them")}
rounds = alternate(3, contenders)
import json; print(json.dumps([turns, rounds]))
"""
    )
    assert line == [["us", "them", "them", "us", "us", "them"], {"us": [1, 4, 5], "them": [2, 3, 6]}]


def test_ratio_is_within_rounds() -> None:
    """The ratio is the median of each round's own, so that a machine which slows down between rounds does not count."""
    line, _ = run('print(ratio({"us": [100, 20, 60], "them": [10, 2, 20]}, "us", "them"))')
    assert line == 10.0


def test_unknown_bench() -> None:
    """A bench that does not exist is refused with the names of those that do."""
    ran = subprocess.run([str(SCRIPTS / "bench"), "nothing"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "grpc" in ran.stderr
