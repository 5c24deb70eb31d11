"""RFC 7541, HPACK: every way in which a peer's field block can be wrong, from the side of a server."""

import pytest
from hpack import Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Setting
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import ServerProbe, request_fields

FIELD = h2.block(request_fields("Field"))
DYNAMIC = 62  # the first index after the static table


def huffman(text: bytes) -> bytes:
    coded: bytes = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    return coded


def ask(peer: Peer, stream: int, block: bytes) -> bytes:
    """What a request of this block says in its metadata `x`."""
    peer.send(h2.headers(stream, block), h2.data(stream, h2.message(b""), end=True))
    return peer.body(stream)[5:]


def expect_compression_error(peer: Peer, block: bytes) -> None:
    peer.send(h2.headers(1, block, end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


# 2.3 Indexing tables


def test_2_3_3_index_zero(peer: Peer) -> None:
    """An indexed field line of index 0 is a decoding error."""
    expect_compression_error(peer, FIELD + h2.indexed(0))


@pytest.mark.parametrize("index", [62, 63, 127, 1000, 2**20, 2**28])
def test_2_3_3_index_beyond_the_tables(peer: Peer, index: int) -> None:
    """An index above both tables together is a decoding error."""
    expect_compression_error(peer, FIELD + h2.indexed(index))


@pytest.mark.parametrize(("first", "prefix"), [(0x40, 6), (0x00, 4), (0x10, 4)])
@pytest.mark.parametrize("index", [62, 5000])
def test_2_3_3_name_index_beyond_the_tables(peer: Peer, first: int, prefix: int, index: int) -> None:
    """So is the index of a literal's name, indexed or not."""
    expect_compression_error(peer, FIELD + h2.integer(index, prefix, first) + h2.string(b"v"))


def test_2_3_2_newest_entry_comes_first(peer: Peer) -> None:
    """The dynamic table is first in, first out; the newest entry has the lowest index."""
    block = FIELD + h2.literal(b"x", b"1", first=0x40) + h2.literal(b"x", b"2", first=0x40)
    assert ask(peer, 1, block) == b"1|2"
    assert ask(peer, 3, FIELD + h2.indexed(DYNAMIC)) == b"2"
    assert ask(peer, 5, FIELD + h2.indexed(DYNAMIC + 1)) == b"1"


def test_2_3_2_duplicates_are_kept(peer: Peer) -> None:
    """The same line may be in the table twice."""
    block = FIELD + 2 * h2.literal(b"x", b"1", first=0x40)
    assert ask(peer, 1, block) == b"1|1"
    assert ask(peer, 3, FIELD + h2.indexed(DYNAMIC) + h2.indexed(DYNAMIC + 1)) == b"1|1"


def test_same_octets_mean_what_the_table_says_now(peer: Peer) -> None:
    """A block that was seen before is read with the table of now: its memory must not outlive the table."""
    refers = FIELD + h2.indexed(DYNAMIC)
    ask(peer, 1, FIELD + h2.literal(b"x", b"old", first=0x40))
    assert ask(peer, 3, refers) == b"old"
    assert ask(peer, 5, refers) == b"old"
    ask(peer, 7, FIELD + h2.literal(b"x", b"new", first=0x40))
    assert ask(peer, 9, refers) == b"new"


def test_same_octets_insert_each_time(peer: Peer) -> None:
    """A block that inserts does so every time it comes, and moves the older entries on."""
    inserts = FIELD + h2.literal(b"x", b"in", first=0x40)
    ask(peer, 1, FIELD + h2.literal(b"x", b"first", first=0x40))
    for stream in (3, 5, 7):
        assert ask(peer, stream, inserts) == b"in"
    assert ask(peer, 9, FIELD + h2.indexed(DYNAMIC + 3)) == b"first"


def test_same_octets_fail_once_the_entry_is_gone(peer: Peer) -> None:
    """A block that was good is a decoding error after its entry was evicted."""
    refers = FIELD + h2.indexed(DYNAMIC)
    ask(peer, 1, FIELD + h2.literal(b"x", b"v", first=0x40))
    assert ask(peer, 3, refers) == b"v"
    ask(peer, 5, h2.table_size(0) + FIELD)
    peer.send(h2.headers(7, refers, end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_same_octets_resize_each_time(peer: Peer) -> None:
    """A size update at the start of a repeated block is carried out each time."""
    empties = h2.table_size(0) + h2.table_size(4096) + FIELD + h2.literal(b"x", b"e")
    adds = FIELD + h2.literal(b"x", b"a", first=0x40)
    for stream in (1, 5, 9):
        assert ask(peer, stream, adds) == b"a"
        assert ask(peer, stream + 2, empties) == b"e"
    peer.send(h2.headers(13, FIELD + h2.indexed(DYNAMIC), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


# 4 The dynamic table


def test_4_1_entries_cost_32_octets_more(peer: Peer) -> None:
    """The size of an entry is its name and value plus 32: 4,096 octets hold 64 entries of 64."""
    entry = h2.literal(b"x" * 16, b"v" * 16, first=0x40)
    ask(peer, 1, FIELD + h2.literal(b"x", b"w" * 31, first=0x40) + 63 * entry)
    assert ask(peer, 3, FIELD + h2.indexed(DYNAMIC + 63)) == b"w" * 31
    ask(peer, 5, FIELD + entry)
    peer.send(h2.headers(7, FIELD + h2.indexed(DYNAMIC + 64), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_4_3_reducing_evicts(peer: Peer) -> None:
    """A smaller table loses its oldest entries."""
    ask(peer, 1, FIELD + b"".join(h2.literal(b"x", bytes([c]), first=0x40) for c in b"abc"))
    assert ask(peer, 3, h2.table_size(34) + FIELD + h2.indexed(DYNAMIC)) == b"c"
    peer.send(h2.headers(5, FIELD + h2.indexed(DYNAMIC + 1), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_4_4_an_entry_larger_than_the_table_empties_it(peer: Peer) -> None:
    """An entry that cannot fit is no error: it empties the table and is not kept."""
    ask(peer, 1, FIELD + h2.literal(b"x", b"gone", first=0x40))
    large = h2.literal(b"y", b"l" * 4096, first=0x40)
    assert ask(peer, 3, FIELD + large + h2.literal(b"x", b"ok")) == b"ok"
    peer.send(h2.headers(5, FIELD + h2.indexed(DYNAMIC), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


def test_4_4_a_name_may_refer_to_the_entry_it_evicts(peer: Peer) -> None:
    """A new entry may take its name from the very entry that its insertion evicts."""
    ask(peer, 1, FIELD + h2.literal(b"x", b"a" * 3000, first=0x40))
    renamed = h2.integer(DYNAMIC, 6, 0x40) + h2.string(b"b" * 3000)
    assert ask(peer, 3, FIELD + renamed) == b"b" * 3000
    assert ask(peer, 5, FIELD + h2.indexed(DYNAMIC)) == b"b" * 3000


# 5.1 Integers


def test_5_1_the_largest_octet_of_a_prefix(peer: Peer) -> None:
    """An integer that just exceeds its prefix is continued with a zero octet."""
    assert ask(peer, 1, FIELD + b"\x00\x01x\x7f\x00" + b"v" * 127) == b"v" * 127


def test_5_1_leading_zeros(peer: Peer) -> None:
    """A few superfluous zero octets are within an integer's limits."""
    assert ask(peer, 1, FIELD + b"\x00\x01x\x7f\x80\x80\x00" + b"v" * 127) == b"v" * 127


@pytest.mark.parametrize(
    "integer",
    [
        pytest.param(b"\xff" * 16 + b"\x00", id="value"),
        pytest.param(b"\xff" + b"\x80" * 16_000 + b"\x00", id="octets"),
        pytest.param(b"\xff" * 16_000, id="never-ending"),
        pytest.param(b"\xff\xff\xff\xff\xff\x0f", id="32-bit"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="64-bit"),
        pytest.param(b"\xff", id="cut"),
        pytest.param(b"\xff\x80", id="cut-later"),
    ],
)
def test_5_1_integers_beyond_limits(peer: Peer, integer: bytes) -> None:
    """Integers too large, too long or cut off are decoding errors, found in no time."""
    expect_compression_error(peer, integer)


@pytest.mark.parametrize("octets", [9, 30, 4000])
def test_5_1_integers_of_too_many_octets(peer: Peer, octets: int) -> None:
    """An integer of many more octets than its value needs is a decoding error, though the value be small."""
    expect_compression_error(peer, FIELD + b"\x00\x01x\x7f" + b"\x80" * octets + b"\x00" + b"v" * 127)


# 5.2 Strings


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x00\x05x", id="name"),
        pytest.param(b"\x00\x01x\x05v", id="value"),
        pytest.param(b"\x00", id="no-name"),
        pytest.param(b"\x00\x01x", id="no-value"),
        pytest.param(b"\x00\x01x\x7f\xff\xff\xff\x07", id="huge-value"),
        pytest.param(b"\x00\x01x\x85v", id="huffman"),
        pytest.param(b"\x40", id="indexed-no-name"),
        pytest.param(b"\x7f", id="indexed-name-cut"),
    ],
)
def test_5_2_strings_beyond_the_block(peer: Peer, block: bytes) -> None:
    """A string longer than what is left of its block is a decoding error."""
    expect_compression_error(peer, FIELD + block)


def coded(value: bytes) -> bytes:
    """A field line `x` whose value is given in Huffman code."""
    return b"\x00" + h2.string(b"x") + h2.string(value, huffman=True)


def test_5_2_huffman(peer: Peer) -> None:
    """Names and values may be in Huffman code."""
    line = b"\x00" + h2.string(huffman(b"x"), huffman=True) + h2.string(huffman(b"www"), huffman=True)
    assert ask(peer, 1, FIELD + line) == b"www"


def test_5_2_huffman_of_nothing(peer: Peer) -> None:
    """An empty string in Huffman code is empty."""
    assert ask(peer, 1, FIELD + coded(b"")) == b""


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\xff", id="8-bits-of-padding"),
        pytest.param(huffman(b"0") + b"\xff", id="padding-octet"),
        pytest.param(huffman(b"www.example.com") + b"\xff", id="padding-octet-behind"),
        pytest.param(b"\xff\xff\xff", id="24-bits-of-padding"),
    ],
)
def test_5_2_huffman_padding_longer_than_7_bits(peer: Peer, value: bytes) -> None:
    """Padding strictly longer than seven bits is a decoding error."""
    expect_compression_error(peer, FIELD + coded(value))


@pytest.mark.parametrize("value", [b"\x00", b"\x06", b"\x1e", b"\x02"])
def test_5_2_huffman_padding_of_other_bits(peer: Peer, value: bytes) -> None:
    """Padding that is not the start of the EOS symbol, all ones, is a decoding error."""
    expect_compression_error(peer, FIELD + coded(value))


@pytest.mark.parametrize("value", [b"\xff\xff\xff\xff", b"\x07\xff\xff\xff\xff", b"\xff\xff\xff\xfc"])
def test_5_2_huffman_eos(peer: Peer, value: bytes) -> None:
    """A string that contains the EOS symbol is a decoding error."""
    expect_compression_error(peer, FIELD + coded(value))


# 6 Binary format


def test_6_2_2_unindexed_literals_do_not_enter_the_table(peer: Peer) -> None:
    """Literals without indexing and never-indexed ones leave the table alone."""
    block = FIELD + h2.literal(b"x", b"1") + h2.literal(b"x", b"2", first=0x10)
    assert ask(peer, 1, block) == b"1|2"
    peer.send(h2.headers(3, FIELD + h2.indexed(DYNAMIC), end=True))
    peer.expect_connection_error(Code.COMPRESSION_ERROR)


@pytest.mark.parametrize("size", [4097, 65_536, 2**31, 2**32])
def test_6_3_size_update_above_the_limit(peer: Peer, size: int) -> None:
    """A table larger than SETTINGS_HEADER_TABLE_SIZE allows is a decoding error."""
    limit = peer.announced().get(Setting.HEADER_TABLE_SIZE, 4096)
    expect_compression_error(peer, h2.table_size(max(size, limit + 1)) + FIELD)


@pytest.mark.parametrize("size", [0, 1, 30, 31, 32, 4095, 4096])
def test_6_3_size_update_within_the_limit(peer: Peer, size: int) -> None:
    """Any size up to the limit is taken, at the start of the block."""
    assert ask(peer, 1, h2.table_size(size) + FIELD + h2.literal(b"x", b"v")) == b"v"


def test_4_2_two_size_updates(peer: Peer) -> None:
    """Two updates may start a block, the smallest size and the final one."""
    assert ask(peer, 1, h2.table_size(0) + h2.table_size(4096) + FIELD + h2.literal(b"x", b"v")) == b"v"


@pytest.mark.parametrize("after", [1, 4])
def test_4_2_size_update_not_at_the_start(peer: Peer, after: int) -> None:
    """A size update behind a field line is a decoding error."""
    fields = request_fields("Field")
    block = h2.block(fields[:after]) + h2.table_size(100) + h2.block(fields[after:])
    expect_compression_error(peer, block)


def test_4_2_size_update_at_the_end(peer: Peer) -> None:
    """The end of a block is not its start."""
    expect_compression_error(peer, FIELD + h2.table_size(0))


def test_4_2_size_update_behind_an_indexed_line(peer: Peer) -> None:
    """A line of a single octet is a line too."""
    expect_compression_error(peer, h2.indexed(3) + h2.table_size(0) + FIELD)


def test_6_3_size_update_in_trailers(peer: Peer) -> None:
    """Trailers are a block of their own and may start with an update."""
    peer.send(h2.headers(1, h2.block(request_fields("Collect"))), h2.data(1, h2.message(b"x")))
    peer.send(h2.headers(1, h2.table_size(0) + h2.block(((b"a", b"b"),)), end=True))
    assert peer.body(1) == h2.message(b"x")


# A whole life


def test_a_long_life_of_one_table(probe: ServerProbe) -> None:
    """Hundreds of requests through one compression context with evictions mean what they say."""
    peer = probe.peer()
    encoder = Encoder()
    for n in range(300):
        if n % 50 == 49:
            encoder.header_table_size = (n * 37) % 4096
        value = b"v" * (n % 97) + str(n // 3).encode()
        block = encoder.encode(
            [*request_fields("Field"), (b"x", value), (b"y-%d" % (n % 7), b"z" * (n % 41))]
        )
        assert ask(peer, 1 + 2 * n, block) == value
    peer.expect_alive()
