"""Who gets in, as whom, and where they may go."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from microd.gateways.gate import Gate, Neighbours
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


SERVICE = Account("greeter", "service", "foo", "greeter", ("service",))
HERE, THERE = "10.0.0.1:4711", "10.0.0.2:4711"


def come(gate: Gate, peer: str, namespace: str, token: str = "") -> str:
    """Where a call goes."""
    headers = {"micro-namespace": namespace}
    if token:
        headers["authorization"] = f"Bearer {token}"
    return gate.check(headers, "s", "E.M", peer=peer)[1]


@pytest.fixture
def services(auth: Known) -> Gate:
    """Where services come in; one of the namespace foo has shown its token at HERE."""
    auth.tokens["service-token"] = SERVICE
    gate = Gate(auth, services_door=True)
    assert come(gate, HERE, "foo", "service-token") == "foo"
    return gate


def test_neighbour(services: Gate) -> None:
    """Where services come in, calls without a token go to the namespace of a service on the same host, as Go services'."""
    assert services.check({"micro-namespace": "foo"}, "s", "E.M", peer="10.0.0.1:9") == (None, "foo")


@pytest.mark.parametrize(
    ("peer", "namespace"), [(THERE, "foo"), (HERE, "bar"), (HERE, "*"), ("", "foo"), ("unix", "foo")]
)
def test_no_neighbour(services: Gate, peer: str, namespace: str) -> None:
    """They do not from other hosts, nor to other namespaces, let alone to all of them."""
    with pytest.raises(Unauthorized, match="an account is required"):
        come(services, peer, namespace)


def test_neighbour_at_another_door(auth: Known) -> None:
    """Where clients come in, a namespace is not believed of anybody without a token."""
    gate = Gate(auth)
    auth.tokens["service-token"] = SERVICE
    come(gate, HERE, "foo", "service-token")
    with pytest.raises(Unauthorized):
        come(gate, HERE, "foo")


def test_neighbour_with_a_token(services: Gate) -> None:
    """Who shows a token of another namespace is not believed, wherever they are."""
    with pytest.raises(Forbidden):
        come(services, HERE, "foo", "user-token")


def test_people_are_no_neighbours(auth: Known) -> None:
    """A person's token makes no host a namespace's."""
    gate = Gate(auth, services_door=True)
    come(gate, HERE, "foo", "foo-token")
    with pytest.raises(Unauthorized):
        come(gate, HERE, "foo")


def test_neighbour_has_gone(services: Gate, auth: Known) -> None:
    """A host is a namespace's as long as a token that was shown from there is good."""
    auth.tokens["other-token"] = SERVICE
    come(services, HERE, "foo", "other-token")
    del auth.tokens["other-token"]
    assert come(services, HERE, "foo") == "foo"
    del auth.tokens["service-token"]
    with pytest.raises(Unauthorized):
        come(services, HERE, "foo")
    auth.tokens["service-token"] = SERVICE
    with pytest.raises(Unauthorized):
        come(services, HERE, "foo")


def test_neighbours_are_bounded(services: Gate, auth: Known) -> None:
    """Hosts from which tokens were shown are not remembered without end."""
    for number in range(Neighbours.most):
        come(services, f"192.0.2.1{number}:1", "foo", "service-token")
    with pytest.raises(Unauthorized):
        come(services, HERE, "foo")


def test_neighbour_at_a_socket(auth: Known) -> None:
    """Who comes by a socket in the file system is on the host of others who do."""
    auth.tokens["service-token"] = SERVICE
    gate = Gate(auth, services_door=True)
    come(gate, "unix", "foo", "service-token")
    assert come(gate, "unix", "foo") == "foo"


class Steady(Known):
    """An auth whose word lasts until something changes."""

    changes = 0

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """Until something changes."""
        changes = self.changes
        return lambda: self.changes == changes


def test_remembered() -> None:
    """Who was let in is let in again without auth being asked, until what it said holds no more."""
    auth = Steady()
    gate = Gate(auth)
    headers = {"authorization": "Bearer foo-token", "micro-namespace": "foo"}
    for _ in range(3):
        assert gate.check(headers, "s", "E.M") == (FOO, "foo")
    assert len(auth.asked) == 1
    auth.changes += 1
    auth.refusal = Forbidden("no")
    for _ in range(2):
        with pytest.raises(Forbidden):
            gate.check(headers, "s", "E.M")


@pytest.mark.parametrize(
    "other",
    [
        ({}, "s", "E.M", False),
        ({"authorization": "Bearer root-token"}, "s", "E.M", False),
        ({"authorization": "Bearer foo-token", "micro-namespace": "micro"}, "s", "E.M", False),
        ({"authorization": "Bearer foo-token"}, "t", "E.M", False),
        ({"authorization": "Bearer foo-token"}, "s", "E.N", False),
        ({"authorization": "Bearer foo-token"}, "s", "E.M", True),
    ],
)
def test_not_taken_for_another(other: tuple[dict[str, str], str, str, bool]) -> None:
    """A call of another token, namespace, service or endpoint is another call."""
    auth = Steady()
    gate = Gate(auth)
    gate.check({"authorization": "Bearer foo-token"}, "s", "E.M")
    headers, service, endpoint, core = other
    gate.check(headers, service, endpoint, core=core)
    assert len(auth.asked) == 2


def test_memory_is_bounded() -> None:
    """What strangers ask for fills no memory."""
    auth = Steady()
    gate = Gate(auth)
    for number in range(10_000):
        gate.check({}, f"s{number}", "E.M")
        gate.check({"authorization": "Bearer " + "x" * 3000}, f"s{number}", "E.M")
    assert len(gate._admissions) <= Gate.most
    assert all(len(str(call)) < Gate.longest for call in gate._admissions)


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
