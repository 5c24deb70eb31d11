"""Calls that go on for ever end with the account of whoever made them, at the latest with their next message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import Unauthorized


class Revocations(Protocol):
    """The part of auth that is asked."""

    def generation(self, account: Account) -> int:
        """How often whatever was issued to the account has become void."""


def ending(endpoints: Iterable[Endpoint], auth: Revocations) -> list[Endpoint]:
    """The same endpoints; those which are endless tell no more to an account that was revoked."""
    return [
        replace(each, handler=_ending(each, auth)) if each.endless and each.server_streaming else each
        for each in endpoints
    ]


def _ending(endpoint: Endpoint, auth: Revocations) -> Any:
    async def handler(request: Any, caller: Caller) -> AsyncIterator[Any]:
        account = caller.account
        generation = 0 if account is None else auth.generation(account)
        async with aclosing(endpoint.handler(request, caller)) as replies:
            async for reply in replies:
                if account is not None and auth.generation(account) != generation:
                    raise Unauthorized(f"the account {account.id} was revoked: log in again")
                yield reply

    return handler
