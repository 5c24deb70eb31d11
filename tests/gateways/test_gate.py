"""Who gets in, as whom, and where they may go."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.kernel.errors import Forbidden, MicroError, Unauthorized
from microd.services.auth.model import Resource
from microd.txgrpc.metadata import Metadata

ROOT = Account("root", "user", "micro", "root", ("admin",))
USER = Account("ada", "user", "micro", "ada")
FOO = Account("bob", "user", "foo", "bob", ("admin",))


class Known:
    """An auth which knows three tokens, and forbids what it is told to."""

    def __init__(self) -> None:
        self.tokens = {"root-token": ROOT, "user-token": USER, "foo-token": FOO}
        self.asked: list[tuple[Account | None, str, Resource]] = []
        self.refusal: MicroError | None = None

    def inspect_cached(self, token: str) -> Account | None:
        """Whose it is."""
        return self.tokens.get(token)

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """Nothing lasts."""
        return lambda: False

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they?"""
        self.asked.append((account, namespace, resource))
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
def auth() -> Known:
    """An auth."""
    return Known()


def basic(text: str) -> str:
    """A Basic header."""
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Bearer root-token",
        "bearer  root-token",
        basic("x:root-token"),
        basic(":root-token").replace("Basic", "BASIC"),
    ],
)
def test_account(auth: Known, header: str) -> None:
    """A token is taken from Bearer, and from Basic's password."""
    assert Gate(auth).check({"authorization": header}, "s", "E.M") == (ROOT, "micro")


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "", None, basic("x:nonsense")])
def test_anonymous(auth: Known, header: str | None) -> None:
    """Who shows no token, or one that is no good, is nobody; what needs an account says so itself."""
    headers = {} if header is None else {"authorization": header}
    assert Gate(auth).check(headers, "s", "E.M") == (None, "micro")


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        ("Digest x", "invalid authorization header. expected Bearer schema"),
        ("root-token", "invalid authorization header. expected Bearer schema"),
        ("Basic !!", "invalid authorization header. Incorrect format"),
        (basic("no colon"), "invalid authorization header. Incorrect format"),
        ("Basic /w==", "invalid authorization header. Incorrect format"),
    ],
)
def test_bad_header(auth: Known, header: str, detail: str) -> None:
    """A header which cannot be read is refused in the name of the service that was called."""
    with pytest.raises(Unauthorized) as caught:
        Gate(auth).check({"authorization": header}, "greeter", "E.M")
    assert (caught.value.detail, caught.value.id) == (detail, "greeter")


@pytest.mark.parametrize(
    ("token", "asked", "found"),
    [
        ("", "", "micro"),
        ("", "micro", "micro"),
        ("", "foo", Unauthorized),
        ("", "*", Unauthorized),
        ("user-token", "", "micro"),
        ("user-token", "foo", Forbidden),
        ("user-token", "*", Forbidden),
        ("foo-token", "", "foo"),
        ("foo-token", "foo", "foo"),
        ("foo-token", "micro", "micro"),
        ("foo-token", "bar", Forbidden),
        ("foo-token", "*", Forbidden),
        ("root-token", "foo", "foo"),
        ("root-token", "*", "*"),
    ],
)
def test_namespace(auth: Known, token: str, asked: str, found: str | type[MicroError]) -> None:
    """A namespace is believed of its members and of the platform's admins; everybody may call the platform's."""
    headers = {"authorization": f"Bearer {token}", "micro-namespace": asked}
    if isinstance(found, str):
        assert Gate(auth).check(headers, "s", "E.M")[1] == found
    else:
        with pytest.raises(found):
            Gate(auth).check(headers, "s", "E.M")


def test_services_door(auth: Known) -> None:
    """Where services come in, somebody anonymous may name a namespace, as Go services do; not all of them."""
    gate = Gate(auth, services_door=True)
    assert gate.check({"micro-namespace": "foo"}, "s", "E.M") == (None, "foo")
    with pytest.raises(Unauthorized):
        gate.check({"micro-namespace": "*"}, "s", "E.M")
    with pytest.raises(Forbidden):
        gate.check({"authorization": "Bearer user-token", "micro-namespace": "foo"}, "s", "E.M")


def test_core(auth: Known) -> None:
    """Somebody anonymous reaches the platform's services from any namespace, and is a stranger to it there."""
    caller = Gate(auth).admit({"micro-namespace": "foo"}, "p", "auth", "Auth.Token", core=True)
    assert (caller.account, caller.namespace) == (None, "micro")


def test_may_they(auth: Known) -> None:
    """Every call is put to auth, with the resource it wants; its refusal is in the service's name."""
    gate = Gate(auth)
    gate.check({"authorization": "Bearer foo-token"}, "greeter", "Greeter.Hello")
    assert auth.asked == [(FOO, "foo", Resource("service", "greeter", "Greeter.Hello"))]
    auth.refusal = Forbidden("no")
    with pytest.raises(Forbidden) as caught:
        gate.check({}, "greeter", "Greeter.Hello")
    assert caught.value.id == "greeter"


def test_caller(auth: Known) -> None:
    """A caller carries the text headers, the first of each name, the peer, and a way to learn of its end."""
    told: list[object] = []
    headers = Metadata([("authorization", "Bearer root-token"), ("a", "1"), ("a", "2"), ("b-bin", b"\0")])
    caller = Gate(auth).admit(headers, "127.0.0.1:9", "s", "E.M", told.append)
    assert (caller.account, caller.peer) == (ROOT, "127.0.0.1:9")
    assert dict(caller.metadata) == {"authorization": "Bearer root-token", "a": "1"}
    assert (caller.metadata["a"], len(caller.metadata)) == ("1", 2)
    caller.on_disconnect(print)
    assert told == [print]


def test_plain_headers(auth: Known) -> None:
    """Headers may be a plain mapping."""
    caller = Gate(auth).admit({"x": "y"}, "p", "s", "E.M")
    assert dict(caller.metadata) == {"x": "y"}
    caller.on_disconnect(print)
