"""Which rule decides."""

from __future__ import annotations

from typing import Any

import pytest

from microd.kernel.caller import Account
from microd.kernel.errors import Forbidden, MicroError, Unauthorized
from microd.services.auth.model import DEFAULT_RULE, Resource, Rule
from microd.services.auth.verdicts import decide, in_order, refusal

GREETER = Resource("service", "greeter", "Greeter.Hello")
READ = Resource("service", "store", "Store.Read", core=True)
NOBODY = None
ADA = Account("ada", "user", "foo", "ada", ("reader",))
BOSS = Account("boss", "user", "foo", "boss", ("admin",))
STRANGER = Account("eve", "user", "bar", "eve", ("reader", "admin"))
ROOT = Account("admin", "user", "micro", "admin", ("admin",))
ROBOT = Account("robot", "service", "micro", "robot", ("service",))
GUEST = Account("guest", "user", "micro", "guest", ("reader",))


def grant(id: str = "grant", scope: str = "", priority: int = 0, resource: str = "*:*:*") -> Rule:
    """A rule that lets in."""
    return _rule(id, scope, priority, resource, granted=True)


def deny(id: str = "deny", scope: str = "", priority: int = 0, resource: str = "*:*:*") -> Rule:
    """A rule that keeps out."""
    return _rule(id, scope, priority, resource, granted=False)


def _rule(id: str, scope: str, priority: int, resource: str, *, granted: bool) -> Rule:
    type, name, endpoint = resource.split(":")
    return Rule(id, scope, Resource(type, name, endpoint), granted, priority)


def decided(*rules: Rule, by: Account | None = NOBODY, to: Resource = GREETER, namespace: str = "foo") -> str:
    """What decides: "+" or "-" and the rule's id."""
    verdict = decide(in_order(rules), by, namespace, to)
    return ("+" if verdict.granted else "-") + (verdict.rule.id if verdict.rule else "")


@pytest.mark.parametrize("who", [NOBODY, ADA, STRANGER, ROOT])
def test_default(who: Account | None) -> None:
    """By the rule that every namespace begins with, everybody may call a user's service."""
    assert decided(DEFAULT_RULE, by=who) == "+default"


@pytest.mark.parametrize("who", [NOBODY, ADA, BOSS, STRANGER, ROOT])
def test_no_rule(who: Account | None) -> None:
    """Where no rule applies, nobody may."""
    assert decided(by=who) == "-"


def test_priority() -> None:
    """The highest priority decides, whatever the others say."""
    assert decided(grant("a", priority=1), deny("b", priority=2)) == "-b"
    assert decided(grant("a", priority=3), deny("b", priority=2)) == "+a"
    assert decided(grant("a", priority=-1), deny("b", priority=-2)) == "+a"


@pytest.mark.parametrize("turned", [False, True])
def test_denied_first(turned: bool) -> None:
    """Of the same priority a denial decides, however the rules are called and in which order they were made."""
    rules = [grant("a"), deny("b"), deny("c"), grant("d")]
    assert decided(*(reversed(rules) if turned else rules)) == "-b"


@pytest.mark.parametrize(
    ("scope", "who", "outcome"),
    [
        ("", NOBODY, "+rule"),
        ("*", NOBODY, "-"),
        ("+", NOBODY, "-"),
        ("reader", NOBODY, "-"),
        ("*", ADA, "+rule"),
        ("+", ADA, "+rule"),
        ("reader", ADA, "+rule"),
        ("READER", ADA, "+rule"),
        ("read", ADA, "-"),
        ("reader", BOSS, "-"),
        ("", STRANGER, "+rule"),
        ("*", STRANGER, "-"),
        ("+", STRANGER, "+rule"),
        ("reader", STRANGER, "-"),
        ("*", ROOT, "-"),
    ],
)
def test_granted_to(scope: str, who: Account | None, outcome: str) -> None:
    """A grant is for everybody, the namespace's accounts, any account, or the namespace's accounts with a scope."""
    assert decided(grant("rule", scope), by=who) == outcome


@pytest.mark.parametrize(
    ("scope", "who", "outcome"),
    [
        ("", NOBODY, "-rule"),
        ("*", NOBODY, "-rule"),
        ("+", NOBODY, "-rule"),
        ("*", ADA, "-rule"),
        ("*", STRANGER, "-rule"),
        ("+", STRANGER, "-rule"),
        ("reader", ADA, "-rule"),
        ("reader", BOSS, "+default"),
        ("reader", NOBODY, "+default"),
        ("reader", STRANGER, "+default"),
    ],
)
def test_denied_to(scope: str, who: Account | None, outcome: str) -> None:
    """A denial for accounts cannot be evaded by showing none; one for a scope is for those who have it."""
    assert decided(deny("rule", scope), DEFAULT_RULE, by=who) == outcome


def test_passed_over() -> None:
    """A rule that does not apply leaves the decision to the next: a stranger is not refused where everybody is let in."""
    assert decided(grant("a", "admin", 9), DEFAULT_RULE, by=STRANGER) == "+default"


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*:*:*", True),
        ("service:greeter:Greeter.Hello", True),
        ("SERVICE:Greeter:greeter.hello", True),
        ("service:greeter:*", True),
        ("service:*:Greeter.Hello", True),
        ("*:greeter:*", True),
        ("topic:greeter:*", False),
        ("service:greet:*", False),
        ("service:greeter2:*", False),
        ("service:greeter:Greeter.Bye", False),
        ("service:greeter:Greeter", False),
        ("service:greeter:/*", False),
    ],
)
def test_matching(resource: str, matches: bool) -> None:
    """A rule is about what its type, name and endpoint say, in whatever case; a star stands for any."""
    assert decided(grant("rule", resource=resource)) == ("+rule" if matches else "-")


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/*", True),
        ("/foo/*", True),
        ("/foo/bar/*", True),
        ("/foo/bar", True),
        ("/FOO/*", True),
        ("/fo/*", False),
        ("/foo/barn/*", False),
        ("/foo", False),
        ("/bar/*", False),
    ],
)
def test_paths(pattern: str, matches: bool) -> None:
    """A path that ends in a star reaches all that is below it."""
    asked = Resource("service", "web", "/foo/bar")
    rule = grant("rule", resource=f"service:web:{pattern}")
    assert decided(rule, to=asked) == ("+rule" if matches else "-")


@pytest.mark.parametrize(
    ("who", "outcome"), [(NOBODY, "-"), (GUEST, "+default"), (STRANGER, "+default"), (ROBOT, "+default")]
)
def test_core_default(who: Account | None, outcome: str) -> None:
    """The platform's services answer accounts only, for all that the default rule says."""
    assert decided(DEFAULT_RULE, by=who, to=READ, namespace="micro") == outcome


@pytest.mark.parametrize(("who", "outcome"), [(NOBODY, "-"), (GUEST, "+"), (STRANGER, "+")])
def test_core_without_rules(who: Account | None, outcome: str) -> None:
    """Who closes the users' services does not close the platform's."""
    assert decided(by=who, to=READ, namespace="micro") == outcome


def test_core_opened() -> None:
    """A grant that names a service of the platform opens it to everybody."""
    rule = grant("rule", resource="service:store:Store.Read")
    assert decided(rule, to=READ, namespace="micro") == "+rule"
    assert decided(rule, to=Resource("service", "store", "Store.Write", core=True), namespace="micro") == "-"


@pytest.mark.parametrize("resource", ["*:*:*", "service:store:*", "service:store:Store.Read"])
@pytest.mark.parametrize("who", [NOBODY, GUEST, STRANGER, ROBOT, ROOT])
def test_core_closed(resource: str, who: Account | None) -> None:
    """A denial closes a service of the platform, too."""
    rule = deny("rule", resource=resource)
    assert decided(rule, DEFAULT_RULE, by=who, to=READ, namespace="micro") == "-rule"


@pytest.mark.parametrize(
    ("endpoint", "who", "outcome"),
    [
        ("Auth.Token", NOBODY, "+"),
        ("Auth.Inspect", NOBODY, "+"),
        ("Auth.Logout", NOBODY, "+"),
        ("Auth.Generate", NOBODY, "-deny"),
        ("Rules.Delete", GUEST, "-deny"),
        ("Rules.Delete", STRANGER, "-deny"),
        ("Rules.Delete", ROOT, "+"),
        ("Rules.Create", ROOT, "+"),
        ("Accounts.List", ROBOT, "+"),
    ],
)
def test_never_locked_out(endpoint: str, who: Account | None, outcome: str) -> None:
    """No rule keeps anybody from logging in, nor the platform's admins from auth."""
    asked = Resource("service", "auth", endpoint, core=True)
    rules = deny("deny", priority=999), deny("other", "admin", 9999, "service:auth:*")
    assert decided(*rules, by=who, to=asked, namespace="micro") == outcome


def test_health() -> None:
    """Anybody may ask the platform's services how they are, unless a rule says otherwise."""
    asked = Resource("service", "store", "Debug.Health", core=True)
    assert decided(to=asked, namespace="micro") == "+"
    assert decided(deny("rule", resource="service:store:*"), to=asked, namespace="micro") == "-rule"
    assert decided(to=Resource("service", "greeter", "Debug.Health")) == "-"


def told(by: Account | None, to: Resource, *rules: Rule, namespace: str = "foo") -> MicroError:
    """The refusal."""
    return refusal(decide(in_order(rules), by, namespace, to), by, namespace, to)


@pytest.mark.parametrize(
    ("by", "rules", "kind", "detail"),
    [
        (
            ADA,
            [deny("deny-x")],
            Forbidden,
            "Forbidden call made to greeter:Greeter.Hello by ada: rule `deny-x` of namespace foo; "
            "see `micro auth list rules --namespace foo`",
        ),
        (
            NOBODY,
            [deny("deny-x")],
            Unauthorized,
            "Unauthorized call made to greeter:Greeter.Hello: rule `deny-x` of namespace foo; "
            "see `micro auth list rules --namespace foo`",
        ),
        (
            ADA,
            [],
            Forbidden,
            "Forbidden call made to greeter:Greeter.Hello by ada: no rule of namespace foo allows it; "
            "see `micro auth list rules --namespace foo`",
        ),
    ],
)
def test_refusal(by: Account | None, rules: list[Rule], kind: Any, detail: str) -> None:
    """A refusal names the rule, or says that there is none, and the command that shows them."""
    error = told(by, GREETER, *rules)
    assert (type(error), error.detail) == (kind, detail)


def test_refusal_of_core() -> None:
    """What closes a service of the platform is named; that it wants an account is told in the reference's words."""
    assert told(ROBOT, READ, deny("x"), namespace="micro").detail == (
        "Forbidden call made to store:Store.Read by robot: rule `x` of namespace micro; see `micro auth list rules`"
    )
    error = told(NOBODY, READ, DEFAULT_RULE, namespace="micro")
    assert (error.code, error.id, error.detail) == (401, "store.Store.Read", "an account is required")
