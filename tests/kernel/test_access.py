"""The two checks of core endpoints: the table of spec 7.3, with 403 for those who are no admins."""

from __future__ import annotations

import pytest

from microd.kernel.access import require_admin, require_member
from microd.kernel.caller import PLATFORM, Account, Caller
from microd.kernel.errors import Forbidden, Unauthorized

NOBODY = Caller()
USER = Caller(Account("u", "user", "foo"))
ADMIN = Caller(Account("a", "user", "foo", scopes=("admin",)))
SERVICE = Caller(Account("s", "service", "foo", scopes=("service",)))
HALF_SERVICE = Caller(Account("s", "service", "foo"))
FALSE_ADMIN = Caller(Account("s", "service", "foo", scopes=("admin",)))
OTHER = Caller(Account("o", "user", "bar", scopes=("admin",)))
MICRO_USER = Caller(Account("m", "user", "micro"))
MICRO_ADMIN = Caller(Account("m", "user", "micro", scopes=("admin",)))
MICRO_SERVICE = Caller(Account("m", "service", "micro", scopes=("service",)))
STRANGE = Caller(Account("x", "robot", "foo", scopes=("admin", "service")))


@pytest.mark.parametrize(
    ("caller", "member", "admin"),
    [
        (NOBODY, Unauthorized, Unauthorized),
        (USER, None, Forbidden),
        (ADMIN, None, None),
        (SERVICE, None, None),
        (HALF_SERVICE, None, Forbidden),
        (FALSE_ADMIN, None, Forbidden),
        (OTHER, Forbidden, Forbidden),
        (MICRO_USER, Forbidden, Forbidden),
        (MICRO_ADMIN, None, None),
        (MICRO_SERVICE, None, None),
        (PLATFORM, None, None),
        (STRANGE, Forbidden, Forbidden),
    ],
)
def test_who_may(caller: Caller, member: type[Exception] | None, admin: type[Exception] | None) -> None:
    """Who is a member of a namespace, and who administers it."""
    for check, error in ((require_member, member), (require_admin, admin)):
        if error is None:
            check(caller, "foo")
        else:
            with pytest.raises(error):
                check(caller, "foo")


def test_empty_namespace() -> None:
    """An empty name opens nothing."""
    for caller in (USER, ADMIN, OTHER):
        with pytest.raises(Forbidden):
            require_member(caller, "")
        with pytest.raises(Forbidden):
            require_admin(caller, "")
