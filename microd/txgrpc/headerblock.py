"""HPACK (RFC 7541): a decoder that knows when its table changed, and an encoder that has no table.

The C{hpack} package lends its static table and its Huffman code; its decoder is not used because the memory
of header blocks (see L{microd.txgrpc.connection}) must be told of every change of the dynamic table, because
it copies the rest of the block for each literal (so that a block costs quadratic time), and because it takes
integers of any length.

Our own blocks are literals without indexing. They cost some sixty bytes more a call than indexed ones and are
the same bytes each time, so that they can be kept made, and a peer which remembers blocks knows them again.
"""

from __future__ import annotations

from collections import deque

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)
from hpack.table import HeaderTable

from microd.txgrpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ProtocolFault

Field = tuple[bytes, bytes]

_STATIC: tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(_STATIC)
_STATIC_NAMES: dict[bytes, int] = {}
for _index in range(_STATIC_COUNT - 1, 0, -1):
    _STATIC_NAMES[_STATIC[_index][0]] = _index
_STATIC_FIELDS: dict[Field, int] = {field: index for index, field in enumerate(_STATIC) if index}

#: The table size which both sides start with, and which we never change (RFC 9113 6.5.2).
TABLE_SIZE = 4096
#: How much longer than the limit a header list may grow before the block is given up.
_BOMB = 4

#: A dynamic table size update to nothing.
EMPTY_TABLE = b"\x20"

#: Fields which no intermediary may put into a table (RFC 7541 7.1.3).
_SENSITIVE = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))


class Oversize(Exception):
    """The header list is longer than allowed; the table was kept up to date, so only its call fails."""


class HeaderDecoder:
    """The decoding half of one connection's compression state.

    @ivar changed: whether the last block changed the dynamic table or its size.
    """

    __slots__ = ("_limit", "_max_size", "_size", "_table", "changed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table: deque[Field] | None = None
        self._size = 0
        self._max_size = TABLE_SIZE
        self.changed = False

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one header block.

        @raise ProtocolFault: it is not HPACK, or a bomb.
        @raise Oversize: the list is too long.
        """
        self.changed = False
        fields: list[Field] = []
        try:
            total = self._decode(block, fields)
        except (IndexError, HPACKDecodingError) as error:
            raise ProtocolFault(COMPRESSION_ERROR, "invalid header block") from error
        if total > self._limit:
            raise Oversize
        return fields

    def _decode(self, block: bytes, fields: list[Field]) -> int:
        # A long loop with local names and the short cases in place: every block that is not remembered comes through
        # here, and a client which sends ids of its own with each call sends no two alike.
        limit = self._limit
        static, end = _STATIC, len(block)
        position = total = updates = 0
        while position < end:
            first = block[position]
            position += 1
            if first & 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                field = static[index] if 0 < index < _STATIC_COUNT else self._field(index)
            elif first & 0xE0 == 0x20:
                updates += 1
                if fields or updates > 2:
                    raise ProtocolFault(COMPRESSION_ERROR, "table size update out of place")
                size = first & 0x1F
                if size == 0x1F:
                    size, position = _integer(block, position, 0x1F)
                self._resize(size)
                continue
            else:
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                if index == mask:
                    index, position = _integer(block, position, mask)
                if index:
                    name = static[index][0] if index < _STATIC_COUNT else self._field(index)[0]
                else:
                    size = block[position]
                    if size < 0x7F:
                        position += 1
                        name = block[position : position + size]
                        position += size
                    else:
                        name, position = _string(block, position)
                size = block[position]
                if size < 0x7F:
                    position += 1
                    value = block[position : position + size]
                    position += size
                else:
                    value, position = _string(block, position)
                if position > end:
                    raise IndexError
                field = (name, value)
                if first & 0x40:
                    self._insert(field)
            total += len(field[0]) + len(field[1]) + 32
            if total <= limit:
                fields.append(field)
            elif total > limit * _BOMB:
                raise ProtocolFault(ENHANCE_YOUR_CALM, "the header list is far too long")
        return total

    def _field(self, index: int) -> Field:
        if index < _STATIC_COUNT:
            if index == 0:
                raise ProtocolFault(COMPRESSION_ERROR, "header index 0")
            return _STATIC[index]
        if self._table is None:
            raise IndexError
        return self._table[index - _STATIC_COUNT]

    def _insert(self, field: Field) -> None:
        self.changed = True
        if self._table is None:
            self._table = deque()
        self._table.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + 32
        self._evict()

    def _resize(self, size: int) -> None:
        if size > TABLE_SIZE:
            raise ProtocolFault(COMPRESSION_ERROR, "table size over the setting")
        self.changed = True
        self._max_size = size
        self._evict()

    def _evict(self) -> None:
        table = self._table
        while table and self._size > self._max_size:
            name, value = table.pop()
            self._size -= len(name) + len(value) + 32


def _integer(block: bytes, position: int, start: int) -> tuple[int, int]:
    """What follows a full prefix (RFC 7541 5.1); more than five octets cannot be meant."""
    value, shift = start, 0
    while True:
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise ProtocolFault(COMPRESSION_ERROR, "header integer too long")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    first = block[position]
    size = first & 0x7F
    position += 1
    if size == 0x7F:
        size, position = _integer(block, position, 0x7F)
    end = position + size
    if end > len(block):
        raise IndexError
    raw = block[position:end]
    return (_unhuffman(raw) if first & 0x80 else raw), end


def _unhuffman(raw: bytes) -> bytes:
    """Decode a Huffman string (RFC 7541 5.2), an octet at a time.

    The package's table walks half octets; the walks over whole ones are kept as they come up.
    """
    state, last = 0, _START
    out = []
    for octet in raw:
        last = _steps.get(state | octet) or _step(state | octet)
        out.append(last[0])
        state = last[1]
    if not last[2]:
        raise HPACKDecodingError("the padding is wrong")
    return b"".join(out)


#: What the walk over one octet gives: the octets decoded, the next state (shifted), whether the string may end there.
_Step = tuple[bytes, int, bool]
_START: _Step = (b"", 0, True)
_steps: dict[int, _Step] = {}


def _step(key: int) -> _Step:
    state, octet = key >> 8, key & 255
    out = bytearray()
    flags = 0
    for half in (octet >> 4, octet & 15):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
        if flags & HUFFMAN_FAIL:
            raise HPACKDecodingError("not Huffman code")
        if flags & HUFFMAN_EMIT_SYMBOL:
            out.append(symbol)
    made = _steps[key] = (bytes(out), state << 8, bool(flags & HUFFMAN_COMPLETE))
    return made


def _encode_integer(value: int, mask: int, flags: int) -> bytes:
    if value < mask:
        return bytes((flags | value,))
    out = bytearray((flags | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_field(name: bytes, value: bytes) -> bytes:
    """One field, touching no table; a secret is marked as never to be indexed."""
    index = _STATIC_FIELDS.get((name, value))
    if index is not None:
        return _encode_integer(index, 0x7F, 0x80)
    flags = 0x10 if name in _SENSITIVE else 0
    index = _STATIC_NAMES.get(name)
    if index is not None:
        head = _encode_integer(index, 0x0F, flags)
    else:
        head = bytes((flags,)) + _encode_integer(len(name), 0x7F, 0) + name
    return head + _encode_integer(len(value), 0x7F, 0) + value


def encode_fields(fields: list[Field]) -> bytes:
    """A header block."""
    return b"".join([encode_field(name, value) for name, value in fields])
