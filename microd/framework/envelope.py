"""The headers of a call: what is the same for many is made once, and the ids of the trace go beside it.

Encoding headers anew would be a fifth of what a call costs here.
"""

from __future__ import annotations

from microd.framework.outgoing import Pairs, headers
from microd.kernel import trace
from microd.kernel.trace import Trace
from microd.txgrpc import Metadata, tail

#: So many namespaces and tokens have their headers kept.
_MOST = 64


class Envelopes:
    """Headers of one client's calls."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Metadata] = {}

    def of(
        self, namespace: str, token: str, own: Trace | None, given: Pairs
    ) -> tuple[Metadata | Pairs, bytes]:
        """The metadata of a call, and its tail; see L{headers} for the parameters."""
        if given or (own is not None and own.state):
            return headers(namespace, token, own, given), b""
        key = (namespace, token)
        metadata = self._kept.get(key)
        if metadata is None:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            metadata = self._kept[key] = Metadata(headers(namespace, token, None, []))
        return metadata, b"" if own is None else tail_of(own)


def tail_of(own: Trace) -> bytes:
    """The ids of a trace without a C{tracestate}."""
    return tail.made(*(value.encode("ascii") for _, value in trace.headers(own)))
