"""What a request says to the endpoint (spec 4.5)."""

from __future__ import annotations

from enum import Enum

import orjson

from microd.gateways.api import query as queries
from microd.kernel.errors import BadRequest, MicroError
from microd.services.registry.model import Value


class Kind(Enum):
    """How a body is written."""

    JSON = "json"
    PROTO = "proto"
    FORM = "form"
    REFUSED = "refused"


class UnsupportedMediaType(MicroError):
    """The body is written in a way that nobody here reads."""

    code = 415


_KINDS = {
    b"application/grpc": Kind.PROTO,
    b"application/grpc+proto": Kind.PROTO,
    b"application/proto": Kind.PROTO,
    b"application/protobuf": Kind.PROTO,
    b"application/x-protobuf": Kind.PROTO,
    b"application/octet-stream": Kind.PROTO,
    b"application/x-www-form-urlencoded": Kind.FORM,
    b"application/json-rpc": Kind.REFUSED,
    b"application/proto-rpc": Kind.REFUSED,
    b"multipart/form-data": Kind.REFUSED,
}


def kind_of(content_type: bytes | None) -> Kind:
    """How a body of that content type is to be read; what nobody knows is JSON.

    @raise UnsupportedMediaType: it is known, and not read here.
    """
    if content_type is None or content_type == b"application/json":
        return Kind.JSON
    plain = content_type.partition(b";")[0].strip().lower()
    kind = _KINDS.get(plain, Kind.JSON)
    if kind is Kind.REFUSED:
        raise UnsupportedMediaType(f"{plain.decode('latin-1')} is not read here: send application/json")
    return kind


def json_of(method: bytes, query: bytes, body: bytes, kind: Kind, shape: Value | None) -> bytes:
    """The JSON which a request says; C{shape} tells what a query's or a form's text means."""
    if method == b"POST" and kind is Kind.JSON and not query:
        return body or b"{}"
    if kind is Kind.FORM and body.lstrip()[:1] != b"{":
        given = queries.pairs(query) + queries.pairs(body)
        return orjson.dumps(queries.fields(given, shape))
    if method in (b"GET", b"HEAD"):
        return orjson.dumps(queries.fields(queries.pairs(query), shape)) if query else b"{}"
    if not query:
        return body or b"{}"
    base = queries.fields(queries.pairs(query), shape)
    if not body:
        return orjson.dumps(base)
    try:
        patch = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(patch, dict):
        raise BadRequest("the body must be a JSON object")
    return orjson.dumps(queries.merged(base, patch))
