"""C{micro version}."""

from __future__ import annotations

import click

from microd import __version__
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.session import Session


@click.command(cls=MicroCommand, short_help="Show the version of micro")
@pass_session
def version(session: Session) -> None:
    """Show the version of this program."""
    session.answer({"version": __version__}, lambda: f"micro version {__version__}")
