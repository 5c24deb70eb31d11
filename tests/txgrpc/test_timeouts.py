"""Time limits on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.txgrpc import timeouts


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"4m", 0.004),
        (b"5u", 0.000005),
        (b"6n", 0.000000006),
        (b"0S", 0),
        (b"99999999H", 99999999 * 3600),
    ],
)
def test_units(wire: bytes, seconds: float) -> None:
    """All six units are understood."""
    assert timeouts.parse_grpc(wire) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wire", [b"", b"S", b"1", b"1s", b"-1S", b"+1S", b"1.5S", b"123456789S", b" 1S", b"1 S"]
)
def test_malformed(wire: bytes) -> None:
    """Anything but up to eight digits and a unit is refused."""
    with pytest.raises(ValueError, match="grpc-timeout"):
        timeouts.parse_grpc(wire)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_nobody_gives_up_early(seconds: float) -> None:
    """What is sent is never less than what is left, and at most a thousandth or a microsecond more."""
    sent = timeouts.parse_grpc(timeouts.format_grpc(seconds))
    assert seconds * (1 - 1e-12) <= sent <= max(seconds * 1.001, seconds + 1.001e-6)


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [(b"1000000000", 1.0), (b"5", 5e-9), (b"-5", -5e-9), (b"soon", None), (b"", None), (b"1e9", None)],
)
def test_nanoseconds(wire: bytes, seconds: float | None) -> None:
    """Micro's own header counts nanoseconds; what is no number is ignored."""
    assert timeouts.parse_nanoseconds(wire) == seconds
