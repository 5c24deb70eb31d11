"""C{micro store}."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from microd.cli.counts import Count
from microd.cli.durations import seconds_from
from microd.cli.failure import FAILED, CommandFailed
from microd.cli.layout import spaced
from microd.cli.lazy import MicroGroup, pass_session
from microd.cli.session import Session

if TYPE_CHECKING:
    from microd.wire.store_pb2 import ReadRequest, Record

_DATABASE = click.option(
    "--database", "-d", default="", metavar="NAME", help="The database; the current namespace by default."
)
_TABLE = click.option("--table", "-t", default="micro", show_default=True, metavar="NAME", help="The table.")
_LIMIT = click.option("--limit", "-l", default=0, type=Count(), metavar="N", help="At most so many.")
_OFFSET = click.option("--offset", "-o", default=0, type=Count(), metavar="N", help="Leave out the first.")
_ORDER = click.option(
    "--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True, help="By key."
)
_OUTPUT = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NANOSECONDS = 1_000_000_000


_AFTER = click.option(
    "--after", default="", metavar="KEY", help="Go on after this key, in the order asked for."
)
_IF_VERSION = click.option(
    "--if-version",
    default=None,
    type=Count(),
    metavar="N",
    help="Only if the record has this version now; 0: only if there is none.",
)
_STORE = click.option(
    "--store", "service", default="store", metavar="NAME", help="The service which is asked."
)

_TABLE_OF_COMMANDS = {
    "blob": ("microd.cli.commands.blob:blob", "Read and write blobs"),
    "snapshot": ("microd.cli.commands.snapshot:snapshot", "Copy records to a file"),
    "restore": ("microd.cli.commands.snapshot:restore", "Put the records of a snapshot back"),
}
#: How many records, and keys, are asked for at once.
PAGE = 500


@click.group(
    cls=MicroGroup, refused=FAILED, table=_TABLE_OF_COMMANDS, short_help="Read and write records and blobs"
)
def store() -> None:
    """Read and write the records of a namespace, and its blobs."""


@store.command("read", short_help="Print the values of records")
@click.argument("key", default="")
@_DATABASE
@_TABLE
@click.option("--prefix", "-p", is_flag=True, help="Every record whose key begins with KEY.")
@click.option("--suffix", "-s", is_flag=True, help="Every record whose key ends with KEY.")
@_LIMIT
@_OFFSET
@_AFTER
@_ORDER
@click.option("--verbose", "-v", is_flag=True, help="Show keys and expiry as well.")
@_OUTPUT
@pass_session
def read(
    session: Session,
    key: str,
    database: str,
    table: str,
    prefix: bool,
    suffix: bool,
    limit: int,
    offset: int,
    after: str,
    order: str,
    verbose: bool,
    output: str,
) -> None:
    """Print the value of the record KEY, or those of many."""
    from microd.wire.store_pb2 import ReadOptions, ReadRequest

    if not key and not (prefix or suffix):
        raise CommandFailed("Key arg is required", remedy="Write `micro store read KEY`.")
    options = ReadOptions(
        database=database or session.namespace,
        table=table,
        prefix=prefix,
        suffix=suffix,
        limit=limit,
        offset=offset,
        after=after,
        order=order,
    )
    if output == "json":
        session.choose(json=True)
    records = _records(session, ReadRequest(key=key, options=options))
    first = next(records, None)
    if first is None:
        raise _missing()
    found = chain([first], records)
    if session.json:
        session.answer_list(map(_plain, found))
    elif verbose:
        rows = [(record.key, _printable(record.value), _expiry(record.expiry)) for record in found]
        session.say(spaced([("KEY", "VALUE", "EXPIRY"), *rows]))
    else:
        for record in found:
            session.say(record.value.decode(errors="replace"))


@store.command("write", short_help="Keep a record")
@click.argument("key", default="")
@click.argument("words", nargs=-1)
@_DATABASE
@_TABLE
@click.option("--expiry", "-e", default="", metavar="DURATION", help="Forget it after so long, such as 5m.")
@_IF_VERSION
@pass_session
def write(
    session: Session,
    key: str,
    words: tuple[str, ...],
    database: str,
    table: str,
    expiry: str,
    if_version: int | None,
) -> None:
    """Keep VALUE under KEY: micro store write KEY VALUE. Words are joined with spaces."""
    from microd.wire.store_pb2 import Record, WriteOptions, WriteRequest, WriteResponse

    if not key or not words:
        raise CommandFailed("Key and Value args are required", remedy="Write `micro store write KEY VALUE`.")
    request = WriteRequest(
        record=Record(key=key, value=" ".join(words).encode(), expiry=_seconds(expiry)),
        options=WriteOptions(database=database or session.namespace, table=table, if_version=if_version),
    )
    found = session.remote.unary("/store.Store/Write", request, WriteResponse)
    session.answer({"version": found.version}, lambda: "")


@store.command("list", short_help="Print the keys")
@click.argument("start", default="")
@_DATABASE
@_TABLE
@click.option(
    "--prefix", "-p", is_flag=True, help="Only keys that begin with PREFIX; so it is without the flag."
)
@click.option("--suffix", "-s", default="", metavar="END", help="Only keys that end with it.")
@_LIMIT
@_OFFSET
@_AFTER
@_ORDER
@_OUTPUT
@pass_session
def list_keys(
    session: Session,
    start: str,
    database: str,
    table: str,
    prefix: bool,
    suffix: str,
    limit: int,
    offset: int,
    after: str,
    order: str,
    output: str,
) -> None:
    """Print the keys: micro store list [PREFIX]."""
    from microd.wire.store_pb2 import ListOptions, ListRequest, ListResponse

    options = ListOptions(
        database=database or session.namespace,
        table=table,
        prefix=start,
        suffix=suffix,
        limit=limit,
        offset=offset,
        after=after,
        order=order,
    )
    pieces = session.remote.stream("/store.Store/List", ListRequest(options=options), ListResponse)
    keys = (key for piece in pieces for key in piece.keys)
    if output == "json":
        session.choose(json=True)
    if session.json:
        session.answer_list(keys)
        return
    for key in keys:
        session.say(key)


@store.command("delete", short_help="Take a record out")
@click.argument("key", default="")
@_DATABASE
@_TABLE
@_IF_VERSION
@pass_session
def delete(session: Session, key: str, database: str, table: str, if_version: int | None) -> None:
    """Take the record KEY out."""
    from microd.wire.store_pb2 import DeleteOptions, DeleteRequest, DeleteResponse

    if not key:
        raise CommandFailed("Key is required", remedy="Write `micro store delete KEY`.")
    options = DeleteOptions(database=database or session.namespace, table=table, if_version=if_version)
    session.remote.unary("/store.Store/Delete", DeleteRequest(key=key, options=options), DeleteResponse)


@store.command("databases", short_help="Print the databases")
@_STORE
@pass_session
def databases(session: Session, service: str) -> None:
    """Print the databases which hold a record."""
    from microd.wire.store_pb2 import DatabasesRequest, DatabasesResponse

    found = session.remote.unary(f"/{service}.Store/Databases", DatabasesRequest(), DatabasesResponse)
    session.answer(list(found.databases), lambda: "\n".join(found.databases))


@store.command("tables", short_help="Print the tables of a database")
@_DATABASE
@_STORE
@pass_session
def tables(session: Session, database: str, service: str) -> None:
    """Print the tables of a database which hold a record."""
    from microd.wire.store_pb2 import TablesRequest, TablesResponse

    request = TablesRequest(database=database or session.namespace)
    found = session.remote.unary(f"/{service}.Store/Tables", request, TablesResponse)
    session.answer(list(found.tables), lambda: "\n".join(found.tables))


def _records(session: Session, request: ReadRequest) -> Iterator[Record]:
    """The records which are asked for, page after page, so that there may be any number of them."""
    from microd.wire.store_pb2 import ReadResponse

    options, limit = request.options, request.options.limit
    many = options.prefix or options.suffix
    left = limit
    while True:
        if many:
            options.partial, options.limit = True, min(left, PAGE) if limit else PAGE
        try:
            page = session.remote.unary("/store.Store/Read", request, ReadResponse)
        except CommandFailed as error:
            raise (_missing() if error.sentence.lower() == "not found" else error) from error
        yield from page.records
        left -= len(page.records)
        if not page.next or (limit and left <= 0):
            return
        options.after, options.offset = page.next, 0


def _missing() -> CommandFailed:
    return CommandFailed("Not found")


def _seconds(expiry: str) -> int:
    """Whole seconds, since the store keeps no less; what is shorter lasts one."""
    if not expiry:
        return 0
    try:
        return max(1, round(seconds_from(expiry)))
    except ValueError as error:
        raise CommandFailed(f"Expiry flag is invalid: {error}") from error


def _plain(record: Record) -> dict[str, Any]:
    return {
        "key": record.key,
        "value": binascii.b2a_base64(record.value, newline=False).decode(),
        "metadata": {name: field.value for name, field in sorted(record.metadata.items())},
        "expiry": record.expiry * _NANOSECONDS,
        "version": record.version,
    }


def _printable(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() else value[:20].hex()


def _expiry(seconds: int) -> str:
    from microd.cli.layout import age

    return f"{age(seconds)} from now" if seconds else "None"
