"""Which rule decides a call. Nothing here can wait.

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
from typing import NamedTuple

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import BadRequest, Forbidden, MicroError, Unauthorized
from microd.kernel.names import require_text
from microd.services.auth.model import Resource, Rule

#: What nobody could do without to become somebody.
OPEN = frozenset((("auth", "Auth.Token"), ("auth", "Auth.Inspect")))
#: Of a core service; open unless a rule says otherwise.
HEALTH = "Debug.Health"
#: Rules which a namespace has at most.
MOST_RULES = 500
#: Bytes of a rule's id and scope, and of each part of its resource.
LONGEST_WORD, LONGEST_PART = 128, 512
PRIORITIES = 1 << 31
#: What somebody without an account is told by core endpoints, where it is not "an account is required" (spec 8).
_STRANGERS = {
    ("runtime", "Source.Upload"): "An account is required to upload source",
    ("runtime", "Build.Read"): "An account is required to read builds",
    ("broker", "Broker.Publish"): "access denied to namespace",
    ("broker", "Broker.Subscribe"): "access denied to namespace",
}


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


def require_rule(rule: Rule) -> Rule:
    """Let a rule pass which can be one.

    @raise BadRequest: it could never match, or a part of it is too long.
    """
    require_text("the rule's id", rule.id, LONGEST_WORD)
    if rule.scope:
        require_text("the rule's scope", rule.scope, LONGEST_WORD)
    resource = rule.resource
    require_text("the resource's type", resource.type, LONGEST_PART)
    require_text("the resource's name", resource.name, LONGEST_PART)
    require_text("the resource's endpoint", resource.endpoint, LONGEST_PART)
    for what, part in (("type", resource.type), ("name", resource.name)):
        if "*" in part and part != "*":
            raise BadRequest(f"the resource's {what} must be * for any, or have no * in it")
    endpoint = resource.endpoint
    if "*" in endpoint and endpoint != "*" and not _is_path_wildcard(endpoint):
        raise BadRequest(
            "the resource's endpoint must be * for any, a path that ends in /*, or have no * in it"
        )
    if not -PRIORITIES <= rule.priority < PRIORITIES:
        raise BadRequest("the rule's priority must fit into 32 bits")
    return rule


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
    return _is_path_wildcard(pattern) and f"{endpoint}/".startswith(pattern[:-1])


def _is_path_wildcard(endpoint: str) -> bool:
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
