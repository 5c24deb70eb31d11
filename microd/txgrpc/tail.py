"""What differs with each call, at the end of its header block: the ids of its trace.

A connection knows a header block again by its bytes (see L{microd.txgrpc.connection}), so that equal headers are read once.
An id of its own in each call would make each block a new one. Therefore our blocks have these ids last, after everything
else, as literals that touch no table, in one layout of L{SIZE} bytes::

    traceparent     00-<32>-<16>-<2>        hex digits; W3C Trace Context
    micro-trace-id  <8>-<4>-<4>-<4>-<12>    the same as the reference of the platform writes it
    micro-span-id   <8>-<4>-<4>-<4>-<12>

and a connection that finds this layout looks for what stands before it. To everybody else these are header fields like any
others; and a block with other ids, or with the same elsewhere, is just a block.
"""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits

from microd.txgrpc.metadata import Value

#: Bytes of a tail, and where in it the 32 digits of the trace begin.
SIZE, _ID = 174, 17

_PARENT, _TRACE, _SPAN = (
    b"\x00\x0btraceparent\x37",
    b"\x00\x0emicro-trace-id\x24",
    b"\x00\x0dmicro-span-id\x24",
)
_VERSION = _PARENT + b"00-"
_PARENT_END, _TRACE_AT, _SPAN_AT, _SPAN_VALUE = 14, 69, 122, 138
_TRACE_VALUE = _SPAN_AT - 36

#: Makes all hex digits the same, so that one comparison looks at every value.
_DIGITS = bytes(48 if byte in b"0123456789abcdef" else byte for byte in range(256))
_UUID = b"00000000-0000-0000-0000-000000000000"
_SHAPE = (_VERSION + b"0" * 32 + b"-0000000000000000-00" + _TRACE + _UUID + _SPAN + _UUID).translate(_DIGITS)
#: What an invalid trace or span of nothing but zeros has, and few others.
_ZEROS = b"0" * 16


def of(block: bytes) -> bytes:
    """What a header block ends with, if that is a tail; else C{b""}. It takes a third of a microsecond.

    It may also be the end of a string in Huffman code; whoever decodes the block knows.
    """
    tail = block[-SIZE:]
    if (
        tail.translate(_DIGITS) == _SHAPE
        and tail[:17] == _VERSION
        and tail[_TRACE_AT:_TRACE_VALUE] == _TRACE
        and tail[_SPAN_AT:_SPAN_VALUE] == _SPAN
        and _ZEROS not in tail
    ):
        return tail
    return b""


def split(block: bytes) -> tuple[bytes, bytes]:
    """A block which we have made, and its tail."""
    tail = of(block)
    return (block[:-SIZE], tail) if tail else (block, tail)


def made(parent: bytes, trace: bytes, span: bytes) -> bytes:
    """The tail of three values; C{b""} where they do not have the layout."""
    return of(_PARENT + parent + _TRACE + trace + _SPAN + span)


def trace_of(tail: bytes) -> bytes:
    """The trace: 32 hex digits."""
    return tail[_ID : _ID + 32]


def values_of(tail: bytes) -> tuple[bytes, bytes, bytes]:
    """The values of the three fields."""
    return tail[_PARENT_END:_TRACE_AT], tail[_TRACE_VALUE:_SPAN_AT], tail[_SPAN_VALUE:]


def pairs_of(tail: bytes) -> tuple[tuple[str, Value], ...]:
    """The three fields, as metadata has them."""
    parent, trace, span = values_of(tail)
    return (
        ("traceparent", parent.decode()),
        ("micro-trace-id", trace.decode()),
        ("micro-span-id", span.decode()),
    )


class Beginning:
    """Makes tails for calls that belong to no trace yet: each begins one, and takes two thirds of a microsecond.

    A trace's id is a uuid of version 4. Its first half is the same for some ten thousand in a row; the second, which is also
    the span of whoever called, is another each time. They can be guessed, and are no secrets.

    @param bits: so many random bits.
    """

    __slots__ = ("_bits", "_parent", "_trace")

    def __init__(self, bits: Callable[[int], int] = getrandbits) -> None:
        self._bits = bits
        self._renew()

    def _renew(self) -> None:
        half = b"%016x" % (self._bits(64) & ~0xF000 | 0x4000)
        self._parent = _VERSION + half
        self._trace = b"-01%b%b-%b-%b-" % (_TRACE, half[:8], half[8:12], half[12:])

    def __call__(self) -> bytes:
        """A new tail."""
        number = self._bits(62) | 1 << 63
        if not number & 0x3FFF:
            self._renew()
        low = b"%x" % number
        apart = low[:4] + b"-" + low[4:]
        return b"".join((self._parent, low, b"-", low, self._trace, apart, _NO_SPAN, apart))


_NO_SPAN = _SPAN + b"00000000-0000-0000-"

#: A tail for a call that belongs to no trace yet.
begin = Beginning()
