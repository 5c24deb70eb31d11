"""Sizes in bytes, as people write and read them. Pure."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def bytes_from(text: str) -> int:
    """The bytes in C{512 KiB}, C{1GiB}, C{1G} or a bare number; units are powers of 1024.

    @raise ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512KiB, 64MiB or 1GiB")
    unit = (match[2] or "").upper()[:1]
    return int(match[1]) << 10 * " KMGT".index(unit or " ")


def written(size: int) -> str:
    """So many bytes: C{512 B}, C{1.5 KiB}, C{10 GiB}."""
    amount, place = float(size), 0
    while amount >= 1024 and place < len(_UNITS) - 1:
        amount, place = amount / 1024, place + 1
    return f"{amount:.1f}".removesuffix(".0") + f" {_UNITS[place]}"
