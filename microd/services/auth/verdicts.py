"""Which rules there can be. What they mean is in L{microd.kernel.rules}. Pure."""

from __future__ import annotations

from microd.kernel.errors import BadRequest
from microd.kernel.names import require_text
from microd.kernel.rules import Rule, Verdict, decide, in_order, is_path_wildcard, refusal

__all__ = ["MOST_RULES", "Verdict", "decide", "in_order", "refusal", "require_rule"]

#: Rules which a namespace has at most.
MOST_RULES = 500
#: Bytes of a rule's id and scope, and of each part of its resource.
LONGEST_WORD, LONGEST_PART = 128, 512
PRIORITIES = 1 << 31


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
    if "*" in endpoint and endpoint != "*" and not is_path_wildcard(endpoint):
        raise BadRequest(
            "the resource's endpoint must be * for any, a path that ends in /*, or have no * in it"
        )
    if not -PRIORITIES <= rule.priority < PRIORITIES:
        raise BadRequest("the rule's priority must fit into 32 bits")
    return rule
