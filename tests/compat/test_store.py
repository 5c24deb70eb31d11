"""Records on the wire: spec micro-v3-server 6.2, 8, Appendix A."""

from __future__ import annotations

import base64

from tests.compat.conftest import Client
from tests.compat.wires import Refused

VALUE = base64.b64encode(b"bar").decode()


def _write(call: Client, key: str, value: bytes = b"bar", **record: object) -> None:
    options = {"database": "alpha", "table": call.unique}
    call(
        "/store.Store/Write",
        {"record": {"key": key, "value": value, **record}, "options": options},
        by="alpha-admin",
    )


def test_write_and_read(call: Client) -> None:
    """A record is read as it was written; what says nothing has its default."""
    _write(call, "foo")
    options = {"database": "alpha", "table": call.unique}
    reply = call("/store.Store/Read", {"key": "foo", "options": options}, by="alpha-admin")
    (record,) = reply["records"]
    assert (record["key"], record["value"], record["expiry"], record["metadata"]) == ("foo", VALUE, "0", {})


def test_missing(call: Client) -> None:
    """A missing key is 404 with the text that clients match."""
    request = {"key": "nope", "options": {"database": "alpha", "table": call.unique}}
    refused = call.refused("/store.Store/Read", request, by="alpha-admin")
    assert refused == Refused(404, "store.Store.Read", "not found")
    assert refused.status == "Not Found"
    assert refused.http in (0, 404)
