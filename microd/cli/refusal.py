"""From a call's status to the sentence that a person reads. Pure.

The texts matched here are those which servers of the reference send (spec micro-v3-cli 1.1, micro-v3-server 9).
"""

from __future__ import annotations

import re

from microd.cli.failure import (
    FAILED,
    MALFORMED,
    NOT_AUTHORIZED,
    OTHER,
    REFUSED,
    UNKNOWN_SERVICE,
    UNREACHABLE,
    CommandFailed,
    Unreachable,
)
from microd.kernel.errors import MicroError

_MALFORMED = re.compile(r'malformed method name: \\?"([^"\\]*)')
_NO_ROUTE = re.compile(r"service ([\w.-]+): route not found")
_UNKNOWN = re.compile(r"unknown service ([\w.-]+)")

_SERVICES = "See `micro services`."
_METHODS = "See `micro get service NAME`."
_LOGIN = "Run `micro login`."

#: gRPC statuses that say something without a text of ours (RFC-less; grpc.io/docs/guides/status-codes).
_DEADLINE_EXCEEDED = 4
_UNAVAILABLE = 14
_UNAUTHENTICATED = 16


def innermost(message: str) -> MicroError | None:
    """The error in a status message, without the errors wrapped around it; None where it is plain text."""
    found = MicroError.from_json(message)
    while found is not None:
        inner = MicroError.from_json(found.detail)
        if inner is None:
            return found
        found = inner
    return None


def refused(status: int, message: str, *, logged_in: bool) -> CommandFailed:
    """What to tell somebody whose call the server answered with C{status}."""
    error = innermost(message)
    detail = error.detail if error else message
    if match := _MALFORMED.search(detail):
        return CommandFailed(
            f'Method name "{match[1]}" invalid format. Expecting service.endpoint', MALFORMED
        )
    if match := _NO_ROUTE.search(detail):
        return CommandFailed(f'Service "{match[1]}" not found', UNREACHABLE, remedy=_SERVICES)
    if match := _UNKNOWN.search(detail):
        what, remedy = ("Service method", _METHODS) if "." in match[1] else ("Service", _SERVICES)
        return CommandFailed(f'{what} "{match[1]}" not found', UNKNOWN_SERVICE, remedy=remedy)
    code = error.code if error else {_DEADLINE_EXCEEDED: 408, _UNAUTHENTICATED: 401}.get(status, 0)
    if code == 401 and not logged_in:
        return CommandFailed("Not logged in", NOT_AUTHORIZED, remedy=_LOGIN)
    if code == 401:
        return CommandFailed("Not authorized to perform this request", NOT_AUTHORIZED, remedy=_LOGIN)
    if code == 408:
        return CommandFailed("Request timed out", FAILED)
    passing = code == 503 or (error is None and status == _UNAVAILABLE)
    if error is None:
        told = message or f"The call failed with gRPC status {status}"
        return CommandFailed(told, OTHER, passing=passing)
    return CommandFailed(
        detail or error.id or f"The call failed with status {code}", REFUSED, passing=passing
    )


def unreachable(address: object, why: str, remedy: str) -> Unreachable:
    """Nobody answers at C{address}, or not as a server does.

    @param why: as the connection tells it; that nothing listens there goes without saying.
    """
    told = "" if why.startswith("nothing listens") else f": {why}"
    return Unreachable(f"Failed to connect to micro server at {address}{told}", remedy=remedy)


def broken(address: object) -> CommandFailed:
    """The connection was lost under a call."""
    return CommandFailed(
        f"The connection to {address} broke during the call: whether it was carried out is unknown",
        OTHER,
        passing=True,
    )


def cut_off(address: object) -> CommandFailed:
    """The connection was lost under a stream of replies."""
    return CommandFailed(f"The connection to {address} broke", OTHER, passing=True)
