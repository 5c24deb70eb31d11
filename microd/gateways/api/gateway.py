"""The HTTP gateway: from a request to an endpoint (spec 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus

from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from microd.gateways.api.ask import AskCore, Asking, AskNode
from microd.gateways.api.headers import Headers
from microd.gateways.api.interface import ICatalogue, IDialer, IGate, IRouter
from microd.gateways.api.limits import Limits
from microd.gateways.api.paths import Paths, Target, cleaned, decoded
from microd.gateways.api.payload import Kind, UnsupportedMediaType, json_of, kind_of
from microd.gateways.api.replies import TEXT, error_reply, reply
from microd.gateways.api.request import Head, Request
from microd.gateways.api.server import HttpServer
from microd.gateways.api.wires import Wires
from microd.gateways.endings import Endings, Lasting
from microd.gateways.refusals import SAID_ELSEWHERE
from microd.gateways.tally import Ended, Tally
from microd.kernel.activity import UNTRACED
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Internal, MicroError, NotFound
from microd.kernel.health import Figure, gauge
from microd.services.registry.describe import described
from microd.services.registry.model import Endpoint as Described
from microd.services.registry.model import Value
from microd.txgrpc.status import MetadataLike
from microd.txgrpc.timeouts import parse_grpc, parse_nanoseconds

#: The shape of an endpoint's request, and whether it streams.
_Known = tuple[Value | None, bool]

#: Statuses that are counted apart from each other.
_KNOWN = frozenset((*HTTPStatus, 499))

_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE"))


class Notes:
    """What a request's headers mean; made once for all requests which have the same.

    @ivar refusal: why a request with these headers cannot be answered.
    """

    __slots__ = ("asked_for", "headers", "kind", "refusal", "timeout")

    def __init__(self, head: Head, longest: float) -> None:
        self.headers = Headers(head.headers)
        self.kind = Kind.JSON
        self.timeout, self.asked_for = longest, False
        self.refusal: MicroError | None = None
        try:
            self.kind = _kind(head)
            self.timeout, self.asked_for = _timeout(self.headers, longest)
        except MicroError as error:
            self.refusal = error


class Gateway:
    """Answers HTTP requests with what the endpoints of services answer.

    @param endpoints: of the core services; they are called in this process.
    @param catalogue: tells the shapes of messages, so that a query's text becomes the right JSON.
    @ivar server: the factory to listen with.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gate: IGate,
        router: IRouter,
        dialer: IDialer,
        catalogue: ICatalogue,
        endpoints: Iterable[Endpoint],
        *,
        version: str,
        cors: bool = True,
        limits: Limits | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._clock = clock
        self.tally = tally or Tally("api", clock.seconds)
        self._seconds = clock.seconds
        self._gate = gate
        self._router = router
        self._wires = Wires(dialer, clock)
        self._catalogue = catalogue
        self._core: dict[str, dict[str, tuple[Endpoint, Described]]] = {}
        for endpoint in endpoints:
            (entry,) = described([endpoint])
            self._core.setdefault(endpoint.service, {})[endpoint.name] = (endpoint, entry)
        self._limits = limits or Limits()
        self._paths = Paths()
        self._about = b'{"version": "%b"}' % version.encode()
        self._described: dict[tuple[str, str], tuple[Sequence[Described], dict[str, _Known]]] = {}
        self.server = HttpServer(self._ask, clock, self._limits)
        self.server.dated.cors = cors
        self.server.refused = self._refused
        self._dated = self.server.dated
        self._streams: set[Asking] = set()
        self.endings = Endings(clock, gate, self._lasting)

    async def drain(self, timeout: float = 20.0) -> None:
        """Let requests in flight be answered, then close all connections."""
        await self.server.drain(timeout)
        self.endings.stop()

    def _lasting(self) -> Iterator[Lasting]:
        """The streams that are being answered."""
        for asking in self._streams:
            request = asking.request
            if request.target is not None:
                names, core = (request.target.service, request.target.endpoint), request.core is not None
                yield Lasting(request.account, request.namespace, *names, core, asking.end)

    def figures(self) -> Iterator[Figure]:
        """What was asked, and what is being asked."""
        server = self.server
        yield from self.tally.figures()
        yield gauge("microd_connections", "Clients that are connected.", server.connections, door="api")
        flying = server.in_flight
        yield gauge("microd_requests_in_flight", "Requests that are being answered.", flying, door="api")

    def _ask(self, request: Request) -> None:
        request.began = self._seconds()
        try:
            self._route(request)
        except MicroError as error:
            request.answer(error_reply(request, error, self._dated))
            self._ended(request, error.code, error.detail)
        except Exception as error:  # noqa: BLE001 - the edge: a defect is this request's only
            defect = Internal(f"{type(error).__name__}: {error}")
            request.answer(error_reply(request, defect, self._dated))
            self._ended(request, defect.code, defect.detail, Failure(error))

    def _refused(self, request: Request) -> None:
        """A request could not be read."""
        error = request.refusal
        if error is not None:
            request.began = self._seconds()
            self._ended(request, error.code, error.detail)

    def _ended(self, request: Request, code: int, text: str = "", defect: Failure | None = None) -> None:
        """A request has its answer: count it, and log it if it is worth that."""
        tally, row = self.tally, request.row
        if not 200 <= code <= 599:
            # A service may call its errors what it likes; here they are answered with 500.
            code = 500
        if row is None:
            row = tally.nobody if request.target is None else tally.known(request.target.service)
        # Services choose their codes, and each one counted is kept: those that nobody knows count as the class they are of.
        took = tally.count(row, code if code in _KNOWN else code // 100 * 100, request.began)
        if request.core is not None:
            _note(request.core, request, code, text, took)
        if code < 500 and not tally.every:
            return
        ours = code >= 500 and code not in SAID_ELSEWHERE
        if ours or tally.every:
            trace = request.trace.decode()
            level = LogLevel.warn if ours else LogLevel.info
            target = request.target
            path = request.url.partition(b"?")[0].decode("latin-1")
            service, endpoint = ("", path) if target is None else (target.service, target.endpoint)
            account, namespace = request.account, request.namespace
            ended = Ended(trace, service, endpoint, account, namespace, str(code), took, text)
            tally.say(ended, level, defect)

    def _route(self, request: Request) -> None:
        method = request.method
        path, _, query = request.url.partition(b"?")
        target = self._paths.known(path)
        if target is not None and method in _METHODS:
            self._call(request, target, query)
        else:
            self._route_slowly(request)

    def _route_slowly(self, request: Request) -> None:
        method = request.method
        if method == b"OPTIONS":
            request.answer(reply(request, 200, b"", self._dated, b""))
            return
        path, _, query = _origin_form(request.url).partition(b"?")
        if path == b"/":
            request.answer(reply(request, 200, self._about, self._dated, TEXT))
        elif path == b"/favicon.ico":
            request.answer(reply(request, 200, b"", self._dated, b""))
        elif (b"//" in path or b"." in path or b"%" in path) and (
            clean := cleaned(decoded(path))
        ) is not None:
            place = clean.encode() + (b"?" + query if query else b"")
            moved = b"Location: %b\r\n" % place
            request.answer(reply(request, 301, b"", self._dated, b"", moved))
        elif method not in _METHODS:
            raise MicroError("this method means nothing here", code=405)
        else:
            self._call(request, self._paths.resolve(path), query)

    def _call(self, request: Request, target: Target, query: bytes) -> None:
        request.target = target
        head = request.head
        notes: Notes = head.notes
        if notes is None:
            notes = head.notes = Notes(head, self._limits.call)
        if notes.refusal is not None:
            raise notes.refusal
        core = self._core.get(target.service)
        if core is not None:
            self._call_core(request, notes, target, core, query)
            return
        headers = notes.headers
        account, namespace = self._gate.check(headers, target.service, target.endpoint)
        nodes = self._router.nodes(namespace, target.service)
        if not nodes:
            raise NotFound("service not found")
        request.row = self.tally.row(target.service)
        request.account, request.namespace = account, namespace
        known = self._endpoint(namespace, target)
        shape, streaming = (None, False) if known is None else known
        body = _body(request, query, notes.kind, shape)
        travel = headers.metadata(namespace, request.method, request.url, request.connection.peer)
        metadata: MetadataLike = travel
        if request.trace and request.more:
            metadata = [*travel, *request.more]
        asking = AskNode(
            request, target, notes.kind, self._dated, notes.timeout, notes.asked_for, self._ended
        )
        asking.ask(nodes, self._wires, body, metadata, self._streams if streaming else None)

    def _call_core(
        self,
        request: Request,
        notes: Notes,
        target: Target,
        core: dict[str, tuple[Endpoint, Described]],
        query: bytes,
    ) -> None:
        request.row = self.tally.row(target.service)
        found = core.get(target.endpoint)
        if found is None:
            raise NotFound(f"{target.service} has no endpoint {target.endpoint}")
        endpoint, entry = found
        connection = request.connection
        caller = self._gate.admit(
            notes.headers, connection.peer, target.service, target.endpoint, connection.on_lost, core=True
        )
        request.account, request.namespace = caller.account, caller.namespace
        request.core = endpoint
        body = _body(request, query, notes.kind, entry.request)
        asking = AskCore(
            request, target, notes.kind, self._dated, notes.timeout, notes.asked_for, self._ended
        )
        asking.ask(endpoint, caller, body, self._clock, self._streams)

    def _endpoint(self, namespace: str, target: Target) -> _Known | None:
        """What the registry says of an endpoint."""
        endpoints = self._catalogue.endpoints_of(namespace, target.service)
        key = (namespace, target.service)
        known = self._described.get(key)
        if known is None or known[0] is not endpoints:
            if len(self._described) >= 4096:
                self._described.clear()
            streams = {each.name: each.metadata.get("stream") == "true" for each in endpoints}
            known = endpoints, {each.name: (each.request, streams[each.name]) for each in endpoints}
            self._described[key] = known
        return known[1].get(target.endpoint)


def _note(endpoint: Endpoint, request: Request, code: int, text: str, took: float) -> None:
    """Have a core service take note of a call that it has answered; a stream that its reader left is no failure."""
    activity = endpoint.activity
    if activity is None:
        return
    failed = code >= 400 and not (code == 499 and endpoint.server_streaming)
    name = "" if endpoint.name.startswith(UNTRACED) else endpoint.id
    # The tail is there once somebody has asked for the trace.
    where = (request.trace and request.tail) or dict(request.more)
    activity.answered(name, request.began, took, (text or str(code)) if failed else "", where)


def _kind(head: Head) -> Kind:
    encoding = head.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise UnsupportedMediaType("bodies are read as they are: send without a Content-Encoding")
    return kind_of(head.get(b"content-type"))


def _timeout(headers: Headers, longest: float) -> tuple[float, bool]:
    """Seconds for the call, and whether the client wanted it so: C{timeout} or C{grpc-timeout} (spec 2.4)."""
    asked: float | None = None
    if (given := headers.get("grpc-timeout")) is not None:
        try:
            asked = parse_grpc(given.encode("latin-1"))
        except ValueError:
            raise BadRequest("grpc-timeout is no time") from None
    elif (given := headers.get("timeout")) is not None:
        asked = parse_nanoseconds(given.encode("latin-1"))
    if asked is None or asked <= 0 or asked >= longest:
        return longest, False
    return asked, True


def _body(request: Request, query: bytes, kind: Kind, shape: Value | None) -> bytes:
    if kind is Kind.PROTO:
        return request.body
    return json_of(request.method, query, request.body, kind, shape)


def _origin_form(url: bytes) -> bytes:
    """Path and query, of a target that may also be absolute."""
    if url[:1] == b"/":
        return url
    _, scheme, rest = url.partition(b"://")
    if not scheme:
        raise BadRequest("the request's target is no path")
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"
