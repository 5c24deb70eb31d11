"""Files that the daemon may have open."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from microd.app.files import allow_files
allow_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_raised() -> None:
    """The limit is raised as far as it may be, and never lowered."""
    for soft, hard in ((100, 300), (300, 300)):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(soft=soft, hard=hard)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.split() == ["300", "300"]
