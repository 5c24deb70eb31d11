"""The gate of every door: who asks? may they? where does the call go?

::

    authorization ──▶ whose access token?  none, or no good: nobody's ─┐
    micro-namespace ──▶ may they go there? ◀───────────────────────────┘
    service, endpoint ──▶ may they?  auth.authorize

A header is somebody's word. The token is checked, and the namespace is believed only of who belongs there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Protocol

from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.errors import Forbidden, MicroError, Unauthorized
from microd.services.auth.interface import Inspector
from microd.services.auth.model import Resource

#: Asks for a service in whatever namespace it is.
EVERYWHERE = "*"


class Headers(Protocol):
    """A request's headers, names in lower case: a mapping, or gRPC metadata."""

    def get(self, name: str, /) -> object:
        """The first value under C{name}; None where there is none."""

    def __iter__(self) -> Iterator[object]:
        """The names, or pairs of name and value."""


class Gate:
    """Lets calls in, as callers whose account and namespace can be relied on.

    @param auth: knows tokens and rules.
    @param services_door: the door is the one for services. Those of the reference name their namespace and show no
        token when they call each other, so somebody anonymous may name any one namespace here.
    """

    def __init__(self, auth: Inspector, *, services_door: bool = False) -> None:
        self._auth = auth
        self._services_door = services_door

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
        account, namespace = self.check(headers, service, endpoint, core=core)
        texts = _Texts(headers)
        if on_disconnect is None:
            return Caller(account, namespace, texts, peer, connection=connection)
        return Caller(account, namespace, texts, peer, on_disconnect, connection)

    def lasting(self, headers: Headers) -> Callable[[], bool]:
        """Whether it may be remembered how a call with these headers was just let in; ask before each use."""
        return self._auth.lasting(_token_of(headers.get("authorization")))

    def check(
        self, headers: Headers, service: str, endpoint: str, *, core: bool = False
    ) -> tuple[Account | None, str]:
        """Who calls, and where the call goes; as L{admit}, for who needs no caller."""
        try:
            account = self._account(headers.get("authorization"))
            namespace = self._namespace(account, headers.get("micro-namespace"), core)
            # The names of core endpoints are few; those that strangers ask for are not worth remembering.
            resource = _core_resource(service, endpoint) if core else Resource("service", service, endpoint)
            self._auth.authorize(account, DEFAULT_NAMESPACE if core else namespace, resource)
        except MicroError as error:
            raise error.identified(service) from None
        return account, namespace

    def _account(self, authorization: object) -> Account | None:
        token = _token_of(authorization)
        return None if token is None else self._auth.inspect_cached(token)

    def _namespace(self, account: Account | None, asked: object, core: bool) -> str:
        own = DEFAULT_NAMESPACE if account is None else account.issuer
        if not asked or asked == own:
            return own
        if asked == DEFAULT_NAMESPACE or not isinstance(asked, str):
            return DEFAULT_NAMESPACE
        if account is None:
            if self._services_door and asked != EVERYWHERE:
                return asked
            if core:
                # It goes to the platform all the same, and there nobody is somebody.
                return DEFAULT_NAMESPACE
            raise Unauthorized("an account is required")
        if own == DEFAULT_NAMESPACE and account.is_admin:
            return asked
        raise Forbidden("access denied to namespace")


@lru_cache(maxsize=4096)
def _core_resource(service: str, endpoint: str) -> Resource:
    return Resource("service", service, endpoint, core=True)


def _token_of(authorization: object) -> str | None:
    if not authorization or not isinstance(authorization, str):
        return None
    return authorization[7:] if authorization[:7] == "Bearer " else _token_in(authorization)


def _token_in(authorization: str) -> str:
    """The token in an C{Authorization} which does not begin as most do."""
    scheme, _, rest = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            try:
                _, colon, token = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                colon = ""
            if colon:
                return token
            raise Unauthorized("invalid authorization header. Incorrect format")
    raise Unauthorized("invalid authorization header. expected Bearer schema")


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
