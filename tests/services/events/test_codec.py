"""Blocks of events: what is written is what is read, and nothing else is."""

from __future__ import annotations

import random

import pytest

from microd.services.events import codec
from microd.services.events.codec import Block, Damaged


def made(
    payloads: list[bytes], metas: list[bytes] | None = None, stamps: list[int] | None = None, first: int = 7
) -> tuple[Block, bytes]:
    count = len(payloads)
    return codec.encode(first, 1000, 5000, 4000, payloads, metas or [b""] * count, stamps or [0] * count)


def columns(block: Block) -> tuple[object, ...]:
    return (
        (block.first, block.end, block.before, block.stored, block.newest, block.size),
        list(block.payloads),
        None if block.metas is None else list(block.metas),
        None if block.stamps is None else list(block.stamps),
    )


@pytest.mark.parametrize("metas", [None, [b'{"a":"b"}', b"", b'{"c":"d"}']])
@pytest.mark.parametrize("stamps", [None, [3, 0, 9000]])
def test_there_and_back(metas: list[bytes] | None, stamps: list[int] | None) -> None:
    """A block on disk says the same as the one it was made of."""
    block, data = made([b"one", b"", b"three" * 100], metas, stamps)
    assert columns(codec.decode(block.key, data)) == columns(block)
    assert block.newest == (9000 if stamps else 5000)
    assert block.size == len(data)


def test_events() -> None:
    """Events have what was said about them, and the block's time where they have none of their own."""
    block, data = made([b"one", b"two"], [b'{"a":"b"}', b""], [3, 0])
    for each in (block, codec.decode(block.key, data)):
        one, two = each.events("t", str, 0, 100)
        assert one == ("t", "7", 7, 3, {"a": "b"}, b"one")
        assert two == ("t", "8", 8, 5000, {}, b"two")
        assert list(each.events("t", str, 8, 9)) == [two]
        assert list(each.events("t", str, 9, 12)) == []


def test_since() -> None:
    """The first event that did not happen before a time is found."""
    block, _ = made([b"", b"", b""], None, [10, 30, 20])
    assert [block.since(stamp) for stamp in (0, 11, 30, 31)] == [7, 8, 8, None]
    block, _ = made([b"", b""])
    assert [block.since(stamp) for stamp in (5000, 5001)] == [7, None]


def test_keys_are_in_order() -> None:
    """Keys sort as offsets do."""
    offsets = [1, 9, 10, 255, 256, 1 << 32, (1 << 63) - 1]
    assert sorted(map(codec.key, reversed(offsets))) == [codec.key(each) for each in offsets]


def test_cut_or_longer() -> None:
    """A block that lost its end, or has more, is damaged."""
    block, data = made([b"one", b"two"], [b"{}", b""], [1, 2])
    for length in range(len(data)):
        with pytest.raises(Damaged):
            codec.decode(block.key, data[:length])
    with pytest.raises(Damaged):
        codec.decode(block.key, data + b"x")


def test_elsewhere() -> None:
    """A block under another's key is damaged."""
    block, data = made([b"one", b"two"])
    with pytest.raises(Damaged, match="belongs"):
        codec.decode(codec.key(block.end), data)


def test_mutations() -> None:
    """Whatever bytes change, decoding gives a block or says that it is damaged; it never fails otherwise."""
    chance = random.Random(7)
    block, data = made([b"one", b"two" * 50], [b'{"a":"b"}', b""], [1, 2])
    for _ in range(5000):
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        try:
            assert codec.decode(block.key, bytes(mutated)).end == block.end
        except Damaged:
            continue
