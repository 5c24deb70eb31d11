"""The two checks which core endpoints make of their caller (spec micro-v3-server 7.3)."""

from __future__ import annotations

from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.errors import Forbidden, Unauthorized


def require_member(caller: Caller, namespace: str) -> None:
    """Let C{namespace}'s own accounts pass, and the platform's admins and services.

    @raise Unauthorized: nobody said who they are.
    @raise Forbidden: the account belongs elsewhere.
    """
    account = caller.account
    if account is None:
        raise Unauthorized("an account is required")
    if account.issuer == DEFAULT_NAMESPACE and account.is_admin:
        return
    if account.issuer != namespace or account.type not in ("user", "service"):
        raise Forbidden("access denied to namespace")


def require_admin(caller: Caller, namespace: str) -> None:
    """Let those pass who administer C{namespace}: its admins and services, and the platform's.

    @raise Unauthorized: nobody said who they are.
    @raise Forbidden: the account belongs elsewhere, or is no admin.
    """
    account = caller.account
    if account is not None and account.issuer in (namespace, DEFAULT_NAMESPACE) and account.is_admin:
        return
    require_member(caller, namespace)
    raise Forbidden(f"this needs an admin of the namespace {namespace}")
