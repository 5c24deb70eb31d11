"""C{micro server}: the same as C{twistd -n micro}."""

from __future__ import annotations

import sys

import click

from microd.cli.failure import CommandFailed
from microd.cli.lazy import pass_session
from microd.cli.session import Session

#: twistd's script, without the current folder on the module path: what lies there is not the daemon's.
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


@click.command(
    short_help="Run the micro server here",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@pass_session
def server(session: Session, options: tuple[str, ...]) -> None:
    """Run the micro server in the foreground, as `twistd -n micro` does; the options are the daemon's."""
    if words := [option for option in options[:1] if not option.startswith("-")]:
        raise CommandFailed(
            f"micro server takes options only, not {words[0]}", remedy="See `micro server --help`."
        )
    if "--help" in options:
        session.say("micro server - Run the micro server here\n")
        sys.stdout.flush()
    session.execute(sys.executable, server_command(sys.executable, options))


def server_command(python: str, options: tuple[str, ...]) -> list[str]:
    """The daemon's command line. It has no pid file: its data folder keeps a second daemon away."""
    return [python, "-P", "-c", _TWISTD, "--nodaemon", "--pidfile=", "micro", *options]
