"""A request's headers: as the gate reads them, and as they travel on to a service."""

from __future__ import annotations

import re
from collections.abc import Sequence

from microd.gateways.api.request import TEXT
from microd.txgrpc.metadata import Metadata

#: What belongs to this connection, to HTTP or to gRPC, and so goes no further (spec 2.4, 4.5).
_STAY = frozenset(
    (
        *(
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "trailer",
            "host",
        ),
        *("content-type", "content-length", "content-encoding", "accept-encoding", "expect", "cookie"),
        *("user-agent", "timeout", "x-content-type", "micro-namespace", "micro-lease", "method", "url"),
    )
)
_NAME = re.compile(r"[0-9a-z_.\-]+")
_TOKEN = "micro-token"

Raw = Sequence[tuple[bytes, bytes]]


class Headers(dict[str, str]):
    """Names in lower case; values of a name given twice are joined with a comma."""

    __slots__ = ("_made", "_travel")

    def __init__(self, raw: Raw) -> None:
        super().__init__()
        self._made: tuple[str, bytes, bytes] | None = None
        self._travel = Metadata()
        for name, value in raw:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self[key] = f"{self[key]},{text}" if key in self else text
        if "cookie" in self and "authorization" not in self:
            self._believe_cookie()

    def metadata(self, namespace: str, method: bytes, url: bytes, peer: str) -> Metadata:
        """What goes on to the service: nearly all of it, and where it came from.

        The last result is kept: the next request on the connection most often has the same headers.
        """
        key = (namespace, method, url)
        if self._made != key:
            self._made = key
            texts = method.decode("latin-1"), url.decode("latin-1")
            self._travel = Metadata(self._pairs(namespace, *texts, peer))
        return self._travel

    def _pairs(self, namespace: str, method: str, url: str, peer: str) -> list[tuple[str, str]]:
        pairs = [
            (name, value)
            for name, value in self.items()
            if name not in _STAY
            and not name.startswith("grpc-")
            and not name.endswith("-bin")
            and _NAME.fullmatch(name)
            and TEXT.fullmatch(value)
        ]
        pairs.append(("micro-namespace", namespace))
        pairs.append(("method", method))
        if TEXT.fullmatch(url):
            pairs.append(("url", url))
        if TEXT.fullmatch(host := self.get("host", "")) and "x-forwarded-host" not in self:
            pairs.append(("x-forwarded-host", host))
        if "x-forwarded-for" not in self:
            pairs.append(("x-forwarded-for", peer.rpartition(":")[0] or peer))
        return pairs

    def _believe_cookie(self) -> None:
        """Take the token from the cookie, unless a page of another origin had the browser send it.

        The answers let pages of any origin read them (spec 4.2); were the cookie believed there, so would be every
        page that the user visits.
        """
        if self.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return
        origin = self.get("origin")
        if origin is not None and origin.partition("://")[2] != self.get("host"):
            return
        for part in self["cookie"].split(";"):
            name, _, value = part.strip().partition("=")
            if name == _TOKEN and value:
                self["authorization"] = "Bearer " + value.removeprefix(_TOKEN + "=")
                return
