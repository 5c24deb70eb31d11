"""C{micro auth}: accounts and tokens. (Rules come with the service that keeps them.)"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from microd.cli.failure import FAILED, MALFORMED, CommandFailed
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.auth_pb2 import Account, Token

_NAMESPACE = click.option(
    "--namespace", default="", metavar="NAME", help="Whose account; the current namespace's by default."
)


@click.group(cls=MicroGroup, refused=FAILED, short_help="Manage accounts and tokens")
def auth() -> None:
    """Manage the accounts of a namespace, and make tokens."""


@auth.group("list", cls=MicroGroup, misses=MALFORMED, short_help="List accounts")
def listing() -> None:
    """List what the auth service keeps."""


@listing.command("accounts", short_help="List the accounts")
@_NAMESPACE
@pass_session
def accounts(session: Session, namespace: str) -> None:
    """List the accounts of a namespace."""
    from microd.wire.auth_pb2 import ListAccountsRequest, ListAccountsResponse, Options

    request = ListAccountsRequest(options=Options(namespace=namespace or session.namespace))
    answer = session.remote.unary("/auth.Accounts/List", request, ListAccountsResponse)
    found = sorted(answer.accounts, key=lambda account: account.id)
    session.answer([_account(each) for each in found], lambda: "\n".join(_rows(found)))


@auth.group("create", cls=MicroGroup, misses=MALFORMED, short_help="Create an account or a token")
def create() -> None:
    """Create an account or a token."""


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
    made = _account(session.remote.unary("/auth.Auth/Generate", request, GenerateResponse).account)
    session.answer(made, lambda: f"Account created: {_compact(made)}")


@create.command("token", short_help="Create a token for an account")
@click.option("--id", "id_", default="", metavar="ID", help="The account.")
@click.option("--secret", default="", help="Its secret; asked for if not given.")
@click.option(
    "--expiry", default=0, type=click.IntRange(0), metavar="SECONDS", help="How long it is good for."
)
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


@auth.group("delete", cls=MicroGroup, misses=MALFORMED, short_help="Delete an account")
def deletion() -> None:
    """Delete an account."""


@deletion.command("account", short_help="Delete an account")
@click.argument("id_", metavar="ID", default="")
@_NAMESPACE
@pass_session
def delete_account(session: Session, id_: str, namespace: str) -> None:
    """Delete the account ID; its tokens are void at once."""
    from microd.wire.auth_pb2 import DeleteAccountRequest, DeleteAccountResponse, Options

    _require(id_)
    request = DeleteAccountRequest(id=id_, options=Options(namespace=namespace or session.namespace))
    session.remote.unary("/auth.Accounts/Delete", request, DeleteAccountResponse)


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


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rows(found: list[Account]) -> list[str]:
    rows = [("ID", "Name", "Scopes", "Metadata")]
    for account in found:
        metadata = " ".join(f"{key}={value}" for key, value in sorted(account.metadata.items()))
        rows.append((account.id, account.name, ", ".join(account.scopes) or "n/a", metadata or "n/a"))
    return ["\t\t".join(row) for row in rows]


def _compact(made: Mapping[str, Any]) -> str:
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False)
