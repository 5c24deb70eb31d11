"""C{micro auth}: accounts, rules and tokens."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from microd.cli.counts import Count
from microd.cli.failure import FAILED, MALFORMED, NOT_AUTHORIZED, REFUSED, CommandFailed
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.auth_pb2 import Account, Rule, Token

_PRIORITIES = 1 << 31
_NAMESPACE = click.option(
    "--namespace", default="", metavar="NAME", help="Namespace to work in, instead of the current one."
)


@click.group(cls=MicroGroup, refused=FAILED, short_help="Manage accounts, rules and tokens")
def auth() -> None:
    """Manage the accounts and rules of a namespace, and make tokens."""


@auth.group("list", cls=MicroGroup, misses=MALFORMED, short_help="List accounts or rules")
def listing() -> None:
    """List what the auth service keeps."""


@listing.command("accounts", short_help="List the accounts")
@_NAMESPACE
@pass_session
def accounts(session: Session, namespace: str) -> None:
    """List the accounts of a namespace."""
    from microd.wire.auth_pb2 import ListAccountsRequest, ListAccountsResponse, Options

    request = ListAccountsRequest(options=Options(namespace=namespace or session.namespace))
    with _refusal("Error listing accounts"):
        answer = session.remote.unary("/auth.Accounts/List", request, ListAccountsResponse)
    found = sorted(answer.accounts, key=lambda account: account.id)
    session.answer([_account(each) for each in found], lambda: "\n".join(_rows(found)))


@listing.command("rules", short_help="List the rules")
@_NAMESPACE
@pass_session
def rules(session: Session, namespace: str) -> None:
    """List the rules of a namespace: who may call what.

    The rule with the highest priority that applies decides; of those with the same priority a denial does. Where none
    applies, the call is refused. A rule without a scope (<public>) is for everybody, one for * for the namespace's
    accounts, one for + for any account, and else for the namespace's accounts which have that scope.
    """
    found = _kept_rules(session, namespace)
    session.answer([_rule(each) for each in found], lambda: "\n".join(_rule_rows(found)))


@auth.group("create", cls=MicroGroup, misses=MALFORMED, short_help="Create an account, a rule or a token")
def create() -> None:
    """Create an account, a rule or a token."""


@create.command("account", short_help="Create an account")
@click.argument("id_", metavar="ID", default="")
@click.option("--secret", default="", help="The account's password; one is made if not given.")
@click.option(
    "--scopes", multiple=True, metavar="SCOPE", help="What it may do; repeat it, or give a comma list."
)
@click.option("--type", "type_", default="", metavar="TYPE", help="user (the default) or service.")
@_NAMESPACE
@pass_session
def create_account(
    session: Session, id_: str, secret: str, scopes: tuple[str, ...], type_: str, namespace: str
) -> None:
    """Create the account ID, and print it with its secret: it is shown this once."""
    from microd.wire.auth_pb2 import GenerateRequest, GenerateResponse, Options

    _require(id_)
    request = GenerateRequest(
        id=id_,
        secret=secret,
        type=type_,
        scopes=[scope for given in scopes for scope in given.split(",") if scope],
        options=Options(namespace=namespace or session.namespace),
    )
    with _refusal("Error creating account"):
        made = _account(session.remote.unary("/auth.Auth/Generate", request, GenerateResponse).account)
    session.answer(made, lambda: f"Account created: {_compact(made)}")


@create.command("rule", short_help="Create a rule")
@click.argument("ids", metavar="ID", nargs=-1)
@click.option("--scope", default="", help="Whom it is for: nothing for everybody, *, +, or a scope.")
@click.option(
    "--resource",
    default="",
    metavar="TYPE:NAME:ENDPOINT",
    help="What it is about, such as service:greeter:Greeter.Hello; * stands for any.",
)
@click.option("--access", default="granted", metavar="ACCESS", help="granted (the default) or denied.")
@click.option(
    "--priority", default=0, type=int, metavar="N", help="The highest is asked first; 0 by default."
)
@_NAMESPACE
@pass_session
def create_rule(
    session: Session,
    ids: tuple[str, ...],
    scope: str,
    resource: str,
    access: str,
    priority: int,
    namespace: str,
) -> None:
    """Create the rule ID: who may call what. It holds at once; see `micro auth list rules --help`."""
    from microd.wire.auth_pb2 import DENIED, GRANTED, CreateRequest, CreateResponse, Options, Resource, Rule

    if len(ids) != 1:
        raise CommandFailed("Too many arguments, expected one argument: ID")
    if access not in ("granted", "denied"):
        raise CommandFailed(f"Invalid access: {access}, must be granted or denied")
    parts = resource.split(":")
    if len(parts) != 3:
        raise CommandFailed("Invalid resource, must be in the format type:name:endpoint")
    if not -_PRIORITIES <= priority < _PRIORITIES:
        raise CommandFailed(
            f"Invalid priority: {priority}, must be between {-_PRIORITIES} and {_PRIORITIES - 1}"
        )
    rule = Rule(
        id=ids[0],
        scope=scope,
        resource=Resource(type=parts[0], name=parts[1], endpoint=parts[2]),
        access=GRANTED if access == "granted" else DENIED,
        priority=priority,
    )
    request = CreateRequest(rule=rule, options=Options(namespace=namespace or session.namespace))
    with _refusal("Error"):
        session.remote.unary("/auth.Rules/Create", request, CreateResponse)
    session.answer(_rule(rule), lambda: "Rule created")


@create.command("token", short_help="Create a token for an account")
@click.option("--id", "id_", default="", metavar="ID", help="The account.")
@click.option("--secret", default="", help="Its secret; asked for if not given.")
@click.option("--expiry", default=0, type=Count(), metavar="SECONDS", help="How long it is good for.")
@_NAMESPACE
@pass_session
def create_token(session: Session, id_: str, secret: str, expiry: int, namespace: str) -> None:
    """Create an access token for an account, and print it."""
    from microd.wire.auth_pb2 import Options, TokenRequest, TokenResponse

    if not id_:
        raise CommandFailed("Missing account ID", remedy="Give it with --id.")
    secret = secret or session.terminal.ask("Enter password: ", hidden=True)
    if not secret:
        raise CommandFailed("Missing account secret", remedy="Give it with --secret.")
    request = TokenRequest(
        id=id_, secret=secret, token_expiry=expiry, options=Options(namespace=namespace or session.namespace)
    )
    made = _token(session.remote.unary("/auth.Auth/Token", request, TokenResponse).token)
    session.answer(made, lambda: f"Token created: {_compact(made)}")


@auth.group("delete", cls=MicroGroup, misses=MALFORMED, short_help="Delete an account or a rule")
def deletion() -> None:
    """Delete an account or a rule."""


@deletion.command("account", short_help="Delete an account")
@click.argument("id_", metavar="ID", default="")
@_NAMESPACE
@pass_session
def delete_account(session: Session, id_: str, namespace: str) -> None:
    """Delete the account ID; its tokens are void at once."""
    from microd.wire.auth_pb2 import DeleteAccountRequest, DeleteAccountResponse, Options

    _require(id_)
    request = DeleteAccountRequest(id=id_, options=Options(namespace=namespace or session.namespace))
    with _refusal("Error"):
        session.remote.unary("/auth.Accounts/Delete", request, DeleteAccountResponse)
    session.answer({"id": id_}, str)


@deletion.command("rule", short_help="Delete a rule")
@click.argument("ids", metavar="ID", nargs=-1)
@_NAMESPACE
@pass_session
def delete_rule(session: Session, ids: tuple[str, ...], namespace: str) -> None:
    """Delete the rule ID; it holds no more at once.

    Every namespace begins with the rule `default`, which lets everybody call its services. Deleting it closes them;
    `micro auth create rule members --scope '*' --resource '*:*:*'` opens them to the namespace's accounts, and
    `micro auth create rule default --resource '*:*:*'` to everybody.
    """
    from microd.wire.auth_pb2 import DeleteRequest, DeleteResponse, Options

    if len(ids) != 1:
        raise CommandFailed("Expected one argument: ID")
    request = DeleteRequest(id=ids[0], options=Options(namespace=namespace or session.namespace))
    with _refusal("Error"):
        session.remote.unary("/auth.Rules/Delete", request, DeleteResponse)
    session.answer({"id": ids[0]}, lambda: "Rule deleted")


@auth.group("update", cls=MicroGroup, misses=MALFORMED, short_help="Change an account's secret")
def updating() -> None:
    """Change an account's secret."""


@updating.command("secret", short_help="Change an account's secret")
@click.argument("id_", metavar="ID", default="")
@click.option(
    "--old_secret",
    "--old-secret",
    "old",
    default="",
    metavar="SECRET",
    help="The present one; admins need none.",
)
@click.option(
    "--new_secret", "--new-secret", "new", default="", metavar="SECRET", help="Asked for if not given."
)
@_NAMESPACE
@pass_session
def update_secret(session: Session, id_: str, old: str, new: str, namespace: str) -> None:
    """Give the account ID another secret; all tokens that it has are void at once."""
    from microd.wire.auth_pb2 import ChangeSecretRequest, ChangeSecretResponse, Options

    _require(id_)
    new = new or session.terminal.ask("Enter a new password: ", hidden=True)
    if not new:
        raise CommandFailed("Missing account secret", remedy="Give it with --new_secret.")
    request = ChangeSecretRequest(
        id=id_, old_secret=old, new_secret=new, options=Options(namespace=namespace or session.namespace)
    )
    with _refusal("Error"):
        session.remote.unary("/auth.Accounts/ChangeSecret", request, ChangeSecretResponse)
    session.answer({"id": id_}, lambda: "Account updated")


@auth.command("inspect", short_help="Show whose a token is, and how long it is good for")
@click.argument("token", default="")
@pass_session
def inspect(session: Session, token: str) -> None:
    """Show whose the access token TOKEN is, and how long it is good for; your own if none is given."""
    token = token or session.credentials.token()
    if not token:
        raise CommandFailed("Not logged in", NOT_AUTHORIZED, remedy="Run `micro login`.")
    found = _account(session.issuer.account(token, session.namespace))
    del found["secret"]
    found["expires"] = _end(token)
    session.answer(found, lambda: "\n".join(_lines(found)))


@contextmanager
def _refusal(words: str) -> Iterator[None]:
    """Begin what the server says no with as the reference does."""
    try:
        yield
    except CommandFailed as failure:
        if failure.code == REFUSED:
            failure.sentence = f"{words}: {failure.sentence}"
        raise


def _require(id_: str) -> None:
    if not id_:
        raise CommandFailed("Missing argument: ID")


def _account(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "type": account.type,
        "issuer": account.issuer,
        "metadata": dict(sorted(account.metadata.items())),
        "scopes": list(account.scopes),
        "secret": account.secret,
        "name": account.name,
    }


def _token(token: Token) -> dict[str, Any]:
    return {
        "access_token": token.access_token,
        "refresh_token": token.refresh_token,
        "created": _moment(token.created),
        "expiry": _moment(token.expiry),
    }


def _end(token: str) -> str:
    """When a token ends, as it says itself; the server has looked at it."""
    payload = token.split(".")[1]
    try:
        said = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return _moment(int(said["exp"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return ""


def _lines(found: Mapping[str, Any]) -> list[str]:
    shown = {
        "id": found["id"],
        "name": found["name"],
        "type": found["type"],
        "issuer": found["issuer"],
        "scopes": ", ".join(found["scopes"]) or "n/a",
        "metadata": " ".join(f"{key}={value}" for key, value in found["metadata"].items()) or "n/a",
        "expires": found["expires"] or "n/a",
    }
    return [f"{name}: {value}" for name, value in shown.items()]


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rows(found: list[Account]) -> list[str]:
    rows = [("ID", "Name", "Scopes", "Metadata")]
    for account in found:
        metadata = " ".join(f"{key}={value}" for key, value in sorted(account.metadata.items()))
        rows.append((account.id, account.name, ", ".join(account.scopes) or "n/a", metadata or "n/a"))
    return ["\t\t".join(row) for row in rows]


def _kept_rules(session: Session, namespace: str) -> list[Rule]:
    from microd.wire.auth_pb2 import ListRequest, ListResponse, Options

    request = ListRequest(options=Options(namespace=namespace or session.namespace))
    with _refusal("Error listing rules"):
        found = session.remote.unary("/auth.Rules/List", request, ListResponse).rules
    return sorted(found, key=lambda rule: (_resource(rule), rule.priority, rule.id), reverse=True)


def _resource(rule: Rule) -> str:
    return f"{rule.resource.type}:{rule.resource.name}:{rule.resource.endpoint}"


def _rule(rule: Rule) -> dict[str, Any]:
    from microd.wire.auth_pb2 import Access

    return {
        "id": rule.id,
        "scope": rule.scope,
        "access": Access.Name(rule.access),
        "resource": _resource(rule),
        "priority": rule.priority,
    }


def _rule_rows(found: list[Rule]) -> list[str]:
    rows = [("ID", "Scope", "Access", "Resource", "Priority")]
    for each in map(_rule, found):
        scope = each["scope"] or "<public>"
        rows.append((each["id"], scope, each["access"], each["resource"], str(each["priority"])))
    return ["\t\t".join(row) for row in rows]


def _compact(made: Mapping[str, Any]) -> str:
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False)
