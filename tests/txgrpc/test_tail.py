"""The ids of a trace, at the end of a header block, and how they are told from what stands before them."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from microd.kernel import trace
from microd.txgrpc import Channel, ServerCall, tail, unary_stream, unary_unary
from microd.txgrpc.connection import Http2Connection
from microd.txgrpc.frames import HEAD, PREFACE
from microd.txgrpc.headerblock import Field, encode_field, encode_fields
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.stream import Stream

REQUEST: list[Field] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/shop.Shop/Hello"),
    (b":authority", b"here"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
IDS: list[Field] = [
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"micro-trace-id", b"0af76519-16cd-43dd-8448-eb211c80319c"),
    (b"micro-span-id", b"00000000-0000-0000-b7ad-6b7169203331"),
]
TAIL = encode_fields(IDS)


class Server:
    """A server's connection.

    @ivar seen: the head and the tail of each request.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[RequestHead, bytes]] = []
        self.connection = Http2Connection(False, accept=self.accept)
        self.connection.receive(PREFACE + HEAD.pack(0, 0, 4, 0, 0))
        self.id = 1

    def accept(self, connection: Http2Connection, head: RequestHead) -> Stream:
        """Note the request."""
        seen = self.seen

        class Seen(Stream):
            def opened(self) -> None:
                seen.append((head, self.tail))

        return Seen(connection)

    def take(self, block: bytes) -> tuple[RequestHead, bytes]:
        """Receive a request that ends with its headers."""
        self.connection.receive(HEAD.pack(len(block) >> 8, len(block) & 255, 1, 5, self.id) + block)
        self.id += 2
        assert self.connection.failed is None
        return self.seen[-1]


def fields_of(seen: tuple[RequestHead, bytes]) -> list[Field]:
    head, ids = seen
    return head.fields + [
        (name.encode(), str(value).encode()) for name, value in (tail.pairs_of(ids) if ids else ())
    ]


def test_layout() -> None:
    """What is made of three values is what the fields would be encoded as, and can be taken apart again."""
    made = tail.made(*[value for _, value in IDS])
    assert made == TAIL
    assert len(made) == tail.SIZE
    assert tail.values_of(made) == tuple(value for _, value in IDS)
    assert tail.trace_of(made) == b"0af7651916cd43dd8448eb211c80319c"
    assert tail.split(b"block" + made) == (b"block", made)


@pytest.mark.parametrize(
    "values",
    [
        (b"01-" + IDS[0][1][3:], IDS[1][1], IDS[2][1]),
        (IDS[0][1].upper(), IDS[1][1], IDS[2][1]),
        (b"00-" + b"0" * 32 + IDS[0][1][35:], IDS[1][1], IDS[2][1]),
        (IDS[0][1][:36] + b"0" * 16 + b"-01", IDS[1][1], IDS[2][1]),
        (IDS[0][1], IDS[1][1][1:], IDS[2][1]),
        (IDS[0][1], IDS[1][1], b"\n" * 36),
    ],
)
def test_no_layout(values: tuple[bytes, bytes, bytes]) -> None:
    """Other values make no tail."""
    assert tail.made(*values) == b""
    assert tail.of(b"block" + encode_fields(list(zip([name for name, _ in IDS], values, strict=True)))) == b""


def test_begin() -> None:
    """A trace that begins has an id nobody else has, which is a uuid of version 4, and reads the same in both forms."""
    begin = tail.Beginning(random.Random(1).getrandbits)
    made = [begin() for _ in range(50_000)]
    ids = {tail.trace_of(each) for each in made}
    assert len(ids) == len(made)
    assert len({each[:16] for each in ids}) > 1
    for each in made[::5000]:
        assert tail.of(each) == each
        found = trace.read(tail.pairs_of(each))
        assert found is not None
        assert found == trace.read(tail.pairs_of(each)[1:])
        assert found.id == tail.trace_of(each).decode()
        number = uuid.UUID(found.id)
        assert (number.version, number.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize("bit", [0, 1])
def test_extremes(bit: int) -> None:
    """Whatever the random bits are, they make a valid tail."""
    begin = tail.Beginning(lambda count: bit * ((1 << count) - 1))
    assert tail.of(begin()) != b""
    assert trace.read(tail.pairs_of(begin())) is not None


def test_one_head() -> None:
    """Requests which differ in nothing but their tails share what was made of the rest."""
    server = Server()
    head = encode_fields(REQUEST)
    first, second = server.take(head + tail.begin()), server.take(head + TAIL)
    assert first[0] is second[0]
    assert first[1] != second[1] == TAIL
    assert server.take(head) == (first[0], b"")
    assert server.take(head + TAIL) == second


headers = st.lists(
    st.tuples(
        st.sampled_from([b"x-one", b"x-two", b"authorization", b"traceparent", b"micro-trace-id"]),
        st.sampled_from([b"", b"1", b"application/grpc", b"t" * 60, IDS[0][1]]),
    ),
    max_size=4,
)


@given(st.lists(st.tuples(headers, st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_same_fields(requests: list[tuple[list[Field], bool, bool, bool]]) -> None:
    """However peers encode, with whatever in their tables, a request has the fields that any decoder finds."""
    server, encoder, oracle = Server(), Encoder(), Decoder()
    for more, indexing, huffman, ours in requests:
        fields = REQUEST + more
        block = encoder.encode(fields, huffman=huffman) if indexing else encode_fields(fields)
        block += TAIL if ours else encoder.encode(IDS, huffman=huffman)
        expected = [tuple(field) for field in oracle.decode(block, raw=True)]
        assert fields_of(server.take(block)) == expected


def test_end_of_a_string() -> None:
    """A string in Huffman code which ends with the bytes of a tail is a string."""
    value = _trap()
    assert value.endswith(tail.begin()[:17]) is False
    block = encode_fields(REQUEST) + b"\x00\x03x-a" + _length(len(value), 0x80) + value
    assert tail.of(block) != b""
    expected = [tuple(field) for field in Decoder().decode(block, raw=True)]
    server = Server()
    for _ in range(3):
        seen = server.take(block)
        assert seen[1] == b""
        assert seen[0].fields == expected
    # And what was remembered of it is not mistaken for a beginning.
    assert fields_of(server.take(encode_fields(REQUEST) + TAIL)) == REQUEST + IDS


def _trap() -> bytes:
    """Huffman code of a valid header value that ends with a tail."""
    chance = random.Random(1)
    digits = "0123456789abcdef"
    while True:
        values = [
            "".join(chance.choice(digits) if char in digits else char for char in value.decode())
            for _, value in IDS
        ]
        values[0] = "00" + values[0][2:]
        made = tail.made(*[value.encode() for value in values])
        code = bytes(chance.randrange(256) for _ in range(3)) + made
        try:
            ((_, value),) = Decoder().decode(b"\x00\x01a" + _length(len(code), 0x80) + code, raw=True)
        except Exception:
            continue
        if not any(byte < 32 or byte == 127 for byte in value) and value == value.strip():
            return code


def _length(size: int, flag: int) -> bytes:
    assert size >= 127
    rest = size - 127
    return bytes((flag | 127,)) + (bytes((rest,)) if rest < 128 else bytes((rest & 127 | 128, rest >> 7)))


def test_metadata(tie: Any) -> None:
    """A handler finds the ids among the call's metadata, each call its own, whether its client named them or gave a tail."""
    seen: list[ServerCall] = []

    async def handler(request: bytes, call: ServerCall) -> bytes:
        seen.append(call)
        return request

    channel: Channel = tie({"/shop.Shop/Hello": unary_unary(handler)})
    hello = channel.unary_unary("/shop.Shop/Hello")
    ids = [(name.decode(), value.decode()) for name, value in IDS]
    other = tail.begin()
    hello(b"", metadata=[("x-a", "1"), *ids], timeout=5)
    hello(b"", metadata=[("x-a", "1")], tail=other, timeout=5)
    hello(b"", metadata=[*ids, ("x-a", "1")], timeout=5)
    assert [list(call.metadata)[1:] for call in seen[:2]] == [
        [("x-a", "1"), *ids],
        [("x-a", "1"), *tail.pairs_of(other)],
    ]
    assert [call.metadata.get("micro-trace-id") for call in seen] == [
        ids[1][1],
        dict(tail.pairs_of(other))["micro-trace-id"],
        ids[1][1],
    ]
    assert [bool(call.tail) for call in seen] == [True, True, False]
    assert seen[0].head is seen[1].head


def test_streams(tie: Any) -> None:
    """Streams bear a tail as well."""
    seen: list[bytes] = []

    async def handler(request: bytes, call: ServerCall) -> Any:
        seen.append(call.tail)
        yield request

    channel: Channel = tie({"/shop.Shop/Hello": unary_stream(handler)})
    channel.unary_stream("/shop.Shop/Hello")(b"", tail=TAIL)
    channel.stream_stream("/shop.Shop/Hello")([b""], tail=TAIL)
    assert seen == [TAIL, TAIL]


def test_ordinary_fields() -> None:
    """To any other peer a tail is three header fields, and leaves its table alone."""
    oracle = Decoder()
    block = encode_fields(REQUEST) + encode_field(b"x", b"y") + tail.begin()
    assert [bytes(name) for name, _ in oracle.decode(block, raw=True)][-3:] == [name for name, _ in IDS]
    assert not oracle.header_table.dynamic_entries
