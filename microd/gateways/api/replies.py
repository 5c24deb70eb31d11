"""The bytes of answers."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from microd.kernel.errors import MicroError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

#: Spec 4.2; what a browser may do from a page of another origin.
_CORS = (
    b"Access-Control-Allow-Credentials: true\r\n"
    b"Access-Control-Allow-Methods: POST, PATCH, GET, OPTIONS, PUT, DELETE\r\n"
    b"Access-Control-Allow-Headers: Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, "
    b"Authorization, Micro-Namespace\r\n"
)
_SNIFF = b"X-Content-Type-Options: nosniff\r\n"


class Dated:
    """The C{Date} line, and with it whole heads, made once a second; and whether browsers of other origins are told.

    @ivar heads: the heads of the usual answers, by status and content type.
    """

    __slots__ = ("cors", "heads", "line")

    def __init__(self, now: float, cors: bool = True) -> None:
        self.cors = cors
        self.turn(now)

    def turn(self, now: float) -> None:
        """Set the clock."""
        self.line = b"Date: %s\r\n" % formatdate(now, usegmt=True).encode()
        self.heads: dict[tuple[int, bytes], bytes] = {}


class AskedHead(Protocol):
    """What an answer depends on, of the headers."""

    origin: bytes | None


class Asked(Protocol):
    """What an answer depends on."""

    method: bytes
    version: str
    keep_alive: bool

    @property
    def head(self) -> AskedHead:
        """The headers."""

    @property
    def trace(self) -> bytes:
        """The id by which the request is found in logs; the answer tells it."""


_HEAD = b"%bX-Request-Id: %b\r\n%bContent-Length: %d\r\n\r\n%b"


def reply(
    request: Asked, status: int, body: bytes, dated: Dated, content_type: bytes = JSON, extra: bytes = b""
) -> bytes:
    """A whole answer.

    @param extra: more header lines, each with its end.
    """
    head = _head(request, status, dated, content_type)
    if status == 204:
        return b"%bX-Request-Id: %b\r\n%b\r\n" % (head, request.trace, extra)
    if request.method == b"HEAD":
        return _HEAD % (head, request.trace, extra, len(body), b"")
    return _HEAD % (head, request.trace, extra, len(body), body)


def stream_head(request: Asked, dated: Dated, content_type: bytes) -> bytes:
    """The head of an answer that comes in chunks; for HTTP/1.0, one that ends with the connection."""
    chunked = b"Transfer-Encoding: chunked\r\n" if request.version == "1.1" else b""
    head = _head(request, 200, dated, content_type)
    return b"%bX-Request-Id: %b\r\n%b\r\n" % (head, request.trace, chunked)


def chunk(request: Asked, part: bytes) -> bytes:
    """A part of such an answer; without bytes, its end."""
    if request.version != "1.1":
        return part
    return b"%x\r\n%b\r\n" % (len(part), part)


def error_reply(request: Asked, error: MicroError, dated: Dated) -> bytes:
    """The error object, under the status which its code says; codes that are none are 500."""
    status = error.code if 400 <= error.code <= 599 else 500
    body = error.identified("go.micro.api").to_json().encode()
    extra = b"WWW-Authenticate: Bearer\r\n" if status == 401 else b""
    if status == 405:
        extra = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    return reply(request, status, body, dated, JSON, extra)


def _head(request: Asked, status: int, dated: Dated, content_type: bytes) -> bytes:
    """Everything but the lines which depend on the body, and the empty one."""
    usual = request.keep_alive and request.head.origin is None and request.version == "1.1"
    if usual:
        head = dated.heads.get((status, content_type))
        if head is not None:
            return head
    lines = [_fixed(status, content_type, dated.cors), dated.line]
    if dated.cors:
        origin = request.head.origin
        if origin is None:
            lines.append(b"Access-Control-Allow-Origin: *\r\n")
        else:
            lines.append(b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % origin)
    if not request.keep_alive:
        lines.append(b"Connection: close\r\n")
    elif request.version == "1.0":
        lines.append(b"Connection: keep-alive\r\n")
    head = b"".join(lines)
    if usual and len(dated.heads) < 256:
        dated.heads[status, content_type] = head
    return head


@lru_cache(maxsize=256)
def _fixed(status: int, content_type: bytes, cors: bool) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase.encode()
    except ValueError:
        phrase = b"Error"
    kind = b"Content-Type: %b\r\n" % content_type if content_type else b""
    return b"HTTP/1.1 %d %b\r\n%b%b%b" % (status, phrase, kind, _SNIFF, _CORS if cors else b"")
