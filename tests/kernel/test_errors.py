"""The errors that callers see."""

from __future__ import annotations

import json

import pytest

from microd.framework.failures import rpc_error as from_service
from microd.gateways.refusals import rpc_error as from_door
from microd.kernel.errors import Internal, MicroError, NotFound
from microd.txgrpc.metadata import encode_binary
from microd.txgrpc.status import encode_message


@pytest.mark.parametrize("detail", ["short", "\N{SNOWMAN}" * 100, "x" * 1200])
def test_told_as_it_is(detail: str) -> None:
    """A detail of usual length leaves as it is, and is read back."""
    sent = MicroError.from_json(NotFound(detail, "here").to_json())
    assert sent is not None
    assert (sent.code, sent.id, sent.detail) == (404, "here", detail)


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("rpc_error", [from_service, from_door])
def test_too_long(letter: str, rpc_error: object) -> None:
    """A detail that is too long is cut between characters, so that the answer keeps within the 8 KiB that clients take."""
    assert callable(rpc_error)
    problem = Internal(letter * 100_000, "here")
    said = json.loads(problem.to_json())["detail"]
    assert said.lstrip(letter) == "\N{HORIZONTAL ELLIPSIS}"
    sent = rpc_error(problem)
    assert len(encode_message(sent.message)) + len(encode_binary(sent.details)) < 8 * 1024
