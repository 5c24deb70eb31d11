"""Whose lines of the daemon's log are whose."""

from __future__ import annotations

from collections.abc import Collection

#: Modules of core services and of doors; the word that follows names the service.
_HOMES = ("microd.services.", "microd.gateways.")


def teller(logger: str, services: Collection[str]) -> str:
    """The core service that said it; "" for the daemon as a whole, which concerns all of them."""
    for home in _HOMES:
        if logger.startswith(home):
            word = logger[len(home) :].partition(".")[0]
            return word if word in services else ""
    return ""
