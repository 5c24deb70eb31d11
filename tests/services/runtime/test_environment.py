"""What a service sees of the daemon's environment."""

from __future__ import annotations

from microd.services.runtime.rules import inherited


def test_inherited() -> None:
    """Of the daemon's settings and secrets a service sees one: how lines of the log look."""
    daemon = {
        "PATH": "/bin",
        "MICRO_ADMIN_SECRET": "secret",
        "MICRO_LOG_LEVEL": "debug",
        "MICRO_LOG_FORMAT": "json",
        "NOTIFY_SOCKET": "/run/notify",
    }
    assert inherited(daemon) == {"PATH": "/bin", "MICRO_LOG_FORMAT": "json"}
