"""C{micro config}."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from microd.cli.counts import Count
from microd.cli.failure import CommandFailed
from microd.cli.layout import spaced
from microd.cli.lazy import MicroCommand, MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.config_pb2 import Difference, Value, Version

_NEGATIVE = re.compile(r"-[0-9]\S*")
_SECRET = click.option("--secret", "-s", is_flag=True, help="Show secrets.")
_IF_VERSION = click.option(
    "--if-version",
    default=0,
    type=Count(),
    metavar="N",
    help="Only if the config is at this version still.",
)


class _NumbersToo(MicroCommand):
    """Takes C{-5} at the end for a value, since no flag is a digit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and _NEGATIVE.fullmatch(args[-1]) and "--" not in args:
            args = [*args[:-1], "--", args[-1]]
        return super().parse_args(ctx, args)


@click.group(cls=MicroGroup, short_help="Get and set configuration and secrets")
def config() -> None:
    """Get and set the configuration of a namespace: values under dotted keys such as db.pool.size."""


@config.command("set", cls=_NumbersToo, short_help="Set a value")
@click.argument("key", default="")
@click.argument("words", nargs=-1)
@click.option("--secret", "-s", is_flag=True, help="Keep it encrypted, and show it to those only who ask.")
@click.option("--plain", is_flag=True, help="Keep it unencrypted, even in the place of a secret.")
@click.option("--replace", is_flag=True, help="Let an object take the place of what is there, too.")
@_IF_VERSION
@pass_session
def set_value(
    session: Session,
    key: str,
    words: tuple[str, ...],
    secret: bool,
    plain: bool,
    replace: bool,
    if_version: int,
) -> None:
    """Set a value: micro config set KEY VALUE.

    VALUE is JSON, or else a string; words are joined with spaces, and - stands for standard input. An object is merged
    into what is there; anything else takes its place. What takes the place of a secret is encrypted too, unless you add
    --plain.
    """
    from microd.wire.config_pb2 import Options, SetRequest, SetResponse, Value

    if not key or not words:
        raise CommandFailed("missing path or value", remedy="Write `micro config set KEY VALUE`.")
    if secret and plain:
        raise CommandFailed("--secret and --plain exclude each other", remedy="Choose one of them.")
    text = sys.stdin.read().rstrip("\n") if words == ("-",) else " ".join(words)
    request = SetRequest(
        namespace=session.namespace,
        path=key,
        value=Value(data=text if _is_json(text) else json.dumps(text, ensure_ascii=False), format="json"),
        options=Options(secret=secret),
        replace=replace,
        plain=plain,
        if_version=if_version,
    )
    reply = session.remote.unary("/config.Config/Set", request, SetResponse)
    session.answer({"version": reply.version}, lambda: "")


@config.command("get", short_help="Print a value")
@click.argument("key", default="")
@_SECRET
@click.option("--all", is_flag=True, help="The whole configuration; so it is without KEY.")
@click.option("--version", default=0, type=Count(), metavar="N", help="As it was at this version.")
@pass_session
def get(session: Session, key: str, secret: bool, all: bool, version: int) -> None:
    """Print the value at KEY, as JSON unless it is a string."""
    from microd.wire.config_pb2 import GetRequest, GetResponse, Options

    request = GetRequest(
        namespace=session.namespace,
        path="" if all else key,
        options=Options(secret=secret),
        version=version,
    )
    data = session.remote.unary("/config.Config/Get", request, GetResponse).value.data
    if data in ("", "null"):
        raise CommandFailed("Not found")
    session.say(data if session.json else _plain(data))


@config.command("del", short_help="Delete a value")
@click.argument("key", default="")
@_IF_VERSION
@pass_session
def delete(session: Session, key: str, if_version: int) -> None:
    """Delete what is at KEY, and under it."""
    from microd.wire.config_pb2 import DeleteRequest, DeleteResponse

    if not key:
        raise CommandFailed("missing path", remedy="Write `micro config del KEY`.")
    request = DeleteRequest(namespace=session.namespace, path=key, if_version=if_version)
    reply = session.remote.unary("/config.Config/Delete", request, DeleteResponse)
    session.answer({"version": reply.version}, lambda: "")


@config.command("watch", short_help="Print a value, and again when it changes")
@click.argument("key", default="")
@_SECRET
@click.option("--count", "-n", default=0, type=Count(), metavar="N", help="End after so many.")
@pass_session
def watch(session: Session, key: str, secret: bool, count: int) -> None:
    """Print the value at KEY, and each that takes its place, until Ctrl-C. With --json each is one line."""
    from microd.wire.config_pb2 import Options, WatchRequest, WatchResponse

    request = WatchRequest(namespace=session.namespace, path=key, options=Options(secret=secret))
    try:
        for number, found in enumerate(
            session.remote.stream("/config.Config/Watch", request, WatchResponse), 1
        ):
            data = found.value.data
            if session.json:
                gone = "true" if found.deleted else "false"
                session.say(f'{{"version":{found.version},"deleted":{gone},"value":{data}}}')
            else:
                session.say("(nothing)" if found.deleted else _plain(data))
            if number == count:
                return
    except KeyboardInterrupt:
        return


@config.command("history", short_help="Show who changed what, and when")
@click.argument("key", default="")
@_SECRET
@click.option("--limit", "-l", default=20, show_default=True, type=Count(1, 1000), metavar="N")
@click.option("--before", default=0, type=Count(), metavar="N", help="Only older versions.")
@pass_session
def history(session: Session, key: str, secret: bool, limit: int, before: int) -> None:
    """Show the versions of the configuration, the newest first; with KEY, those which changed something there."""
    from microd.wire.config_pb2 import HistoryRequest, HistoryResponse, Options

    request = HistoryRequest(
        namespace=session.namespace, path=key, options=Options(secret=secret), limit=limit, before=before
    )
    found = session.remote.unary("/config.Config/History", request, HistoryResponse)
    session.answer([_described(each) for each in found.versions], lambda: _table(list(found.versions)))
    if found.more:
        session.tell(f"There are older ones: add --before {found.versions[-1].number}")


@config.command("rollback", short_help="Go back to a version")
@click.argument("version", type=Count(1))
@_IF_VERSION
@pass_session
def rollback(session: Session, version: int, if_version: int) -> None:
    """Make the configuration what it was at VERSION; that is a new version. See `micro config history`.

    What was no secret then is none afterwards.
    """
    from microd.wire.config_pb2 import RollbackRequest, RollbackResponse

    request = RollbackRequest(namespace=session.namespace, version=version, if_version=if_version)
    made = session.remote.unary("/config.Config/Rollback", request, RollbackResponse).version
    session.answer({"version": made}, lambda: f"Version {made} is what version {version} was.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return False
    return True


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is a word")


def _plain(data: str) -> str:
    """A string as it is; other values as they are written."""
    return str(json.loads(data)) if data.startswith('"') else data


def _table(versions: list[Version]) -> str:
    rows = [("VERSION", "TIME", "ACCOUNT", "ACTION", "CHANGES")]
    for each in versions:
        changes = [_change(made) for made in each.differences] or ["nothing"]
        action = f"{each.action} {each.target}" if each.target else each.action
        rows.append((str(each.number), _moment(each.time), _who(each), action, changes[0]))
        rows.extend(("", "", "", "", change) for change in changes[1:])
    return spaced(rows)


def _change(made: Difference) -> str:
    before, after = _shown(made, "before"), _shown(made, "after")
    return f"{made.path or '(all)'}: {before} -> {after}"


def _shown(made: Difference, side: str, longest: int = 60) -> str:
    if not made.HasField(side):
        return "nothing"
    value: Value = getattr(made, side)
    return value.data if len(value.data) <= longest else value.data[: longest - 3] + "..."


def _described(version: Version) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": version.number,
        "time": _moment(version.time),
        "account": version.account,
        "issuer": version.issuer,
        "action": version.action,
        "path": version.path,
    }
    if version.target:
        found["target"] = version.target
    found["changes"] = [
        {
            "path": made.path,
            **{
                side: json.loads(getattr(made, side).data)
                for side in ("before", "after")
                if made.HasField(side)
            },
        }
        for made in version.differences
    ]
    return found


def _who(version: Version) -> str:
    return f"{version.issuer}/{version.account}"


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
