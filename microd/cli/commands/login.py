"""C{micro login} and C{micro logout}."""

from __future__ import annotations

from contextlib import suppress

import click

from microd.cli.credentials import ADMIN
from microd.cli.failure import FAILED, NOT_AUTHORIZED, CommandFailed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.naming import DEFAULT_NAMESPACE
from microd.cli.session import Session
from microd.cli.tokens import Holder


@click.command(cls=MicroCommand, refused=FAILED, short_help="Log in to the current environment")
@click.option(
    "--username", "--email", "username", default="", metavar="NAME", help="The account's id or name."
)
@click.option("--password", default="", metavar="SECRET", help="Asked for if not given.")
@pass_session
def login(session: Session, username: str, password: str) -> None:
    """Log in, and stay logged in.

    On the host of your own server nothing is asked: you are its admin, unless --username says otherwise. Elsewhere
    user name and password are asked for; or read from standard input, a line each, where that is no terminal. Who was
    logged in before stays so if this fails.
    """
    namespace = session.namespace
    if not username and not password:
        username, password, namespace = _at_hand(session) or ("", "", namespace)
    if not username:
        username = session.terminal.ask("Enter username: ")
    if not username:
        raise CommandFailed("No username given", NOT_AUTHORIZED, remedy="Run `micro login --username NAME`.")
    if not password:
        password = session.terminal.ask("Enter password: ", hidden=True)
    token = session.issuer.by_secret(username, password, namespace)
    account = session.issuer.account(token.access_token, namespace)
    session.tokens.save(Holder(str(session.address), namespace, account.id), token)
    session.login.begin(account.id)
    session.answer(
        {"id": account.id, "name": account.name, "namespace": namespace}, lambda: "Successfully logged in."
    )


@click.command(cls=MicroCommand, short_help="Log out of the current environment")
@pass_session
def logout(session: Session) -> None:
    """Log out: nobody is logged in again until `micro login`, and no copy of the tokens gets new ones."""
    user, address = session.login.user, str(session.address)
    for namespace in dict.fromkeys((session.namespace, DEFAULT_NAMESPACE)):
        holder = Holder(address, namespace, user)
        stored = session.tokens.find(holder) if user else None
        if stored is None:
            continue
        session.tokens.forget(holder)
        if stored.refresh_token:
            # Who logs out is logged out, whatever the server says, and if there is none.
            with suppress(CommandFailed):
                session.issuer.end(stored.refresh_token)
    session.login.end()


def _at_hand(session: Session) -> tuple[str, str, str] | None:
    """The admin of our own daemon. Standard input is not looked at: it may be a pipe that never says anything."""
    secret = session.admin_secret()
    return (ADMIN, secret, DEFAULT_NAMESPACE) if secret else None
