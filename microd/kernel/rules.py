"""Rules, and which of them decides a call: the same at the daemon's doors and in services. Pure.

Of a namespace's rules those count which match what is wanted. They are asked in this order: the highest priority first;
of the same priority, denials before grants; then by id. The first which applies to whoever asks decides; where none
does, the answer is no. A rule applies

====================  ===================================================  ==================================
its scope             a grant, to                                          a denial, to
====================  ===================================================  ==================================
empty                 everybody                                            everybody
C{*}                  accounts of the namespace                            everybody
C{+}                  any account                                          everybody
a word                accounts of the namespace which have that scope      the same
====================  ===================================================  ==================================

A denial for all accounts binds who shows none as well, since otherwise they would evade it by showing none. (In the
reference they do; and there rules of one priority are asked by id, and an account of another namespace is refused at the
first rule with a scope, even where the next one lets everybody in: spec micro-v3-server 5.4.)

The platform's own services follow the rules of the namespace C{micro}, but

 - who has no account is let in by a rule only if the rule names the service: C{*} opens users' services;
 - where no rule applies, accounts are let in, and others are not, but for L{HEALTH};
 - L{OPEN} is open to everybody, and all of C{auth} to the admins of C{micro}, whatever the rules say: so no rule can keep
   them from taking it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import Forbidden, MicroError, Unauthorized

#: What nobody could do without to become somebody, and nobody again.
OPEN = frozenset((("auth", "Auth.Token"), ("auth", "Auth.Inspect"), ("auth", "Auth.Logout")))
#: Of a core service; open unless a rule says otherwise.
HEALTH = "Debug.Health"
#: What somebody without an account is told by core endpoints, where it is not "an account is required" (spec 8).
_STRANGERS = {
    ("runtime", "Source.Upload"): "An account is required to upload source",
    ("runtime", "Build.Read"): "An account is required to read builds",
    ("broker", "Broker.Publish"): "access denied to namespace",
    ("broker", "Broker.Subscribe"): "access denied to namespace",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """What somebody wants to use; in a rule C{*} stands for any.

    @ivar core: it is the platform's own; told by the door, never by a rule.
    """

    type: str = "*"
    name: str = "*"
    endpoint: str = "*"
    core: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use what.

    @ivar scope: empty for everybody, C{*} for accounts of the namespace, C{+} for any account, else a scope to have.
    @ivar priority: the higher, the earlier it is asked.
    """

    id: str
    scope: str
    resource: Resource
    granted: bool
    priority: int = 0


#: The rule with which every namespace begins (spec 5.2): everybody may call every service of its users.
DEFAULT_RULE = Rule(id="default", scope="", resource=Resource(), granted=True)


class Verdict(NamedTuple):
    """An answer, and the rule which gave it; None where no rule applied."""

    granted: bool
    rule: Rule | None = None


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """Rules, the one that is asked first in front."""
    return sorted(rules, key=lambda rule: (-rule.priority, rule.granted, rule.id))


def decide(rules: Sequence[Rule], account: Account | None, namespace: str, resource: Resource) -> Verdict:
    """May they?

    @param rules: of C{namespace}, L{in_order}.
    """
    if resource.core and _always(account, resource):
        return Verdict(granted=True)
    for rule in rules:
        if _matches(rule.resource, resource) and _applies(rule, account, namespace, resource):
            return Verdict(rule.granted, rule)
    return Verdict(resource.core and (account is not None or resource.endpoint == HEALTH))


def who_matters(rules: Iterable[Rule], resource: Resource) -> bool:
    """Whether the answer may be another for one account than for another, or for none."""
    return any(rule.scope and _matches(rule.resource, resource) for rule in rules)


def refusal(verdict: Verdict, account: Account | None, namespace: str, resource: Resource) -> MicroError:
    """What to tell somebody who may not: clients match how it begins (spec 3.3)."""
    what = f"{resource.name}:{resource.endpoint}"
    rule = verdict.rule
    if rule is None and resource.core:
        detail = _STRANGERS.get((resource.name, resource.endpoint), "an account is required")
        return Unauthorized(detail, f"{resource.name}.{resource.endpoint}")
    said = (
        f"rule `{rule.id}` of namespace {namespace}"
        if rule
        else f"no rule of namespace {namespace} allows it"
    )
    elsewhere = "" if namespace == DEFAULT_NAMESPACE else f" --namespace {namespace}"
    why = f"{said}; see `micro auth list rules{elsewhere}`"
    if account is None:
        return Unauthorized(f"Unauthorized call made to {what}: {why}")
    return Forbidden(f"Forbidden call made to {what} by {account.id}: {why}")


def _always(account: Account | None, resource: Resource) -> bool:
    if (resource.name, resource.endpoint) in OPEN:
        return True
    return (
        resource.name == "auth"
        and account is not None
        and account.issuer == DEFAULT_NAMESPACE
        and account.is_admin
    )


def _matches(pattern: Resource, resource: Resource) -> bool:
    return (
        (pattern.type in ("*", resource.type) or pattern.type.lower() == resource.type.lower())
        and (pattern.name in ("*", resource.name) or pattern.name.lower() == resource.name.lower())
        and _reaches(pattern.endpoint.lower(), resource.endpoint.lower())
    )


def _reaches(pattern: str, endpoint: str) -> bool:
    """C{/foo/*} reaches whatever is below C{/foo}, and C{/foo} itself."""
    if pattern in ("*", endpoint):
        return True
    return is_path_wildcard(pattern) and f"{endpoint}/".startswith(pattern[:-1])


def is_path_wildcard(endpoint: str) -> bool:
    """Whether a pattern of endpoints ends in C{/*}."""
    return endpoint.endswith("/*") and endpoint.count("*") == 1


def _applies(rule: Rule, account: Account | None, namespace: str, resource: Resource) -> bool:
    scope = rule.scope
    if scope == "":
        return account is not None or not rule.granted or not resource.core or rule.resource.name != "*"
    if scope in ("*", "+") and not rule.granted:
        return True
    if account is None:
        return False
    if scope == "+":
        return True
    if account.issuer != namespace:
        return False
    return scope == "*" or scope.lower() in (owned.lower() for owned in account.scopes)
