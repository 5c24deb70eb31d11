"""The words of auth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest
from microd.kernel.rules import DEFAULT_RULE, Resource, Rule

__all__ = [
    "DEFAULT_RULE",
    "Draft",
    "Enrolment",
    "InvalidToken",
    "Resource",
    "Rule",
    "Session",
    "Token",
    "UnknownAccount",
    "UnknownRule",
    "WrongSecret",
]


class InvalidToken(BadRequest):
    """invalid token provided"""

    def __init__(self) -> None:
        super().__init__("invalid token provided")


class UnknownAccount(BadRequest):
    """Account not found with this ID"""

    def __init__(self) -> None:
        super().__init__("Account not found with this ID")


class WrongSecret(BadRequest):
    """Secret not correct"""

    def __init__(self) -> None:
        super().__init__("Secret not correct")


class UnknownRule(BadRequest):
    """Rule not found"""

    def __init__(self) -> None:
        super().__init__("Rule not found")


@dataclass(frozen=True, slots=True)
class Session:
    """What began with a login, and goes on by refresh tokens; see L{microd.services.auth.sessions}. Times are Unix seconds.

    @ivar digest: SHA-256 of its name, in hexadecimal; the name itself is not kept.
    @ivar turn: how many refresh tokens it had before the present one.
    @ivar turned: since when it has that.
    """

    digest: str
    turn: int
    turned: float
    expires: float


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An account as it is kept.

    @ivar hashed: the secret's hash, with its parameters.
    """

    account: Account
    hashed: str
    sessions: tuple[Session, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """An account that somebody asks for. What is empty takes its default."""

    id: str
    name: str = ""
    type: str = ""
    secret: str = ""
    scopes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """What a client shows, and what it keeps to get another. Times are Unix seconds."""

    access: str
    refresh: str
    created: int
    expires: int
