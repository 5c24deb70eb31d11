"""The word C{micro}: its own flags, and where each command is."""

from __future__ import annotations

import click

from microd import __version__
from microd.cli.failure import FAILED, CommandFailed
from microd.cli.lazy import MicroCommand, MicroGroup, Table
from microd.cli.session import Session

_COMMANDS: Table = {
    name: (f"microd.cli.commands.{place}", summary)
    for name, place, summary in (
        ("auth", "auth:auth", "Manage accounts, rules and tokens"),
        ("broker", "broker:broker", "Publish messages and read them"),
        ("call", "call:call", "Call a service's endpoint with JSON"),
        ("config", "config:config", "Get and set configuration and secrets"),
        ("debug", "debug:debug", "See how services are: health, stats, calls and logs"),
        ("events", "events:events", "Publish events, consume and replay them"),
        ("env", "env:env", "Get and set the environment that micro talks to"),
        ("get", "services:get", "Get one thing in detail"),
        ("kill", "run:kill", "Stop services and forget them"),
        ("login", "login:login", "Log in to the current environment"),
        ("logout", "login:logout", "Log out of the current environment"),
        ("logs", "logs:logs", "Read the output of a service"),
        ("network", "network:network", "Show the network: daemons, routes and services"),
        ("new", "new:new", "Make a folder with a new service"),
        ("run", "run:run", "Run a service from its source"),
        ("server", "server:server", "Run the micro server here"),
        ("services", "services:services", "List the registered services"),
        ("status", "status:status", "Show how the running services are"),
        ("store", "store:store", "Read and write records and blobs"),
        ("stream", "call:stream", "Call a service's streaming endpoint with JSON"),
        ("update", "run:update", "Replace a running service by its present source"),
        ("user", "user:user", "Show who is logged in, and their settings"),
        ("version", "version:version", "Show the version of micro"),
    )
}


class _Root(MicroGroup):
    """Knows that every service is a command, too."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "help":
            return _help
        known = super().get_command(ctx, cmd_name)
        if known is not None or cmd_name.startswith("-"):
            return known
        from microd.cli.dynamic import service_command

        return service_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        formatter.write(
            "\nEvery service is a command, too: `micro greeter --help` shows what greeter can do.\n"
        )


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"micro version {__version__}")
        context.exit()


@click.group(
    cls=_Root,
    alone=True,
    name="micro",
    table={**_COMMANDS, "help": ("", "Show help for a command")},
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
    short_help="Talk to a micro server, and run one",
)
@click.option("-c", "config_file", metavar="FILE", help="Client configuration file. [env: MICRO_CONFIG_FILE]")
@click.option(
    "--version",
    "-v",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
@click.pass_context
def root(context: click.Context, config_file: str | None) -> None:
    """Use `micro [command] --help` to see what a command takes."""
    context.ensure_object(Session).choose(config_file=config_file or "")
    if context.invoked_subcommand is None:
        raise CommandFailed("No command provided to micro. Please refer to 'micro --help'", FAILED)


@click.command(cls=MicroCommand, name="help", short_help="Show help for a command")
@click.argument("words", nargs=-1)
@click.pass_context
def _help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of `micro`, or of the command that WORDS name."""
    place = context.parent
    assert place is not None
    if words and words[0] not in (*_COMMANDS, "help"):
        from microd.cli.dynamic import service_command

        context.invoke(service_command(words[0]), arguments=(*words[1:], "--help"))
        return
    for word in words:
        if not isinstance(place.command, click.Group):
            break
        command = place.command.get_command(place, word)
        if command is None:
            raise CommandFailed(f"No help topic for '{word}'", 3)
        place = click.Context(command, parent=place, info_name=word)
    click.echo(place.command.get_help(place))
