"""Rules: who may make, see and delete them, and what is no rule."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Forbidden, MicroError, Unauthorized
from microd.services.auth.model import Resource
from microd.services.auth.rulebook import Rulebook
from microd.services.auth.verdicts import MOST_RULES
from microd.wire import auth_pb2 as wire

CREATE, DELETE, LIST = (f"/auth.Rules/{name}" for name in ("Create", "Delete", "List"))
FOO = wire.Options(namespace="foo")
ADMIN = Account("boss", "user", "foo", "boss", ("admin",))
USER = Account("ada", "user", "foo", "ada")
STRANGER = Account("boss", "user", "bar", "boss", ("admin",))
GREETER = Resource("service", "greeter", "Greeter.Hello")


def rule(id: str = "rule", scope: str = "", access: Any = wire.DENIED, **more: Any) -> wire.Rule:
    """A rule about the greeter."""
    parts = {"type": "service", "name": "greeter", "endpoint": "*", **more}
    priority = parts.pop("priority", 0)
    return wire.Rule(id=id, scope=scope, resource=wire.Resource(**parts), access=access, priority=priority)


def create(scene: Any, made: wire.Rule | None, by: Account | None = ADMIN) -> None:
    """Make a rule."""
    scene.call(CREATE, wire.CreateRequest(rule=made, options=FOO), by)


def delete(scene: Any, id: str, by: Account | None = ADMIN) -> None:
    """Delete a rule."""
    scene.call(DELETE, wire.DeleteRequest(id=id, options=FOO), by)


def ids(scene: Any, namespace: str = "foo") -> list[str]:
    """The rules that are listed."""
    request = wire.ListRequest(options=wire.Options(namespace=namespace))
    account = Account("ada", "user", namespace, "ada")
    return [each.id for each in scene.call(LIST, request, account).rules]


def may(scene: Any, by: Account | None = USER, namespace: str = "foo") -> bool:
    """Whether somebody may call the greeter."""
    try:
        scene.auth.authorize(by, namespace, GREETER)
    except MicroError:
        return False
    return True


def test_kept(scene: Any) -> None:
    """A rule is listed as it was made, to every member, and after a restart too."""
    made = rule(scope="x", priority=-5)
    create(scene, made)
    for _ in range(2):
        found = scene.call(LIST, wire.ListRequest(options=FOO), USER).rules
        assert list(found) == [
            wire.Rule(
                id="default",
                resource=wire.Resource(type="*", name="*", endpoint="*"),
                access=wire.GRANTED,
            ),
            made,
        ]
        scene.start()


def test_order(scene: Any) -> None:
    """Rules are listed in the order in which they are asked."""
    create(scene, rule("low", priority=-1))
    create(scene, rule("z", access=wire.GRANTED))
    create(scene, rule("high", priority=7))
    create(scene, rule("deny"))
    assert ids(scene) == ["high", "deny", "default", "z", "low"]


def test_holds_at_once(scene: Any) -> None:
    """A rule holds from its making until it is deleted, in its own namespace; what was let in before is asked again."""
    assert may(scene)
    lasts = scene.auth.lasting(None)
    create(scene, rule())
    assert not lasts()
    assert (may(scene), may(scene, None), may(scene, USER, "micro")) == (False, False, True)
    lasts = scene.auth.lasting(None)
    delete(scene, "rule")
    assert not lasts()
    assert may(scene)


def test_changes_are_told(scene: Any) -> None:
    """Who minds is told of each change of a namespace's rules, once it holds; and of no other."""
    told: list[tuple[str, bool]] = []

    def tell(namespace: str) -> None:
        verdict = scene.auth._rulebook.verdict(None, "foo", GREETER)
        told.append((namespace, verdict.granted))

    scene.auth.on_ruled(tell)
    create(scene, rule())
    with pytest.raises(BadRequest):
        create(scene, rule())
    delete(scene, "rule")
    assert told == [("foo", False), ("foo", True)]


def test_holds_after_restart(scene: Any) -> None:
    """A rule outlives the daemon."""
    create(scene, rule())
    scene.start()
    assert not may(scene)


def test_closing(scene: Any) -> None:
    """One command closes a namespace's services: without the rule that it began with, nobody may call them."""
    delete(scene, "default")
    for _ in range(2):
        assert ids(scene) == []
        assert [may(scene, each) for each in (None, USER, ADMIN, STRANGER)] == [False] * 4
        scene.start()
    assert (ids(scene, "bar"), may(scene, None, "bar")) == (["default"], True)


def test_reopening(scene: Any) -> None:
    """One command opens it again: to the namespace's accounts, or to everybody."""
    delete(scene, "default")
    create(scene, rule("members", "*", wire.GRANTED, type="*", name="*"))
    assert (may(scene), may(scene, None)) == (True, False)
    create(scene, rule("default", "", wire.GRANTED, type="*", name="*"))
    assert may(scene, None)


def test_everywhere(scene: Any) -> None:
    """Who asks for a service in all namespaces is judged by the platform's rules."""
    assert may(scene, scene.admin, "*")
    request = wire.CreateRequest(rule=rule())
    scene.call(CREATE, request, scene.admin)
    assert not may(scene, scene.admin, "*")


@pytest.mark.parametrize(
    ("made", "detail"),
    [
        (None, "Rule missing"),
        (wire.Rule(), "ID missing"),
        (rule(""), "ID missing"),
        (wire.Rule(id="x", access=wire.GRANTED), "Resource missing"),
        (rule(access=wire.UNKNOWN), "Access missing"),
        (rule(access=7), "the rule's access must be GRANTED or DENIED, not 7"),
        (rule("default"), "A rule with this ID already exists"),
        (rule("a\nb"), "the rule's id has control characters in it"),
        (rule("a" * 129), "the rule's id is longer than 128 bytes"),
        (rule(scope="s" * 129), "the rule's scope is longer than 128 bytes"),
        (rule(scope="\0"), "the rule's scope has control characters in it"),
        (rule(type=""), "the resource's type is missing"),
        (rule(name=""), "the resource's name is missing"),
        (rule(endpoint=""), "the resource's endpoint is missing"),
        (rule(endpoint="e" * 513), "the resource's endpoint is longer than 512 bytes"),
        (rule(name="n" * 10_000_000), "the resource's name is longer than 512 bytes"),
        (rule(name="greet*"), "the resource's name must be * for any, or have no * in it"),
        (rule(type="serv*"), "the resource's type must be * for any, or have no * in it"),
        (
            rule(endpoint="Greeter.*"),
            "the resource's endpoint must be * for any, a path that ends in /*, or have no * in it",
        ),
    ],
)
def test_no_rule(scene: Any, made: wire.Rule | None, detail: str) -> None:
    """What can be no rule, or could never match, is refused, and changes nothing."""
    kept = scene.now(scene.vault.under(""))
    lasts = scene.auth.lasting(None)
    with pytest.raises(BadRequest) as caught:
        create(scene, made)
    assert caught.value.detail == detail
    assert scene.now(scene.vault.under("")) == kept
    assert lasts()


@pytest.mark.parametrize(
    ("id", "detail"), [("", "ID missing"), ("rule", "Rule not found"), ("../default", "Rule not found")]
)
def test_nothing_to_delete(scene: Any, id: str, detail: str) -> None:
    """A rule which is not there cannot be deleted."""
    with pytest.raises(BadRequest, match=detail):
        delete(scene, id)
    assert ids(scene) == ["default"]


@pytest.mark.parametrize("namespace", ["*", "a/b", "..", "é", "n" * 200])
def test_no_namespace(scene: Any, namespace: str) -> None:
    """What can be no namespace gets no rules."""
    request = wire.CreateRequest(rule=rule(), options=wire.Options(namespace=namespace))
    with pytest.raises(BadRequest, match="the namespace"):
        scene.call(CREATE, request, scene.admin)


def test_bounded(scene: Any) -> None:
    """A namespace cannot have any number of rules; others are not touched by that."""
    for number in range(MOST_RULES - 1):
        create(scene, rule(f"r{number}"))
    with pytest.raises(BadRequest, match="the namespace has 500 rules"):
        create(scene, rule("more"))
    delete(scene, "r7")
    create(scene, rule("more"))
    scene.call(CREATE, wire.CreateRequest(rule=rule()), scene.admin)


@pytest.mark.parametrize(("by", "error"), [(None, Unauthorized), (USER, Forbidden), (STRANGER, Forbidden)])
def test_admins_only(scene: Any, by: Account | None, error: type[MicroError]) -> None:
    """Only who administers a namespace, or the platform, makes and deletes its rules."""
    with pytest.raises(error):
        create(scene, rule(), by)
    with pytest.raises(error):
        delete(scene, "default", by)
    create(scene, rule(), scene.admin)


@pytest.mark.parametrize(("by", "error"), [(None, Unauthorized), (STRANGER, Forbidden)])
def test_members_only(scene: Any, by: Account | None, error: type[MicroError]) -> None:
    """A namespace's rules are listed for its own accounts."""
    with pytest.raises(error):
        scene.call(LIST, wire.ListRequest(options=FOO), by)


def test_decided_once(scene: Any) -> None:
    """What was decided for somebody is not decided again until a rule changes; the memory of it is bounded."""
    book: Rulebook = scene.auth._rulebook
    first = book.verdict(USER, "foo", GREETER)
    assert book.verdict(Account("bob", "user", "foo", "bob"), "foo", GREETER) is first
    for number in range(20_000):
        book.verdict(USER, "foo", Resource("service", f"s{number}", "A.B"))
    assert len(book._verdicts) <= 8192
    create(scene, rule())
    assert len(book._verdicts) == 0
    assert not book.verdict(USER, "foo", GREETER).granted
