"""The errors that callers see: an HTTP status number, a source id and one sentence.

::

    MicroError
    ├── the caller's fault: BadRequest Unauthorized Forbidden NotFound Conflict PreconditionFailed TooLarge
    └── ours, or the callee's: TimedOut Internal Unimplemented BadGateway Unavailable GatewayTimeout

On the wire an error is the JSON object ``{"id", "code", "detail", "status"}`` in C{grpc-message}
(spec micro-v3-server 2.5); the gRPC status is secondary.
"""

from __future__ import annotations

import json
from http import HTTPStatus

#: HTTP status to gRPC status (spec 2.5); what is missing is UNKNOWN (2). So is 502, on purpose: there the outcome is
#: unknown, and clients are told by UNAVAILABLE that they may try again.
GRPC_STATUS = {
    200: 0,
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    408: 4,
    409: 6,
    412: 9,
    413: 8,
    500: 13,
    501: 12,
    503: 14,
    504: 4,
}

#: Bytes of a detail that leave. They travel three times over in the headers of an answer, encoded, and clients take 8 KiB
#: of those.
LONGEST_DETAIL = 1200

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class MicroError(Exception):
    """An answer of "no", as every client of the platform understands it.

    @ivar detail: one sentence; where there is a remedy, it names it.
    @ivar id: where it was decided, such as C{store.Store.Read}; empty until the edge fills it in.
    @ivar code: an HTTP status number.
    """

    code: int = 500

    def __init__(self, detail: str, id: str = "", code: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.id = id
        if code is not None:
            self.code = code

    @property
    def grpc_status(self) -> int:
        """The gRPC status number that goes with C{code}."""
        return GRPC_STATUS.get(self.code, 2)

    def identified(self, id: str) -> MicroError:
        """Fill in where it was decided, unless that is known."""
        if not self.id:
            self.id = id
        return self

    @property
    def phrase(self) -> str:
        """The usual words for C{code}; empty where there are none."""
        try:
            return HTTPStatus(self.code).phrase
        except ValueError:
            return ""

    @property
    def told(self) -> str:
        """C{detail}, cut where it is too long for an answer."""
        written = self.detail.encode("utf-8", "replace")
        if len(written) <= LONGEST_DETAIL:
            return self.detail
        return written[: LONGEST_DETAIL - 3].decode("utf-8", "ignore") + "\N{HORIZONTAL ELLIPSIS}"

    def to_json(self) -> str:
        """The error object, as the reference writes it: this key order, no spaces, C{<>&} escaped."""
        return json.dumps(
            {"id": self.id, "code": self.code, "detail": self.told, "status": self.phrase},
            separators=(",", ":"),
            ensure_ascii=False,
        ).translate(_ESCAPES)

    @staticmethod
    def from_json(text: str) -> MicroError | None:
        """Read an error object; None where C{text} is something else."""
        if not text.startswith("{"):
            return None
        try:
            found = json.loads(text)
            code = int(found["code"])
            detail, id = str(found.get("detail", "")), str(found.get("id", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if code <= 0:
            return None
        return _BY_CODE.get(code, MicroError)(detail, id, code)


class BadRequest(MicroError):
    """The request cannot be meant as it stands."""

    code = 400


class Unauthorized(MicroError):
    """Nobody said who they are, or what they showed is not valid."""

    code = 401


class Forbidden(MicroError):
    """We know who is asking, and they may not."""

    code = 403


class NotFound(MicroError):
    """What was asked for does not exist."""

    code = 404


class TimedOut(MicroError):
    """The caller's deadline passed."""

    code = 408


class Conflict(MicroError):
    """It exists already, or somebody else changed it."""

    code = 409


class PreconditionFailed(MicroError):
    """The state needed for this is not there."""

    code = 412


class TooLarge(MicroError):
    """A message or a body is over the limit, which the detail names."""

    code = 413


class Internal(MicroError):
    """A defect, here or in the service that was called."""

    code = 500


class Unimplemented(MicroError):
    """The endpoint exists in the contract and does nothing here."""

    code = 501


class BadGateway(MicroError):
    """The service answered something that is not an answer, or broke off: the call's outcome is unknown."""

    code = 502


class Unavailable(MicroError):
    """Nothing could take the call; it was not delivered, so trying again is safe."""

    code = 503


class GatewayTimeout(MicroError):
    """The service did not answer in time."""

    code = 504


_BY_CODE: dict[int, type[MicroError]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        TimedOut,
        Conflict,
        PreconditionFailed,
        TooLarge,
        Internal,
        Unimplemented,
        BadGateway,
        Unavailable,
        GatewayTimeout,
    )
}
