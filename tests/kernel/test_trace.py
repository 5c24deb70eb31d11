"""A call's place in a trace, read and written (W3C Trace Context level 1; spec micro-v3-server 2.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.kernel import trace
from microd.kernel.trace import Trace

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{ID}-{SPAN}-01"
UUID = "0af76519-16cd-43dd-8448-eb211c80319c"


def test_read_parent() -> None:
    """A traceparent says the trace, the span and whether it is recorded."""
    assert trace.parse(PARENT) == Trace(ID, SPAN, 1)
    assert trace.parse(f"00-{ID}-{SPAN}-00") == Trace(ID, SPAN, 0)


def test_unknown_flags() -> None:
    """Flags which we do not know are not passed on."""
    assert trace.parse(f"00-{ID}-{SPAN}-ff") == Trace(ID, SPAN, 1)


@pytest.mark.parametrize(
    "value",
    [
        *("", "00", PARENT[:-1], PARENT + "0", PARENT + "-01", PARENT.upper(), f"ff-{ID}-{SPAN}-01"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"0x-{ID}-{SPAN}-01", f"00_{ID}-{SPAN}-01"),
        *(f"00-{ID[:-1]}g-{SPAN}-01", f"00-{ID}-{SPAN}-0", f"01-{ID}-{SPAN}-01.x", f"{PARENT},{PARENT}"),
        f"00-{ID[:-1]}\N{ARABIC-INDIC DIGIT ONE}-{SPAN}-01",
    ],
)
def test_invalid_parent(value: str) -> None:
    """What is not exactly a traceparent is none."""
    assert trace.parse(value) is None


@pytest.mark.parametrize("more", ["", "-", "-what-is-to-come"])
def test_later_version(more: str) -> None:
    """Of a later version, what version 00 has is read."""
    assert trace.parse(f"cc-{ID}-{SPAN}-01{more}") == Trace(ID, SPAN, 1)


def test_spaces() -> None:
    """Spaces around a header's value mean nothing."""
    assert trace.parse(f" {PARENT}\t") == Trace(ID, SPAN)


def test_ids() -> None:
    """The reference's uuids are the same bits; of a span, the last 64 of them."""
    found = trace.read([("micro-trace-id", UUID), ("micro-span-id", "11111111-2222-4333-b7ad-6b7169203331")])
    assert found == Trace(ID, SPAN)


def test_micro_id() -> None:
    """Without micro-trace-id, micro-id is the trace's id; a span is made up from it."""
    assert trace.read([("micro-id", UUID.upper())]) == Trace(ID, ID[16:])


def test_free_text() -> None:
    """An id that is neither uuid nor hex digits becomes the same 128 bits wherever it is read."""
    first, second = (trace.read([("micro-trace-id", "order 66")]) for _ in range(2))
    assert first is not None
    assert first == second
    assert trace.parse(trace.traceparent(first)) == first
    assert trace.read([("micro-trace-id", "order 67")]) != first


@pytest.mark.parametrize("nothing", ["", "  ", "0" * 32, "00000000-0000-0000-0000-000000000000"])
def test_no_id(nothing: str) -> None:
    """An id that says nothing is none."""
    assert trace.read([("micro-trace-id", nothing)]) is None
    assert trace.span_id(nothing) == ""


def test_parent_wins() -> None:
    """A traceparent that can be read wins; one that cannot leaves it to the reference's headers."""
    other = ("micro-trace-id", "11111111-2222-4333-8444-555555555555")
    assert trace.read([other, ("traceparent", PARENT)]) == Trace(ID, SPAN)
    assert trace.read([("traceparent", "no"), ("micro-trace-id", UUID)]) == Trace(ID, ID[16:])


def test_two_parents() -> None:
    """Two traceparents are none, and what state came with them is dropped."""
    assert trace.read([("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")]) is None


def test_reference_in_between() -> None:
    """A service of the reference adds its span to its own form only, and forwards the rest: its span is the later one."""
    theirs = "11111111-2222-4333-8444-555555555555"
    found = trace.read([("traceparent", PARENT), ("micro-trace-id", UUID), ("micro-span-id", theirs)])
    assert found == Trace(ID, "8444555555555555")


def test_state() -> None:
    """Several tracestate headers are one; without a traceparent they mean nothing."""
    states = [("tracestate", "a=1,b=2"), ("tracestate", "c=3")]
    found = trace.read([*states, ("traceparent", PARENT)])
    assert found is not None
    assert found.state == "a=1,b=2,c=3"
    assert trace.read(states) is None


def test_long_state() -> None:
    """A tracestate is passed on up to a length and a number of members, whole members only."""
    assert trace.bounded_state(",".join(["k=" + "v" * 100] * 20)) == ",".join(["k=" + "v" * 100] * 9)
    assert trace.bounded_state(",".join(["k=v"] * 40)) == ",".join(["k=v"] * 32)
    assert trace.bounded_state("k=" + "v" * 2000) == ""


def test_binary_values() -> None:
    """Values which are no text are passed over."""
    assert trace.read([("traceparent", b"x"), ("other", "y")]) is None


def test_begin() -> None:
    """A new trace has an id and a span of its own, and can be read back from either form."""
    made = trace.begin()
    assert made.id != trace.begin().id
    sent = trace.headers(made)
    assert trace.read(sent) == made
    assert trace.read(sent[1:]) == made
    assert trace.begin(lambda _: 0) == Trace("0" * 31 + "1", "0" * 15 + "1")


def test_child() -> None:
    """A child has its parent's trace and state, and another span."""
    parent = Trace(ID, SPAN, 0, "a=1")
    child = parent.child()
    assert child == (ID, child.span, 0, "a=1")
    assert child.span != SPAN


def test_headers() -> None:
    """A call says where it belongs in both forms, the reference's ids as uuids."""
    assert trace.headers(Trace(ID, SPAN, 1, "a=1")) == [
        ("traceparent", PARENT),
        ("tracestate", "a=1"),
        ("micro-trace-id", UUID),
        ("micro-span-id", "00000000-0000-0000-b7ad-6b7169203331"),
    ]


def test_exact_id() -> None:
    """Hex digits and uuids are an id as they are; nothing else is."""
    assert trace.exact_id(UUID.upper()) == trace.exact_id(ID) == ID
    assert [trace.exact_id(text) for text in ("", "abc", ID + "0", "0" * 32, "x" * 32)] == [""] * 5


@given(st.lists(st.tuples(st.sampled_from(sorted(trace.NAMES)), st.text() | st.binary()), max_size=6))
def test_anything(headers: list[tuple[str, object]]) -> None:
    """Whatever comes in, what is read can be sent and read again."""
    found = trace.read(headers)
    assert found is None or trace.read(trace.headers(found)) == found
