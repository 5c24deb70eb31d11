"""C{micro user}: who is logged in, and what they have set."""

from __future__ import annotations

import click

from microd.cli.failure import FAILED, NOT_AUTHORIZED, CommandFailed
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.namespaces import Namespaces
from microd.cli.session import Session
from microd.cli.tokens import Holder


@click.group(
    cls=MicroGroup, alone=True, refused=FAILED, short_help="Show who is logged in, and their settings"
)
@click.pass_context
def user(context: click.Context) -> None:
    """Show who is logged in; or their settings."""
    if context.invoked_subcommand is None:
        context.invoke(whoami)


@click.command()
@pass_session
def whoami(session: Session) -> None:
    """Show who is logged in."""
    account = session.issuer.account(_token(session), session.namespace)
    session.answer(
        {
            "id": account.id,
            "name": account.name,
            "type": account.type,
            "namespace": account.issuer,
            "scopes": list(account.scopes),
        },
        lambda: account.name or account.id,
    )


@user.command("token", short_help="Print the access token")
@pass_session
def token(session: Session) -> None:
    """Print an access token, for `Authorization: Bearer`; it is good for ten minutes at most."""
    found = _token(session)
    session.answer({"token": found}, lambda: found)


@user.group("config", cls=MicroGroup, alone=True, short_help="Show or change the settings")
@click.pass_context
def config(context: click.Context) -> None:
    """Show the settings, or change one by its dotted path."""
    if context.invoked_subcommand is None:
        context.invoke(show_config)


@click.command()
@pass_session
def show_config(session: Session) -> None:
    """Show the settings."""
    kept = session.config
    secret = any(
        kept.get(f"git.credentials.{key}") for key in ("github", "gitlab", "bitbucket", "url", "token")
    )
    shown = {
        "user": _name_or_nothing(session) or "n/a",
        "namespace": session.namespace,
        "environment": session.environment.name,
        "git.credentials": "[hidden]" if secret else "n/a",
        "git.baseurl": kept.get(f"git.{session.environment.name}.baseurl")
        or kept.get("git.baseurl")
        or "n/a",
    }
    session.answer(shown, lambda: "\n".join(f"{key}: {value}" for key, value in shown.items()))


@config.command("get", short_help="Print a setting")
@click.argument("key")
@pass_session
def get(session: Session, key: str) -> None:
    """Print the setting at the dotted path KEY; an empty line if it is not set."""
    value = session.config.get(key)
    if session.json:
        session.answer({"key": key, "value": value}, str)
    else:
        session.say(value)


@config.command("set", short_help="Keep a setting")
@click.argument("key")
@click.argument("value")
@pass_session
def put(session: Session, key: str, value: str) -> None:
    """Keep VALUE at the dotted path KEY."""
    _require(key)
    session.config.set(key, value)


@config.command("delete", short_help="Blank a setting")
@click.argument("key")
@pass_session
def delete(session: Session, key: str) -> None:
    """Blank the setting at the dotted path KEY."""
    _require(key)
    session.config.set(key, "")


@user.group(
    "namespace", cls=MicroGroup, alone=True, short_help="Show or change the namespace that commands work in"
)
@click.pass_context
def namespace(context: click.Context) -> None:
    """Show the namespace that commands work in, or change it."""
    if context.invoked_subcommand is None:
        session = context.ensure_object(Session)
        session.answer({"namespace": session.namespace}, lambda: session.namespace)


@namespace.command("set", short_help="Work in another namespace")
@click.argument("name", default="")
@pass_session
def set_namespace(session: Session, name: str) -> None:
    """Work in the namespace NAME from now on, in this environment."""
    if not name:
        raise CommandFailed("No namespace specified", remedy="Run `micro user namespace set NAME`.")
    Namespaces(session.config, session.environment.name).choose(name)


@namespace.command("list", short_help="List the namespaces you have worked in")
@pass_session
def list_namespaces(session: Session) -> None:
    """List the namespaces of this environment that are noted here."""
    known = Namespaces(session.config, session.environment.name).all()
    session.answer(known, lambda: "\n".join(known))


@namespace.command("add", short_help="Note a namespace")
@click.argument("name")
@pass_session
def add_namespace(session: Session, name: str) -> None:
    """Note the namespace NAME for this environment."""
    Namespaces(session.config, session.environment.name).add(name)


@namespace.command("remove", short_help="Forget a namespace")
@click.argument("name")
@pass_session
def remove_namespace(session: Session, name: str) -> None:
    """Forget the namespace NAME; nothing on the server changes."""
    Namespaces(session.config, session.environment.name).remove(name)


@user.group("set", cls=MicroGroup, short_help="Change the password")
def change() -> None:
    """Change something of your account."""


@change.command("password", short_help="Change the password")
@click.option("--email", "--username", "name", default="", metavar="NAME", help="Whose; yours if not given.")
@click.option(
    "--old-password", "--old_password", "old", default="", metavar="SECRET", help="The present one."
)
@click.option(
    "--new-password", "--new_password", "new", default="", metavar="SECRET", help="The one to come."
)
@pass_session
def password(session: Session, name: str, old: str, new: str) -> None:
    """Change a password; what is not given is asked for."""
    from microd.wire.auth_pb2 import ChangeSecretRequest, ChangeSecretResponse, Options

    own = session.credentials.holder()
    name = name or session.login.user
    if not name:
        raise CommandFailed("Not logged in", NOT_AUTHORIZED, remedy="Run `micro login`.")
    mine = own is not None and name == own.account
    namespace = own.namespace if own is not None and mine else session.namespace
    old = old or session.terminal.ask("Enter current password: ", hidden=True)
    new = new or _new_password(session)
    request = ChangeSecretRequest(
        id=name, old_secret=old, new_secret=new, options=Options(namespace=namespace)
    )
    session.remote.unary("/auth.Accounts/ChangeSecret", request, ChangeSecretResponse)
    if own is not None and mine:
        _stay(session, own, new)


def _stay(session: Session, holder: Holder, secret: str) -> None:
    """Stay logged in: all tokens of before the change are void."""
    try:
        token = session.issuer.by_secret(holder.account, secret, holder.namespace)
    except CommandFailed:
        session.tokens.forget(holder)
    else:
        session.tokens.save(holder, token)


def _new_password(session: Session) -> str:
    while True:
        new = session.terminal.ask("Enter a new password: ", hidden=True)
        if not session.terminal.interactive or new == session.terminal.ask(
            "Verify your password: ", hidden=True
        ):
            return new
        session.tell("Passwords do not match. Please try again.")


def _token(session: Session) -> str:
    found = session.credentials.token()
    if not found:
        raise CommandFailed("Not logged in", NOT_AUTHORIZED, remedy="Run `micro login`.")
    return found


def _name_or_nothing(session: Session) -> str:
    """Who is logged in; settings are shown where the server is down, too."""
    try:
        token = session.credentials.token()
        account = session.issuer.account(token, session.namespace) if token else None
    except CommandFailed:
        return session.login.user
    return (account.name or account.id) if account else ""


def _require(key: str) -> None:
    if not key.strip("."):
        raise CommandFailed("key cannot be blank")
