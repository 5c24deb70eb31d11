"""The rules of every namespace: kept in the vault, known in memory, and what they say remembered.

C{rule/<namespace>/<id>} holds a rule, and C{ruled/<namespace>} says that a namespace's rules are those which are kept,
were they none. Without that it has L{DEFAULT_RULE}; the first change writes it down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import BadRequest
from microd.kernel.names import require_name
from microd.services.auth.accounts import key
from microd.services.auth.interface import Vault
from microd.services.auth.model import DEFAULT_RULE, Resource, Rule, UnknownRule
from microd.services.auth.verdicts import MOST_RULES, Verdict, decide, in_order, require_rule

_UNCHANGED = (DEFAULT_RULE,)
#: Verdicts which are remembered; when they are so many, all are forgotten.
_MOST_VERDICTS = 8192


class Rulebook:
    """What may be done in each namespace. Writers take turns elsewhere."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._rules: dict[str, Sequence[Rule]] = {}
        self._verdicts: dict[tuple[object, ...], Verdict] = {}

    async def load(self) -> None:
        """Read what is kept."""
        found: dict[str, list[Rule]] = {}
        for name, _ in await self._vault.under("ruled/"):
            found[unquote(name.split("/")[1])] = []
        for name, raw in await self._vault.under("rule/"):
            found.setdefault(unquote(name.split("/")[1]), []).append(_loaded(raw))
        self._rules = {namespace: in_order(rules) for namespace, rules in found.items()}
        self._verdicts.clear()

    def of(self, namespace: str) -> Sequence[Rule]:
        """The rules of a namespace, in the order in which they are asked."""
        return self._rules.get(namespace, _UNCHANGED)

    async def create(self, namespace: str, rule: Rule) -> None:
        """Add a rule.

        @raise BadRequest: there can be no such rule, or there is one.
        """
        require_name("the namespace", namespace)
        present = self.of(namespace)
        require_rule(rule)
        if any(each.id == rule.id for each in present):
            raise BadRequest("A rule with this ID already exists")
        if len(present) >= MOST_RULES:
            raise BadRequest(f"the namespace has {MOST_RULES} rules, which is the most it can have")
        await self._keep(namespace, in_order([*present, rule]), {_key(namespace, rule): _dumped(rule)})

    async def delete(self, namespace: str, id: str) -> None:
        """Take a rule away.

        @raise UnknownRule: there is none.
        """
        present = self.of(namespace)
        rest = [rule for rule in present if rule.id != id]
        if len(rest) == len(present):
            raise UnknownRule
        gone = next(rule for rule in present if rule.id == id)
        await self._keep(namespace, rest, {_key(namespace, gone): None})

    def verdict(self, account: Account | None, namespace: str, resource: Resource) -> Verdict:
        """May they?"""
        who = (None,) if account is None else (account.issuer, account.type, account.scopes)
        asked = (namespace, resource.core, resource.name, resource.endpoint, resource.type, *who)
        known = self._verdicts.get(asked)
        if known is None:
            # Who asks for services everywhere administers the platform: its own rules hold.
            lawgiver = DEFAULT_NAMESPACE if namespace == "*" else namespace
            known = decide(self.of(lawgiver), account, lawgiver, resource)
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[asked] = known
        return known

    async def _keep(self, namespace: str, rules: Sequence[Rule], changes: Mapping[str, bytes | None]) -> None:
        began: dict[str, bytes | None] = {}
        if namespace not in self._rules:
            began = {
                key("ruled", namespace): b"1",
                _key(namespace, DEFAULT_RULE): _dumped(DEFAULT_RULE),
            }
        await self._vault.apply({**began, **changes})
        self._rules[namespace] = rules
        self._verdicts.clear()


def _key(namespace: str, rule: Rule) -> str:
    return key("rule", namespace, rule.id)


def _dumped(rule: Rule) -> bytes:
    resource = rule.resource
    parts = [resource.type, resource.name, resource.endpoint]
    return json.dumps(
        {
            "id": rule.id,
            "scope": rule.scope,
            "resource": parts,
            "granted": rule.granted,
            "priority": rule.priority,
        },
        separators=(",", ":"),
    ).encode()


def _loaded(raw: bytes) -> Rule:
    found = json.loads(raw)
    type, name, endpoint = found["resource"]
    return Rule(
        id=found["id"],
        scope=found["scope"],
        resource=Resource(type, name, endpoint),
        granted=found["granted"],
        priority=found["priority"],
    )
