"""How a call's end is told: codes, messages, what is known of delivery."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.txgrpc import RpcError, StatusCode
from microd.txgrpc.status import code_of_http_status, decode_message, encode_message, status_code


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("plain, with spaces", b"plain, with spaces"),
        ("100%", b"100%25"),
        ("\t\ntest with whitespace\r\nand Unicode BMP \u263a", None),
        ("na\u00efve", b"na%C3%AFve"),
        ("\x7f", b"%7F"),
    ],
)
def test_percent_encoding(text: str, wire: bytes | None) -> None:
    """Everything but printable ASCII without the percent sign is percent-encoded."""
    encoded = encode_message(text)
    assert wire is None or encoded == wire
    assert all(0x20 <= octet <= 0x7E for octet in encoded)
    assert decode_message(encoded) == text


@given(st.text())
def test_any_message_survives(text: str) -> None:
    """Whatever text a handler gives arrives as it was."""
    text = text.encode("utf-8", "replace").decode()
    assert decode_message(encode_message(text)) == text


@pytest.mark.parametrize("wire", [b"50%", b"%zz", b"%C3", b"%"])
def test_bad_percent_encoding_is_kept(wire: bytes) -> None:
    """A message that is not encoded well is shown rather than lost."""
    assert decode_message(wire)


def test_unknown_numbers() -> None:
    """A status that gRPC does not define is UNKNOWN."""
    assert status_code(17) is StatusCode.UNKNOWN
    assert RpcError(99).code is StatusCode.UNKNOWN


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, StatusCode.INTERNAL),
        (401, StatusCode.UNAUTHENTICATED),
        (403, StatusCode.PERMISSION_DENIED),
        (404, StatusCode.UNIMPLEMENTED),
        (429, StatusCode.UNAVAILABLE),
        (502, StatusCode.UNAVAILABLE),
        (503, StatusCode.UNAVAILABLE),
        (504, StatusCode.UNAVAILABLE),
        (500, StatusCode.UNKNOWN),
        (200, StatusCode.UNKNOWN),
    ],
)
def test_http_status(status: int, code: StatusCode) -> None:
    """An HTTP status without a gRPC status means what gRPC's table says."""
    assert code_of_http_status(status) is code


def test_undelivered_only_when_sure() -> None:
    """Only an error that says so is safe to try again."""
    assert not RpcError(StatusCode.UNAVAILABLE).undelivered
    assert not RpcError(StatusCode.UNAVAILABLE, delivered=True).undelivered
    assert RpcError(StatusCode.UNAVAILABLE, delivered=False).undelivered


def test_reads_well() -> None:
    """An error shows its code and sentence."""
    assert str(RpcError(5, "no such record")) == "NOT_FOUND: no such record"
    assert str(RpcError(5)) == "NOT_FOUND"


def test_can_be_pickled() -> None:
    """An error passes between processes."""
    error = pickle.loads(pickle.dumps(RpcError(5, "gone")))
    assert (error.code, error.message) == (StatusCode.NOT_FOUND, "gone")
