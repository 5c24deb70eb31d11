"""What is said about a message: a map for gRPC, a block of lines for NATS (its ADR-4). Pure.

A block is C{NATS/1.0}, perhaps a status and its text (C{ 503 No Responders}), and C{Name: value} lines, up to an empty line. Of names
which come twice the first value stays in a map; what is no header line is left out of it. Status and text stand in a map as
C{Status} and C{Description}, as clients of NATS show them.

A block may be as large as a message of NATS. A map has what stands at its beginning: hundreds of thousands of short headers would
take a hundred times their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

VERSION = b"NATS/1.0"
_END = b"\r\n\r\n"
#: Lines of a block that are read for a map, and their bytes.
_MOST = 256
LARGEST = 64 << 10


def map_from(block: bytes) -> dict[str, str]:
    """The map of a block, or of its beginning; an empty one where it is none."""
    if not block.startswith(VERSION):
        return {}
    first, *lines = block[len(VERSION) : LARGEST].split(b"\r\n", _MOST + 1)
    if len(block) > LARGEST or len(lines) > _MOST:
        del lines[-1:]
    found: dict[str, str] = {}
    status, _, text = first.strip().partition(b" ")
    if status:
        found["Status"] = status.decode("utf-8", "replace")
        if text:
            found["Description"] = text.strip().decode("utf-8", "replace")
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name:
            found.setdefault(name.decode("utf-8", "replace"), value.strip().decode("utf-8", "replace"))
    return found


def block_from(header: Mapping[str, str]) -> bytes:
    """The block of a map; nothing for an empty one. Lines which would break it are left out."""
    if not header:
        return b""
    lines = [VERSION]
    for name, value in header.items():
        if name and ":" not in name and not _breaks(name) and not _breaks(value):
            lines.append(f"{name}: {value}".encode("utf-8", "replace"))
    return b"\r\n".join(lines) + _END


def _breaks(text: str) -> bool:
    return "\r" in text or "\n" in text
