"""The gate of every door: who asks? may they? where does the call go?

::

    authorization ──▶ whose access token?  none, or no good: nobody's ─┐
    micro-namespace ──▶ may they go there? ◀───────────────────────────┘
    service, endpoint ──▶ may they?  auth.authorize

A header is somebody's word. The token is checked, and the namespace is believed only of who belongs there: of its own
accounts, of the platform's admins, and where services come in, of L{Neighbours}.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Protocol

from microd.kernel.authorization import token_of
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.errors import Forbidden, MicroError, Unauthorized
from microd.services.auth.interface import Inspector
from microd.services.auth.model import Resource


class Headers(Protocol):
    """A request's headers, names in lower case: a mapping, or gRPC metadata."""

    def get(self, name: str, /) -> object:
        """The first value under C{name}; None where there is none."""

    def __iter__(self) -> Iterator[object]:
        """The names, or pairs of name and value."""


#: How somebody was let in, and whether they still are.
_Admission = tuple[Account | None, str, Callable[[], bool]]


class Gate:
    """Lets calls in, as callers whose account and namespace can be relied on.

    Who was let in is remembered as long as what auth said holds: a call like one before costs under a microsecond.

    @param auth: knows tokens and rules.
    @param services_door: the door is the one for services. Those of the reference name their namespace and show no
        token when they call each other (spec 2.4), so here that is believed of a L{Neighbours}' host.
    """

    #: Admissions which are remembered, and characters that one may take.
    most, longest = 4096, 2048

    def __init__(self, auth: Inspector, *, services_door: bool = False) -> None:
        self._auth = auth
        self._neighbours = Neighbours(auth) if services_door else None
        self._admissions: dict[tuple[object, ...], _Admission] = {}

    def admit(
        self,
        headers: Headers,
        peer: str,
        service: str,
        endpoint: str,
        on_disconnect: Callable[[Callable[[], None]], object] | None = None,
        *,
        core: bool = False,
        connection: Hashable | None = None,
    ) -> Caller:
        """Let a call in. Waits for nothing.

        @param endpoint: C{Struct.Method}.
        @param core: the service is the platform's own; it is found whatever the namespace.
        @param connection: stands for the connection that the call came on.
        @raise Unauthorized: an account is needed, or C{authorization} cannot be read.
        @raise Forbidden: this account may not.
        """
        account, namespace = self.check(headers, service, endpoint, core=core, peer=peer)
        texts = _Texts(headers)
        if on_disconnect is None:
            return Caller(account, namespace, texts, peer, connection=connection)
        return Caller(account, namespace, texts, peer, on_disconnect, connection)

    def lasting(self, headers: Headers) -> Callable[[], bool]:
        """Whether it may be remembered how a call with these headers was just let in; ask before each use."""
        return self._auth.lasting(token_of(headers.get("authorization")))

    def check(
        self, headers: Headers, service: str, endpoint: str, *, core: bool = False, peer: str = ""
    ) -> tuple[Account | None, str]:
        """Who calls, and where the call goes; as L{admit}, for who needs no caller."""
        authorization, asked = headers.get("authorization"), headers.get("micro-namespace")
        call = (authorization, asked, service, endpoint, core)
        known = self._admissions.get(call)
        if known is not None and known[2]():
            return known[0], known[1]
        try:
            token = token_of(authorization)
            account = None if token is None else self._auth.inspect_cached(token)
            lasts = self._auth.lasting(token)
            if account is None and self._is_neighbour(peer, asked):
                # This holds for one host, and only for a while.
                namespace, lasts = str(asked), _once
            else:
                namespace = self._namespace(account, asked, core)
            self._authorize(account, namespace, service, endpoint, core)
        except MicroError as error:
            raise error.identified(service) from None
        if self._neighbours is not None and account is not None and token is not None:
            self._neighbours.met(peer, account, token)
        self._remember(call, (account, namespace, lasts))
        return account, namespace

    def allow(
        self, account: Account | None, namespace: str, service: str, endpoint: str, *, core: bool
    ) -> None:
        """May they whom C{check} has let in still? That their token has ended since does not matter.

        @raise Unauthorized: not without an account.
        @raise Forbidden: not with this one.
        """
        try:
            self._authorize(account, namespace, service, endpoint, core)
        except MicroError as error:
            raise error.identified(service) from None

    def _authorize(
        self, account: Account | None, namespace: str, service: str, endpoint: str, core: bool
    ) -> None:
        # The names of core endpoints are few; those that strangers ask for are not worth remembering.
        resource = _core_resource(service, endpoint) if core else Resource("service", service, endpoint)
        self._auth.authorize(account, DEFAULT_NAMESPACE if core else namespace, resource)

    def _remember(self, call: tuple[object, ...], admission: _Admission) -> None:
        size = sum([len(part) for part in call if type(part) is str])
        if size <= self.longest and admission[2]():
            if len(self._admissions) >= self.most:
                self._admissions.clear()
            self._admissions[call] = admission

    def _is_neighbour(self, peer: str, asked: object) -> bool:
        return (
            self._neighbours is not None
            and isinstance(asked, str)
            and asked not in ("", DEFAULT_NAMESPACE)
            and self._neighbours.include(peer, asked)
        )

    def _namespace(self, account: Account | None, asked: object, core: bool) -> str:
        own = DEFAULT_NAMESPACE if account is None else account.issuer
        if not asked or asked == own:
            return own
        if asked == DEFAULT_NAMESPACE or not isinstance(asked, str):
            return DEFAULT_NAMESPACE
        if account is None:
            if core:
                # It goes to the platform all the same, and there nobody is somebody.
                return DEFAULT_NAMESPACE
            raise Unauthorized("an account is required")
        if own == DEFAULT_NAMESPACE and account.is_admin:
            return asked
        raise Forbidden("access denied to namespace")


class Neighbours:
    """Hosts where a namespace's services are, because one has shown its token from there.

    A service shows its token when it registers. As long as that is good, calls from the same host are believed that
    they come from the namespace, though they show none; they are still nobody's, so that only what is open to everybody
    is open to them. On a host where services of several namespaces run, they can pass for each other in this; whoever
    minds closes the namespace to strangers (`micro auth delete rule default`), and lets services show their tokens.
    """

    #: Hosts and namespaces which are remembered, and tokens of each.
    most, most_tokens = 1024, 4

    def __init__(self, auth: Inspector) -> None:
        self._auth = auth
        self._shown: dict[tuple[str, str], dict[str, None]] = {}

    def met(self, peer: str, account: Account, token: str) -> None:
        """Somebody has shown a good token."""
        if account.type != "service" or account.issuer == DEFAULT_NAMESPACE or len(token) > Gate.longest:
            return
        place = (_host(peer), account.issuer)
        tokens = self._shown.pop(place, {})
        tokens.pop(token, None)
        tokens[token] = None
        if len(tokens) > self.most_tokens:
            del tokens[next(iter(tokens))]
        if len(self._shown) >= self.most:
            del self._shown[next(iter(self._shown))]
        self._shown[place] = tokens

    def include(self, peer: str, namespace: str) -> bool:
        """Whether C{peer} is on such a host now."""
        place = (_host(peer), namespace)
        tokens = self._shown.get(place)
        if tokens is None:
            return False
        for token in reversed(list(tokens)):
            if self._auth.inspect_cached(token) is not None:
                return True
            del tokens[token]
        del self._shown[place]
        return False


def _host(peer: str) -> str:
    """The host of C{host:port}; what has no port is a socket in the file system."""
    return peer.rpartition(":")[0]


def _once() -> bool:
    return False


@lru_cache(maxsize=4096)
def _core_resource(service: str, endpoint: str) -> Resource:
    return Resource("service", service, endpoint, core=True)


class _Texts(Mapping[str, str]):
    """The text values of headers; made when somebody looks."""

    __slots__ = ("_given", "_made")

    def __init__(self, given: Headers) -> None:
        self._given = given
        self._made: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._made is None:
            given = self._given
            pairs: Iterable[object] = given.items() if isinstance(given, Mapping) else given
            made: dict[str, str] = {}
            for pair in pairs:
                match pair:
                    case (str(name), str(value)):
                        made.setdefault(name, value)
            self._made = made
        return self._made

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
