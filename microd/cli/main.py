"""The way in: from the words on the command line to an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from microd.cli.address import Address
from microd.cli.failure import FAILED, INTERRUPTED, OTHER, CommandFailed
from microd.cli.remote import IChannel
from microd.cli.root import root
from microd.cli.session import Session


class _Terminal:
    """The terminal of the process, or its standard input where there is none."""

    @property
    def interactive(self) -> bool:
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self, prompt: str, *, hidden: bool = False) -> str:
        if not self.interactive:
            return sys.stdin.readline().rstrip("\n") if sys.stdin else ""
        answer: str = click.prompt(prompt.rstrip(": "), hide_input=hidden, err=True)
        return answer


def _connect(address: Address) -> IChannel:
    from microd.txgrpc.blocking import BlockingChannel

    return BlockingChannel(str(address), tls=address.tls)


def main() -> NoReturn:
    """Run C{micro} as a process, and end it.

    It ends at once: all is written and closed by then, and to take apart what was imported would cost an eighth of the
    time which C{micro services} takes.
    """
    session = Session(os.environ, connect=_connect, terminal=_Terminal())
    code = run(sys.argv[1:], session)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as error:
        # Whoever read our answer may have gone, which is no failure of ours; anything else is.
        code = code or (0 if isinstance(error, BrokenPipeError) else FAILED)
    os._exit(code)


def run(arguments: Sequence[str], session: Session) -> int:
    """Carry out a command line; say in one sentence what went wrong.

    @return: the exit code.
    """
    try:
        root.main(list(arguments), prog_name="micro", standalone_mode=False, obj=session)
    except CommandFailed as failure:
        return _fail(failure, session)
    except click.exceptions.Exit as over:
        return over.exit_code
    except click.UsageError as error:
        return _fail(_misused(error), session)
    except click.ClickException as error:
        return _fail(CommandFailed(error.format_message(), FAILED), session)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        return _fail(CommandFailed(what, FAILED), session)
    except Exception as error:
        if session.environ.get("MICRO_DEBUG"):
            raise
        what = f"micro has a defect: {type(error).__name__}: {error}"
        return _fail(CommandFailed(what, OTHER, remedy="Set MICRO_DEBUG=1 to see where."), session)
    finally:
        session.close()
    return 0


def _fail(failure: CommandFailed, session: Session) -> int:
    if session.json:
        told = {"error": failure.sentence, "help": failure.remedy, "exit": failure.code}
        click.echo(json.dumps(told, ensure_ascii=False), err=True)
    else:
        click.echo(failure.text, err=True)
    return failure.code


def _misused(error: click.UsageError) -> CommandFailed:
    """A flag or an argument that the command does not take."""
    sentence = error.format_message()
    if isinstance(error, click.NoSuchOption):
        sentence = f"Flag provided but not defined: {error.option_name}"
        if error.possibilities:
            sentence += f" (did you mean {' or '.join(sorted(error.possibilities))}?)"
    path = error.ctx.command_path if error.ctx else "micro"
    return CommandFailed(sentence, FAILED, remedy=f"See `{path} --help`.")
