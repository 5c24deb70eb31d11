"""Sizes, as people write and read them."""

from __future__ import annotations

import pytest

from microd.cli.sizes import bytes_from, written


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("64 KiB", 65536),
        ("64kib", 65536),
        ("10M", 10 << 20),
        ("10MB", 10 << 20),
        ("1GiB", 1 << 30),
        ("2T", 2 << 40),
    ],
)
def test_read(text: str, size: int) -> None:
    """A size is a number with or without a unit, which is a power of 1024."""
    assert bytes_from(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1.5GiB", "-1", "1 XiB", "1GiBs"])
def test_no_size(text: str) -> None:
    """Anything else is none."""
    with pytest.raises(ValueError, match="not a size such as"):
        bytes_from(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 30, "1 GiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_written(size: int, text: str) -> None:
    """A size is shown in the largest unit that it fills."""
    assert written(size) == text
