"""How an error leaves through a gRPC door: the JSON in C{grpc-message}, and the same again in the details (spec 2.5)."""

from __future__ import annotations

from functools import lru_cache

from microd.kernel.errors import MicroError
from microd.txgrpc import RpcError, StatusCode
from microd.txgrpc.wire.status_pb2 import Detail, Status
from microd.wire.errors_pb2 import Error

_TYPE_URL = "type.googleapis.com/errors.Error"


def rpc_error(error: MicroError) -> RpcError:
    """The status which tells C{error}."""
    tell = _told_before if len(error.detail) <= _SHORT else _told
    text, details = tell(error.code, error.id, error.detail)
    return RpcError(StatusCode(error.grpc_status), text, details=details)


#: Statuses that do not say by themselves whose fault it is; 502 is UNKNOWN, and a proxy of the reference says INTERNAL for all.
_DOUBTFUL = (StatusCode.UNKNOWN, StatusCode.INTERNAL, StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS)


#: What everybody may be told without a line in the log: there is no such thing; the disk is full, which who keeps
#: things on it says once.
SAID_ELSEWHERE = (501, 507)


def is_ours(code: int, text: str) -> bool:
    """Whether a call which ended so failed by no fault of its caller's: one that must be found in the log."""
    if code not in _DOUBTFUL:
        return False
    error = MicroError.from_json(text)
    return error is None or (error.code >= 500 and error.code not in SAID_ELSEWHERE)


def _told(code: int, id: str, detail: str) -> tuple[str, bytes]:
    error = MicroError(detail, id, code)
    text = error.to_json()
    value = Error(id=error.id, code=error.code, detail=error.told, status=error.phrase)
    details = Detail(type_url=_TYPE_URL, value=value.SerializeToString())
    status = Status(code=error.grpc_status, message=text, details=[details])
    return text, status.SerializeToString()


#: Most errors are among a few: a key which is not there, a token which is no good.
_told_before, _SHORT = lru_cache(maxsize=256)(_told), 200
