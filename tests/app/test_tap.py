"""What becomes of the process when twistd asks for the daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import gc, sys
from microd.tap import Options, makeService
options = Options()
options.parseOptions(["--data", sys.argv[1]])
daemon = makeService(options)
print(gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_frozen(tmp_path: Path) -> None:
    """The garbage collector does not look again at what was made before the start."""
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "data")],
        env={"MICRO_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    frozen, watched = map(int, ran.stdout.split())
    assert frozen > 10 * watched
