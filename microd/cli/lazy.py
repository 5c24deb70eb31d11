"""Commands and groups of C{micro}: found by name, loaded when they run, with the flags that all have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from microd.cli.failure import FAILED, MALFORMED, REFUSED, CommandFailed
from microd.cli.session import Session

#: Name to where it is (C{module:attribute}) and what it does, so that help loads nothing.
Table = Mapping[str, tuple[str, str]]

pass_session = click.make_pass_decorator(Session)


def _choose(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        context.ensure_object(Session).choose(**{parameter.name or "": value})


def common_flags(taken: Sequence[click.Parameter]) -> list[click.Parameter]:
    """C{--json}, C{--env} and C{--namespace}, but for names that a command uses itself."""
    used = {name for parameter in taken for name in parameter.opts}
    flags: list[click.Parameter] = []
    for names, extra in (
        (("--json",), {"is_flag": True, "help": "Answer in JSON."}),
        (("--env", "-e"), {"metavar": "NAME", "help": "Environment to use, instead of the current one."}),
        (("--namespace",), {"metavar": "NAME", "help": "Namespace to work in, instead of the current one."}),
    ):
        free = [name for name in names if name not in used]
        if free and free[0].startswith("--"):
            flags.append(click.Option(free, expose_value=False, callback=_choose, **extra))
    return flags


def go_style(args: Sequence[str], known: Sequence[click.Parameter]) -> list[str]:
    """Let C{-env=x} mean C{--env=x}, as it does in the reference."""
    names = {name for parameter in known for name in parameter.opts}
    found: list[str] = []
    for place, word in enumerate(args):
        if word == "--":
            return [*found, *args[place:]]
        name = word.partition("=")[0]
        single = len(name) > 2 and name[0] == "-" and name[1] != "-" and name not in names
        found.append(f"-{word}" if single and f"-{name}" in names else word)
    return found


class MicroCommand(click.Command):
    """A command; its flags may stand anywhere, with one dash or two.

    @param refused: the exit code for a call that the server refused.
    """

    def __init__(self, *args: Any, refused: int = REFUSED, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refused = refused
        self.params = [*self.params, *common_flags(self.params)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, go_style(args, self.get_params(ctx)))

    def invoke(self, ctx: click.Context) -> Any:
        with _refusals(self._refused):
            return super().invoke(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _title(self, ctx, formatter)
        super().format_help(ctx, formatter)


class MicroGroup(click.Group):
    """A group whose commands are loaded when they run.

    @param table: the commands that are elsewhere.
    @param misses: the exit code for a name that the group does not have.
    @param refused: the exit code for a call that the server refused.
    @param alone: whether the group does something without a command; else it shows its help.
    """

    command_class = MicroCommand

    def __init__(
        self,
        *args: Any,
        table: Table | None = None,
        misses: int = FAILED,
        refused: int = REFUSED,
        alone: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("invoke_without_command", True)
        if not alone:
            kwargs["callback"] = _help_where_alone
        super().__init__(*args, **kwargs)
        self._table = table or {}
        self._misses = misses
        self._refused = refused
        self.params = [*self.params, *common_flags(self.params)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._table})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return self.commands.get(cmd_name)
        module, _, attribute = self._table[cmd_name][0].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, go_style(args, self.get_params(ctx)))

    def invoke(self, ctx: click.Context) -> Any:
        with _refusals(self._refused):
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise self.missed(ctx, args[0])
        return args[0], command, args[1:]

    def missed(self, ctx: click.Context, name: str) -> CommandFailed:
        """What to say about a name that the group does not have."""
        if self._misses == MALFORMED:
            return CommandFailed(
                f"No help topic for '{name}'", MALFORMED, remedy=f"See `{ctx.command_path} --help`."
            )
        return CommandFailed(
            f"Unrecognized subcommand for {ctx.command_path}: {name}. "
            f"Please refer to '{ctx.command_path} --help'",
            self._misses,
        )

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _title(self, ctx, formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            listed = self._table.get(name)
            rows.append((name, listed[1] if listed else self.commands[name].get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@contextmanager
def _refusals(code: int) -> Iterator[None]:
    """Let what the server refused end with this exit code, and nothing be wrong where nobody reads on, as C{head} does."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(0) from None
    except CommandFailed as failure:
        if failure.code == REFUSED:
            failure.code = code
        raise


@click.pass_context
def _help_where_alone(context: click.Context) -> None:
    """What a group does which has no command of its own."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _title(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The first line of help: the command and what it does."""
    formatter.write(f"{ctx.command_path} - {command.get_short_help_str(100)}\n\n")
