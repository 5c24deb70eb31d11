"""Headers of a call, kept in the smallest form that says where in a trace it belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from microd.txgrpc.call import ServerCall
from microd.txgrpc.heads import RequestHead
from microd.txgrpc.tail import pairs_of

#: A tail, if there is one; else all headers.
Kept = bytes | RequestHead | Mapping[str, object]


def kept(call: ServerCall) -> Kept:
    """What to keep of a call."""
    return call.tail or call.head


def headers_of(kept: Kept) -> Iterable[tuple[str, object]]:
    """Pairs of name and value, of what L{kept} gave, or of any mapping."""
    if isinstance(kept, bytes):
        return pairs_of(kept)
    return kept.items() if isinstance(kept, Mapping) else kept.metadata
