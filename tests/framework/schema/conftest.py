"""Codecs of classes which a test defines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from microd.framework.schema.annotations import model_of
from microd.framework.schema.codec import Codec, codec_in
from microd.framework.schema.descriptors import Contract

CodecOf = Callable[[type], Codec[Any]]


@pytest.fixture
def codec() -> CodecOf:
    """Makes the codec of a dataclass, in a contract of its own."""

    def make(kind: type) -> Codec[Any]:
        model = model_of(kind)
        return codec_in(Contract("tests", [model]), kind, model)

    return make


@pytest.fixture
def contract() -> Callable[[type], Contract]:
    """Makes the contract of a dataclass."""
    return lambda kind: Contract("tests", [model_of(kind)])
