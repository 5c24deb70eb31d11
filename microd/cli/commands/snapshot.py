"""C{micro store snapshot} and C{micro store restore}."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import click

from microd.cli.failure import FAILED, CommandFailed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.session import Session
from microd.cli.wholefile import STANDARD, source_file, target, whole_file

if TYPE_CHECKING:
    from microd.cli.snapshots import Row, Snapshot, SnapshotWriter
    from microd.wire.store_pb2 import Act, Record

#: The records of one answer, and the records and about the bytes of one batch.
PAGE, ACTS, BYTES = 500, 500, 4 << 20
#: A batch is one transaction; a slow disk may take its time.
PATIENCE = 60.0

_DATABASE = click.option(
    "--database", "-d", default="", metavar="NAME", help="The database; the current namespace by default."
)
_TABLE = click.option("--table", "-t", default="", metavar="NAME", help="This table only; all by default.")


@click.command(cls=MicroCommand, refused=FAILED, short_help="Copy records to a file")
@_DATABASE
@_TABLE
@click.option(
    "--destination",
    default="",
    envvar="MICRO_SNAPSHOT_DESTINATION",
    metavar="FILE",
    help="The file, or - for standard output; store-snapshot in the temporary folder by default.",
)
@pass_session
def snapshot(session: Session, database: str, table: str, destination: str) -> None:
    """Copy records to a file of JSON lines, while the store goes on working.

    Every record is whole, with its metadata, its expiry and its table, as it was at some moment of the run. Records which
    are written meanwhile may be in it or not: for the picture of one moment, let nobody write. Blobs are not in it.
    """
    from microd.cli.snapshots import SnapshotWriter

    database = database or session.namespace
    tables = [table] if table else _tables(session, database)
    with _destination(destination) as (file, name):
        writer = SnapshotWriter(file, database, tables, int(session.now()))
        for each in tables:
            _copy(session, writer, database, each)
        writer.end()
    session.tell(f"{writer.count} records of {database} are in {name}.")
    if session.json and destination != STANDARD:
        session.answer({"database": database, "records": writer.count, "file": name}, str)


@click.command(cls=MicroCommand, refused=FAILED, short_help="Put the records of a snapshot back")
@_DATABASE
@_TABLE
@click.option(
    "--source",
    default="",
    envvar="MICRO_SNAPSHOT_SOURCE",
    metavar="FILE",
    help="The file, or - for standard input; store-snapshot in the temporary folder by default.",
)
@pass_session
def restore(session: Session, database: str, table: str, source: str) -> None:
    """Put the records of a snapshot back, once it is known to be whole.

    A record of the snapshot replaces the one which is there; other records stay. Restoring twice does the same as once.
    What has expired since is left out.
    """
    from microd.cli.snapshots import Snapshot

    with source_file(source or _own(_default())) as given, _rewindable(given) as file:
        found = Snapshot(file)
        for _ in found.rows():
            pass
        file.seek(0)
        found = Snapshot(file)
        database = _database(session, found, database)
        if table and table not in found.tables:
            raise CommandFailed(
                f"The snapshot has no table {table}", remedy=f"It has {', '.join(found.tables)}."
            )
        rows = (row for row in found.rows() if table in ("", row.table))
        put, late = _put(session, rows, database)
    expired = f"; {late} have expired since" if late else ""
    session.tell(f"{put} records are in {database}{expired}.")
    session.answer({"database": database, "records": put, "expired": late}, str)


def _tables(session: Session, database: str) -> list[str]:
    from microd.wire.store_pb2 import TablesRequest, TablesResponse

    request = TablesRequest(database=database)
    return list(session.remote.unary("/store.Store/Tables", request, TablesResponse).tables)


def _copy(session: Session, writer: SnapshotWriter, database: str, table: str) -> None:
    """Write the records of a table, page after page."""
    from microd.wire.store_pb2 import ReadOptions, ReadRequest, ReadResponse

    options = ReadOptions(database=database, table=table, prefix=True, limit=PAGE, partial=True)
    remote = session.remote
    while True:
        now = int(session.now())
        page = remote.unary("/store.Store/Read", ReadRequest(options=options), ReadResponse, timeout=PATIENCE)
        for record in page.records:
            writer.add(_row(table, record, now))
        if not page.next:
            return
        options.after = page.next


def _row(table: str, record: Record, now: int) -> Row:
    from microd.cli.snapshots import Row

    said = {name: (each.type, each.value) for name, each in sorted(record.metadata.items())}
    return Row(table, record.key, record.value, now + record.expiry if record.expiry else 0, said)


def _database(session: Session, found: Snapshot, named: str) -> str:
    """Where the records go; never from one database to another unless that was said."""
    wanted = named or session.namespace
    if not named and wanted != found.database:
        raise CommandFailed(
            f"The snapshot is of the database {found.database}, and you work in {wanted}",
            remedy=f"Give --database {wanted} to have its records there.",
        )
    return wanted


def _put(session: Session, rows: Iterable[Row], database: str) -> tuple[int, int]:
    """Put records, batch after batch; how many, and how many had expired."""
    from microd.wire.store_pb2 import Act

    batch: list[Act] = []
    size = put = late = 0
    for row in rows:
        left = row.expires - int(session.now()) if row.expires else 0
        if row.expires and left <= 0:
            late += 1
            continue
        act = Act(table=row.table)
        act.put.key, act.put.value, act.put.expiry = row.key, row.value, left
        for name, (kind, text) in row.metadata.items():
            act.put.metadata[name].type, act.put.metadata[name].value = kind, text
        if batch and (len(batch) == ACTS or size + act.ByteSize() > BYTES):
            put += _send(session, batch, database, put)
            batch, size = [], 0
        batch.append(act)
        size += act.ByteSize()
    if batch:
        put += _send(session, batch, database, put)
    return put, late


def _send(session: Session, acts: list[Act], database: str, before: int) -> int:
    from microd.wire.store_pb2 import BatchOptions, BatchRequest, BatchResponse

    request = BatchRequest(acts=acts, options=BatchOptions(database=database))
    try:
        session.remote.unary("/store.Store/Batch", request, BatchResponse, timeout=PATIENCE)
    except CommandFailed as error:
        raise CommandFailed(
            f"{error.sentence} (after {before} records)",
            error.code,
            remedy=error.remedy or "Restore again when that is mended.",
        ) from error
    return len(acts)


def _default() -> str:
    import tempfile

    return f"{tempfile.gettempdir()}/store-snapshot"


def _own(path: str) -> str:
    """A file in a folder that all may write to is taken only from ourselves."""
    import os

    try:
        if os.lstat(path).st_uid != os.geteuid():
            raise CommandFailed(f"{path} belongs to somebody else", remedy="Give --source to restore it.")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}", remedy="Give --source.") from error
    return path


@contextmanager
def _destination(path: str) -> Iterator[tuple[BinaryIO, str]]:
    """Where a snapshot goes, and what it is called."""
    import os

    if path == STANDARD:
        stream = sys.stdout.buffer
        yield stream, "the output"
        stream.flush()
        return
    file = target(path or _default())
    with whole_file(file, file.with_name(f".{file.name}.{os.getpid()}")) as opened:
        yield opened, str(file)


@contextmanager
def _rewindable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The same, to be read twice: what is no file is first copied to one without a name."""
    import shutil
    import tempfile

    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.seek(0)
        yield copy
