"""How a call's failure is told over HTTP."""

from __future__ import annotations

from microd.kernel.errors import (
    BadGateway,
    GatewayTimeout,
    Internal,
    MicroError,
    NotFound,
    TimedOut,
    Unavailable,
)
from microd.txgrpc.status import RpcError, StatusCode

#: What a service's bare status means; those of the errors above speak for themselves in their JSON.
_HTTP = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 408,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 412,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.UNAUTHENTICATED: 401,
}


def told(error: RpcError, service: str, endpoint: str, *, asked_for: bool) -> MicroError:
    """The error object for a call that did not end well.

    @param asked_for: the client set the time limit itself.
    """
    if error.answered:
        return _answered(error, service, endpoint)
    if error.code is StatusCode.DEADLINE_EXCEEDED:
        return late(service, asked_for=asked_for)
    if error.undelivered:
        return Unavailable(f"no node of {service} could take the call: {error.message}")
    if error.code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.UNKNOWN):
        return BadGateway(f"{service} broke off: {error.message}")
    if error.code is StatusCode.RESOURCE_EXHAUSTED:
        return BadGateway(f"the answer of {service} cannot be passed on: {error.message}")
    return BadGateway(f"{service} gave no answer that can be read: {error.message}")


def late(service: str, *, asked_for: bool) -> MicroError:
    """There was no answer in time: the client's, or ours."""
    if asked_for:
        return TimedOut(f"{service} did not answer in the time asked for")
    return GatewayTimeout(f"{service} did not answer in time")


def _answered(error: RpcError, service: str, endpoint: str) -> MicroError:
    said = MicroError.from_json(error.message)
    if said is not None:
        return said
    if error.code is StatusCode.UNIMPLEMENTED and error.message.startswith("unknown service"):
        return NotFound(f"{service} has no endpoint {endpoint}")
    if error.code not in _HTTP:
        return Internal(error.message, service)
    return MicroError(error.message, service, _HTTP[error.code])
