"""Errors on their way between Python and the wire (spec micro-v3-server 2.5)."""

from __future__ import annotations

from http import HTTPStatus

from microd.kernel.errors import (
    BadGateway,
    BadRequest,
    Conflict,
    Forbidden,
    Internal,
    MicroError,
    NotFound,
    PreconditionFailed,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unimplemented,
)
from microd.txgrpc.status import RpcError, StatusCode
from microd.txgrpc.wire.status_pb2 import Detail, Status
from microd.wire.errors_pb2 import Error

#: Where an error was decided that no service sent.
CLIENT = "micro.client"

_TYPE_URL = "type.googleapis.com/errors.Error"
_BY_STATUS: dict[StatusCode, type[MicroError]] = {
    StatusCode.CANCELLED: TimedOut,
    StatusCode.INVALID_ARGUMENT: BadRequest,
    StatusCode.DEADLINE_EXCEEDED: TimedOut,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.ALREADY_EXISTS: Conflict,
    StatusCode.PERMISSION_DENIED: Forbidden,
    StatusCode.UNAUTHENTICATED: Unauthorized,
    StatusCode.RESOURCE_EXHAUSTED: TooLarge,
    StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    StatusCode.UNIMPLEMENTED: Unimplemented,
    StatusCode.INTERNAL: Internal,
    StatusCode.UNKNOWN: Internal,
}


class Quit(Exception):
    """What a handler raised would end the process, or its event loop; it ends the handler's own call, and no more."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__(f"{raised!r}: a handler can end its own call only, not the process")


def rpc_error(problem: MicroError) -> RpcError:
    """An error as the status of a call: the JSON object is the message, and the same is in the details."""
    text = problem.to_json()
    inside = Error(id=problem.id, code=problem.code, detail=problem.told, status=status_phrase(problem))
    status = Status(
        code=problem.grpc_status,
        message=text,
        details=[Detail(type_url=_TYPE_URL, value=inside.SerializeToString())],
    )
    return RpcError(problem.grpc_status, text, details=status.SerializeToString())


def status_phrase(problem: MicroError) -> str:
    """The usual phrase of an error's HTTP status."""
    try:
        return HTTPStatus(problem.code).phrase
    except ValueError:
        return ""


def micro_error(problem: RpcError) -> MicroError:
    """What a call came to: the error that the service sent, or what stands for how the call broke off."""
    sent = MicroError.from_json(problem.message)
    if sent is not None:
        return sent
    if problem.undelivered and problem.code is not StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(problem.message or "nothing took the call", CLIENT)
    if problem.answered or problem.code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED):
        kind = _BY_STATUS.get(problem.code, BadGateway)
        return kind(problem.message or problem.code.name.lower().replace("_", " "), CLIENT)
    if problem.code in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.INVALID_ARGUMENT):
        return _BY_STATUS[problem.code](problem.message, CLIENT)
    return BadGateway(
        f"the call broke off, and its outcome is unknown: {problem.message or problem.code.name}", CLIENT
    )
