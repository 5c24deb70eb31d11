"""On random field blocks, good and broken, `hpack` reads what we read."""

from __future__ import annotations

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from microd.testing import http2_frames as wire
from microd.testing.http2_traffic import (
    Mutation,
    examples,
    mutations,
    names,
    values,
)
from microd.txgrpc.frames import ProtocolFault
from microd.txgrpc.headerblock import HeaderDecoder


def huffman(text: bytes) -> bytes:
    """The text in Huffman code."""
    coded: bytes = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    return coded


@st.composite
def field_lines(draw: st.DrawFn) -> bytes:
    """A field line in one of its six forms; its index may or may not exist."""
    name, value = draw(names), draw(values)
    form = draw(st.sampled_from(["indexed", "static", "new", "named", "never", "huffman"]))
    if form == "indexed":
        return wire.indexed(draw(st.integers(1, 70)))
    if form == "static":
        return wire.indexed(draw(st.integers(1, 61)))
    if form == "named":
        return wire.integer(draw(st.integers(1, 64)), 6, 0x40) + wire.string(value)
    if form == "huffman":
        coded: bytes = hpack.Encoder().encode([(name, value)], huffman=True)
        return coded
    return wire.literal(name, value, first=0x10 if form == "never" else draw(st.sampled_from([0x00, 0x40])))


blocks = st.tuples(
    st.lists(st.integers(0, 4200).map(wire.table_size), max_size=2).map(b"".join),
    st.lists(field_lines(), max_size=6).map(b"".join),
).map(b"".join)


def decode_with_hpack(decoder: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return [(bytes(n), bytes(v)) for n, v in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


def decode(decoder: HeaderDecoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return list(decoder.decode(block))
    except ProtocolFault:
        return None


@examples(200)
@given(st.lists(blocks, min_size=1, max_size=6))
def test_blocks_are_decoded_as_hpack_does(sequence: list[bytes]) -> None:
    """Block after block through one table, we read what `hpack` reads and refuse what it refuses."""
    ours, oracle = HeaderDecoder(2**16), hpack.Decoder()
    for block in sequence:
        expected = decode_with_hpack(oracle, block)
        assert decode(ours, block) == expected
        if expected is None:
            break


@examples(200)
@given(st.lists(blocks, min_size=1, max_size=2).map(b"".join), mutations)
def test_broken_blocks_are_read_no_wider_than_hpack_does(block: bytes, changes: list[Mutation]) -> None:
    """Of a mutated block we never make something that `hpack` does not make of it."""
    padded = bytes(len(wire.PREFACE)) + block
    for change in changes:
        padded = change.apply(padded)
    block = padded[len(wire.PREFACE) :]
    got = decode(HeaderDecoder(2**16), block)
    if got is not None:
        assert got == decode_with_hpack(hpack.Decoder(), block)


@examples(300)
@given(st.lists(st.binary(max_size=12) | values.map(huffman), min_size=1, max_size=4))
def test_huffman_strings_are_decoded_as_hpack_does(strings: list[bytes]) -> None:
    """Of any octets given as a Huffman string we read what `hpack` reads, and refuse what it refuses."""
    ours, oracle = HeaderDecoder(2**16), hpack.Decoder()
    for octets in strings:
        block = b"\x00" + wire.string(b"x") + wire.string(octets, huffman=True)
        expected = decode_with_hpack(oracle, block)
        assert decode(ours, block) == expected


@examples(200)
@given(st.binary(max_size=200))
def test_huffman_strings_are_decoded_to_what_was_encoded(text: bytes) -> None:
    """Every octet survives Huffman's code."""
    block = b"\x00" + wire.string(b"x") + wire.string(huffman(text), huffman=True)
    assert decode(HeaderDecoder(2**16), block) == [(b"x", text)]
