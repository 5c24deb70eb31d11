"""C{/metrics}, C{/healthz} and C{/readyz}, over HTTP.

C{/healthz} answers 200 as long as the reactor turns, so that nobody restarts a daemon for what a restart would not mend.
C{/readyz} answers 200 only where every part of this daemon is well, and else 503 with a line for each that is not; services of
users, and other daemons, do not count. Both are text, or JSON for who prefers that.

On loopback whoever reaches the door may read all. Where a token is demanded, C{/metrics} and the reasons are for who shows it;
C{/healthz} and the bare status of C{/readyz} answer everybody, as probes of orchestrators show none.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from microd.gateways.ops.exposition import CONTENT_TYPE, exposition
from microd.kernel.health import Figure, Figures, Reason, counter

#: Seconds after which a silent client is hung up on.
IDLE = 60.0
_TEXT, _JSON = b"text/plain; charset=utf-8", b"application/json"


class _Asked(Request):
    """A request without a body: nobody has anything to tell here."""

    def gotLength(self, length: int | None) -> None:
        # Told the truth, it would open a file for a large body.
        super().gotLength(0)
        if length != 0:
            self.channel.forceAbortClient()


class OpsSite(Site):
    """The door's factory.

    @param reasons: by the name of the part.
    @param token: what is to be shown for more than the bare status; empty: nothing.
    """

    displayTracebacks = False
    noisy = False

    def __init__(
        self, clock: IReactorTime, reasons: Mapping[str, Reason], figures: Sequence[Figures], token: str = ""
    ) -> None:
        guard = _Guard(token)
        pages = {
            b"/": _index,
            b"/healthz": _health,
            b"/readyz": _Readiness(reasons, guard).page,
            b"/metrics": _Metrics(reasons, figures, guard).page,
        }
        super().__init__(_Pages(pages), requestFactory=_Asked, timeout=IDLE, reactor=clock)

    def log(self, request: Any) -> None:
        """Probes stay out of the log."""


class _Guard:
    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode() if token else b""

    def lets_in(self, request: Request) -> bool:
        shown = request.getHeader(b"authorization") or b""
        return not self._wanted or hmac.compare_digest(shown, self._wanted)


#: The content type and the body; the status is 200 unless the page says otherwise.
_Page = Callable[[Request], tuple[bytes, bytes]]


class _Pages(Resource):
    """All there is; twisted.web's own pages for what is not there are HTML."""

    isLeaf = True

    def __init__(self, pages: Mapping[bytes, _Page]) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: Request) -> bytes:
        page = self._pages.get(request.path)
        if page is None:
            request.setResponseCode(404)
            content_type, body = _TEXT, b"there is /metrics, /healthz and /readyz\n"
        elif request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
            request.setHeader(b"allow", b"GET, HEAD")
            content_type, body = _TEXT, b"there is nothing to change here\n"
        else:
            content_type, body = page(request)
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"content-type", content_type)
        request.setHeader(b"content-length", b"%d" % len(body))
        return b"" if request.method == b"HEAD" else body


def _index(request: Request) -> tuple[bytes, bytes]:
    return _TEXT, b"/metrics\n/healthz\n/readyz\n"


def _health(request: Request) -> tuple[bytes, bytes]:
    return (_JSON, b'{"status":"ok"}\n') if _wants_json(request) else (_TEXT, b"ok\n")


class _Readiness:
    def __init__(self, reasons: Mapping[str, Reason], guard: _Guard) -> None:
        self._reasons = reasons
        self._guard = guard

    def page(self, request: Request) -> tuple[bytes, bytes]:
        said = said_by(self._reasons)
        ills = {part: reason for part, reason in said.items() if reason}
        if ills:
            request.setResponseCode(503)
        status = "not ready" if ills else "ready"
        if not self._guard.lets_in(request):
            said = ills = {}
        if _wants_json(request):
            parts = {part: reason or "ok" for part, reason in said.items()}
            return _JSON, json.dumps({"status": status, "parts": parts}).encode() + b"\n"
        return _TEXT, "".join(
            [f"{status}\n", *(f"{part}: {reason}\n" for part, reason in ills.items())]
        ).encode()


class _Metrics:
    log = Logger()

    def __init__(self, reasons: Mapping[str, Reason], figures: Sequence[Figures], guard: _Guard) -> None:
        self._reasons = reasons
        self._figures = figures
        self._guard = guard
        self._lost = 0

    def page(self, request: Request) -> tuple[bytes, bytes]:
        if not self._guard.lets_in(request):
            request.setResponseCode(401)
            request.setHeader(b"www-authenticate", b"Bearer")
            return _TEXT, b"show the token of the setting ops.token: Authorization: Bearer TOKEN\n"
        return CONTENT_TYPE, exposition(self._all())

    def _all(self) -> Iterator[Figure]:
        for each in self._figures:
            try:
                yield from list(each())
            except Exception:  # noqa: BLE001 - one part's defect must not hide the others
                self._lost += 1
                self.log.failure(
                    "the figures of {part} are missing", part=getattr(each, "__qualname__", each)
                )
        well = [({"part": part}, float(not reason)) for part, reason in said_by(self._reasons).items()]
        yield Figure("microd_part_ready", "Whether a part is well.", "gauge", well)
        yield counter("microd_scrape_failures_total", "Parts whose figures were missing.", self._lost)


def said_by(reasons: Mapping[str, Reason]) -> dict[str, str]:
    """What each part says, on one line; "" where it is well. One that cannot say is not well."""
    return {part: _line(_asked(reason)) for part, reason in reasons.items()}


def _asked(reason: Reason) -> str:
    try:
        return reason() or ""
    except Exception as defect:  # noqa: BLE001 - one part's defect is that part's reason
        return f"cannot say how it is: {type(defect).__name__}: {defect}"


def _line(said: str) -> str:
    return " ".join(said.split())


def _wants_json(request: Request) -> bool:
    accepted = (request.getHeader(b"accept") or b"").lower()
    at = accepted.find(b"json")
    return at >= 0 and not 0 <= accepted.find(b"text/plain") < at
