"""HPACK against the hpack package, and the promise on which remembered blocks rest."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from microd.txgrpc.frames import ENHANCE_YOUR_CALM, ProtocolFault
from microd.txgrpc.headerblock import HeaderDecoder, Oversize, encode_field, encode_fields

names = st.sampled_from([b":path", b"content-type", b"x-one", b"x-two", b"authorization", b"grpc-status"])
values = st.one_of(st.sampled_from([b"", b"application/grpc", b"0", b"/a/b"]), st.binary(max_size=300))
lists = st.lists(st.tuples(names, values), max_size=12)
resizes = st.one_of(st.none(), st.sampled_from([0, 60, 100, 1000, 4096]))


@given(st.lists(st.tuples(lists, st.booleans(), resizes), max_size=20))
def test_decodes_as_hpack_encodes(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """Whatever the reference encoder sends, with its table growing, shrinking and evicting, is decoded as it was."""
    encoder, decoder = Encoder(), HeaderDecoder(1 << 20)
    for fields, huffman, resize in blocks:
        if resize is not None:
            encoder.header_table_size = resize
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


@given(lists)
def test_hpack_decodes_ours(fields: list[tuple[bytes, bytes]]) -> None:
    """Our blocks are read by the reference decoder, and leave its table alone."""
    decoder = Decoder()
    assert [tuple(field) for field in decoder.decode(encode_fields(fields), raw=True)] == fields
    assert not decoder.header_table.dynamic_entries


@given(st.lists(lists, max_size=10), st.booleans())
def test_changes_are_told(blocks: list[list[tuple[bytes, bytes]]], small: bool) -> None:
    """A block during which the table stays the same is known as such; every other is not."""
    encoder, decoder, shadow = Encoder(), HeaderDecoder(1 << 20), Decoder()
    if small:
        encoder.header_table_size = 100
    for fields in blocks:
        block = encoder.encode(fields)
        before = list(shadow.header_table.dynamic_entries), shadow.header_table.maxsize
        shadow.decode(block, raw=True)
        decoder.decode(block)
        if (list(shadow.header_table.dynamic_entries), shadow.header_table.maxsize) != before:
            assert decoder.changed


def test_an_insertion_that_evicts_is_a_change() -> None:
    """A table may change and keep its length; that is told too."""
    encoder, decoder = Encoder(), HeaderDecoder(1 << 20)
    encoder.header_table_size = 80
    for value in (b"1" * 20, b"2" * 20, b"3" * 20):
        decoder.decode(encoder.encode([(b"x-field", value)]))
        assert decoder.changed


@given(st.binary(max_size=200))
def test_garbage_is_a_fault_and_nothing_else(block: bytes) -> None:
    """Octets that are not HPACK raise the one exception that the connection knows."""
    with suppress(ProtocolFault, Oversize):
        HeaderDecoder(4096).decode(block)


def test_a_long_list_costs_its_call_only() -> None:
    """A list over the limit is refused with the table kept up to date."""
    encoder, decoder = Encoder(), HeaderDecoder(1000)
    with pytest.raises(Oversize):
        decoder.decode(encoder.encode([(b"x-%d" % n, b"v" * 100) for n in range(10)]))
    assert decoder.decode(encoder.encode([(b"x-9", b"v" * 100)])) == [(b"x-9", b"v" * 100)]


def test_a_bomb_is_given_up() -> None:
    """A list that grows far over the limit is not decoded to its end."""
    decoder = HeaderDecoder(1000)
    decoder.decode(Encoder().encode([(b"x", b"v" * 500)]))
    with pytest.raises(ProtocolFault) as caught:
        decoder.decode(b"\xbe" * 10_000)
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_long_integers_are_refused() -> None:
    """An integer of more octets than any that is meant is not computed."""
    with pytest.raises(ProtocolFault):
        HeaderDecoder(1000).decode(b"\xff" + b"\xff" * 1000 + b"\x00")


def test_secrets_are_never_indexed() -> None:
    """The field that carries a token is marked for intermediaries."""
    assert encode_field(b"authorization", b"Bearer x")[0] & 0xF0 == 0x10
    assert encode_field(b"x-other", b"x")[0] & 0xF0 == 0x00
