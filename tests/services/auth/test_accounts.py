"""Accounts: who may make, see, change and delete them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest, Forbidden, MicroError, Unauthorized
from microd.services.auth.model import Draft
from microd.wire import auth_pb2 as wire

FOO = wire.Options(namespace="foo")
FOO_ADMIN = Account("boss", "user", "foo", "boss", ("admin",))
FOO_USER = Account("ada", "user", "foo", "ada")
BAR_ADMIN = Account("boss", "user", "bar", "boss", ("admin",))


def generate(scene: Any, account: Account | None, **fields: Any) -> wire.Account:
    """Make an account as C{account}."""
    fields.setdefault("options", FOO)
    reply = scene.call("/auth.Auth/Generate", wire.GenerateRequest(**fields), account)
    made: wire.Account = reply.account
    return made


def test_defaults(scene: Any) -> None:
    """What is not said about a new account takes the reference's defaults; the reply has the secret."""
    made = generate(scene, scene.admin, id="ada")
    assert (made.type, made.name, made.issuer) == ("user", "ada", "foo")
    assert dict(made.metadata) == {"created": "1800000000"}
    assert len(made.secret) == 36
    scene.token("foo", id="ada", secret=made.secret)


def test_namespace_of_the_call(scene: Any) -> None:
    """An account is made in the namespace of the call, unless the request names one."""
    request = wire.GenerateRequest(id="ada")
    reply = scene.call("/auth.Auth/Generate", request, scene.admin, namespace="bar")
    assert reply.account.issuer == "bar"


@pytest.mark.parametrize(
    ("account", "refusal"),
    [(None, Unauthorized), (FOO_USER, Forbidden), (BAR_ADMIN, Forbidden), (FOO_ADMIN, None)],
)
def test_admins_only(scene: Any, account: Account | None, refusal: type[MicroError] | None) -> None:
    """Accounts are made, listed and deleted by admins of their namespace, and of the platform."""
    scene.enrol("victim", "foo")
    for path, request in (
        ("/auth.Auth/Generate", wire.GenerateRequest(id="new", options=FOO)),
        ("/auth.Accounts/List", wire.ListAccountsRequest(options=FOO)),
        ("/auth.Accounts/Delete", wire.DeleteAccountRequest(id="victim", options=FOO)),
    ):
        if refusal is None:
            scene.call(path, request, account)
        else:
            with pytest.raises(refusal):
                scene.call(path, request, account)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"id": "ada"}, "Account with this ID already exists"),
        ({"id": "new", "name": "Ada"}, "Account with this Name already exists"),
        ({"id": " "}, "ID required"),
        ({"id": "new", "type": "root"}, "type must be one of"),
        ({"id": "new", "options": wire.Options(namespace="*")}, "the namespace may hold"),
        ({"id": "new", "metadata": {"k": "v" * 5000}}, "more than 4096 bytes"),
        ({"id": "new", "secret": "s" * 5000}, "secret is longer"),
        ({"id": "new\r\n"}, "control characters"),
    ],
)
def test_refused(scene: Any, fields: dict[str, Any], detail: str) -> None:
    """What cannot be an account is refused, saying why."""
    scene.enrol("ada", "foo", name="Ada")
    with pytest.raises(BadRequest, match=detail):
        generate(scene, scene.admin, **fields)


def test_keys_do_not_collide(scene: Any) -> None:
    """An id with slashes in it is another account than the path it resembles."""
    scene.enrol("b/c", "a")
    scene.enrol("c", "a.b", secret="other")
    assert scene.auth.inspect_cached(scene.token("a", id="b/c", secret="s3cret").access).id == "b/c"
    assert [account.id for account in scene.now(scene.auth.accounts("a"))] == ["b/c"]


def test_list(scene: Any) -> None:
    """The list has every account of the namespace, by id, and never a secret."""
    scene.enrol("zoe", "foo")
    scene.enrol("ada", "foo", scopes=("admin",), metadata={"k": "v"})
    scene.enrol("eve", "bar")
    reply = scene.call("/auth.Accounts/List", wire.ListAccountsRequest(options=FOO), scene.admin)
    assert [account.id for account in reply.accounts] == ["ada", "zoe"]
    assert not any(account.secret for account in reply.accounts)
    assert list(reply.accounts[0].scopes) == ["admin"]
    assert reply.accounts[0].metadata["k"] == "v"


def test_list_default(scene: Any) -> None:
    """The list without a namespace is that of the platform."""
    reply = scene.call("/auth.Accounts/List", wire.ListAccountsRequest(), scene.admin)
    assert [account.id for account in reply.accounts] == ["admin"]


@pytest.mark.parametrize(
    ("id", "detail"),
    [
        ("", "Missing ID"),
        ("nobody", "Account not found with this ID"),
        ("boss", "Can't delete your own account"),
        ("The Boss", "Can't delete your own account"),
    ],
)
def test_delete_refused(scene: Any, id: str, detail: str) -> None:
    """Nobody deletes what is not there, nor themselves."""
    scene.enrol("boss", "foo", name="The Boss")
    with pytest.raises(BadRequest, match=detail):
        scene.call("/auth.Accounts/Delete", wire.DeleteAccountRequest(id=id, options=FOO), FOO_ADMIN)


def test_delete(scene: Any) -> None:
    """A deleted account cannot log in, and its id and name are free again."""
    scene.enrol("ada", "foo", name="Ada")
    scene.call("/auth.Accounts/Delete", wire.DeleteAccountRequest(id="Ada", options=FOO), FOO_ADMIN)
    with pytest.raises(BadRequest, match="Account not found"):
        scene.token("foo", id="ada", secret="s3cret")
    scene.enrol("other", "foo", name="Ada")


def test_delete_each_other(scene: Any) -> None:
    """Of two admins who delete each other at the same moment one stays, and the other learns that they are no more."""
    boss = scene.enrol("boss", scopes=("admin",))
    scene.enrol("third", scopes=("admin",))
    lock = scene.auth._turn
    scene.now(lock.acquire())
    first = Deferred.fromCoroutine(scene.auth.delete("micro", "boss", scene.admin))
    second = Deferred.fromCoroutine(scene.auth.delete("micro", "admin", boss))
    lock.release()
    scene.now(first)
    with pytest.raises(Unauthorized, match=r"the account boss was revoked: log in again"):
        scene.now(second)
    assert [account.id for account in scene.now(scene.auth.accounts("micro"))] == ["admin", "third"]


def test_revoked_while_waiting(scene: Any) -> None:
    """Who is deleted while they wait for their turn makes no account, and changes no secret."""
    boss = scene.enrol("boss", scopes=("admin",))
    lock = scene.auth._turn
    scene.now(lock.acquire())
    waiting = [
        Deferred.fromCoroutine(work)
        for work in (
            scene.auth.delete("micro", "boss", scene.admin),
            scene.auth.generate("micro", Draft("heir", secret="s", scopes=("admin",)), boss),
            scene.auth.change_secret("micro", "admin", "", "theirs", boss),
        )
    ]
    lock.release()
    scene.now(waiting[0])
    for late in waiting[1:]:
        with pytest.raises(Unauthorized, match="revoked"):
            scene.now(late)
    assert [account.id for account in scene.now(scene.auth.accounts("micro"))] == ["admin"]
    scene.token(id="admin", secret="first-secret")


@pytest.mark.parametrize(
    "others", [(), ({"id": "ada"}, {"id": "robot", "type": "service", "scopes": ("admin",)})]
)
def test_last_admin(scene: Any, others: tuple[dict[str, Any], ...]) -> None:
    """The last admin of the platform is not deleted, whoever asks; with another one it is."""
    for other in others:
        scene.enrol(**other)
    scene.enrol("boss", "foo", scopes=("admin",))
    robot = Account("robot", "service", "micro", "robot", ("service",))
    request = wire.DeleteAccountRequest(id="admin")
    with pytest.raises(BadRequest, match=r"admin is the last admin of the platform: make another one before"):
        scene.call("/auth.Accounts/Delete", request, robot)
    scene.token(id="admin", secret="first-secret")
    scene.enrol("zoe", scopes=("admin",))
    scene.call("/auth.Accounts/Delete", request, robot)
    scene.call("/auth.Accounts/Delete", wire.DeleteAccountRequest(id="boss", options=FOO), robot)


def change(scene: Any, account: Account | None, old: str, new: str, id: str = "ada") -> None:
    """Change a secret as C{account}."""
    request = wire.ChangeSecretRequest(id=id, old_secret=old, new_secret=new, options=FOO)
    scene.call("/auth.Accounts/ChangeSecret", request, account)


def test_change_secret(scene: Any) -> None:
    """A member who knows the old secret sets a new one."""
    scene.enrol("ada", "foo")
    change(scene, FOO_USER, "s3cret", "another")
    scene.token("foo", id="ada", secret="another")


@pytest.mark.parametrize(
    ("account", "id", "old", "new", "detail"),
    [
        (FOO_USER, "ada", "wrong", "new", "Secret not correct"),
        (FOO_ADMIN, "ada", "", "new", "Secret not correct"),
        (FOO_USER, "ada", "s3cret", "", "New secret should not be blank"),
        (FOO_USER, "nobody", "s3cret", "new", "Account not found with this ID"),
        (BAR_ADMIN, "ada", "s3cret", "new", "access denied to namespace"),
        (None, "ada", "s3cret", "new", "an account is required"),
    ],
)
def test_change_refused(scene: Any, account: Account, id: str, old: str, new: str, detail: str) -> None:
    """A secret is changed by members who know the old one."""
    scene.enrol("ada", "foo")
    with pytest.raises(MicroError, match=detail):
        change(scene, account, old, new, id)
    scene.token("foo", id="ada", secret="s3cret")


@pytest.mark.parametrize(
    "account",
    [
        Account("root", "user", "micro", "root", ("admin",)),
        Account("sso", "service", "foo", "sso", ("service",)),
    ],
)
def test_change_without_the_old(scene: Any, account: Account) -> None:
    """The platform's admins and the namespace's services set a secret without knowing the old one."""
    scene.enrol("ada", "foo")
    change(scene, account, "", "another")
    scene.token("foo", id="ada", secret="another")


def test_inspect(scene: Any) -> None:
    """Anybody may ask whose a token is."""
    token = scene.token(id="admin", secret="first-secret").access
    reply = scene.call("/auth.Auth/Inspect", wire.InspectRequest(token=token), None)
    assert (reply.account.id, reply.account.issuer, list(reply.account.scopes)) == (
        "admin",
        "micro",
        ["admin"],
    )
    with pytest.raises(BadRequest, match=r"^invalid token provided$"):
        scene.call("/auth.Auth/Inspect", wire.InspectRequest(token=token + "x"), None)


def test_token(scene: Any) -> None:
    """Anybody may exchange a secret for a token."""
    request = wire.TokenRequest(id="admin", secret="first-secret", token_expiry=60)
    token = scene.call("/auth.Auth/Token", request, None).token
    assert (token.created, token.expiry) == (1_800_000_000, 1_800_000_060)
    request = wire.TokenRequest(refresh_token=token.refresh_token)
    again = scene.call("/auth.Auth/Token", request, None).token
    assert again.refresh_token not in ("", token.refresh_token)
    assert again.expiry - again.created == 900


def test_default_rule(scene: Any) -> None:
    """A namespace has the one rule which lets everybody call everything, as Go services need to read it."""
    (rule,) = scene.call("/auth.Rules/List", wire.ListRequest(options=FOO), FOO_USER).rules
    assert rule == wire.Rule(
        id="default", resource=wire.Resource(name="*", type="*", endpoint="*"), access=wire.GRANTED
    )
    with pytest.raises(Unauthorized):
        scene.call("/auth.Rules/List", wire.ListRequest(options=FOO), None)
