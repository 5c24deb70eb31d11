"""The store on the wire: spec 6.2 and Appendix A. An expiry there is in seconds from now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import time

from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, NotFound, TooLarge
from microd.services.store import rules
from microd.services.store.interface import IStore, MustWait
from microd.services.store.model import Act, Check, Drop, Field, Limits, Put, Query, Record
from microd.wire import store_pb2 as pb

DEFAULT_TABLE = "micro"

#: How many keys one message of C{List} carries.
KEYS_AT_ONCE = 1000

#: How many records can be read by their keys at once; each takes the reactor some microseconds.
READ_AT_ONCE = 256


def endpoints(store: IStore, now: Callable[[], float] = time) -> list[Endpoint]:
    """What the store answers."""
    wire = StoreWire(store, now)
    path = "/store.Store/"
    return [
        Endpoint(path + "Read", pb.ReadRequest, pb.ReadResponse, wire.read, at_once=wire.read_at_once),
        Endpoint(path + "Write", pb.WriteRequest, pb.WriteResponse, wire.write),
        Endpoint(path + "Delete", pb.DeleteRequest, pb.DeleteResponse, wire.delete),
        Endpoint(path + "Batch", pb.BatchRequest, pb.BatchResponse, wire.batch),
        Endpoint(path + "List", pb.ListRequest, pb.ListResponse, wire.list, server_streaming=True),
        Endpoint(path + "Databases", pb.DatabasesRequest, pb.DatabasesResponse, wire.databases),
        Endpoint(path + "Tables", pb.TablesRequest, pb.TablesResponse, wire.tables),
    ]


class StoreWire:
    """Turns messages into questions to the store, and its answers into messages."""

    def __init__(self, store: IStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        options = request.options
        database, table = _place(options.database, options.table, caller)
        if _is_exact(options):
            found = await self._store.read_one(database, table, request.key)
            if found is None:
                raise NotFound("not found")
            reply = pb.ReadResponse()
            self._fill(reply.records.add(), found)
            return reply
        if options.keys:
            return await self._read_many(database, table, options)
        page = await self._store.page(database, table, _query_from(request))
        if not options.partial:
            rules.whole(page)
        reply = pb.ReadResponse(next=page.next)
        for record in page.records:
            self._fill(reply.records.add(), record)
        return reply

    async def _read_many(self, database: str, table: str, options: pb.ReadOptions) -> pb.ReadResponse:
        """The records under some keys; where they are cut off, C{next} is the last key that was looked at."""
        if len(options.keys) > READ_AT_ONCE:
            raise BadRequest(f"options.keys may have at most {READ_AT_ONCE} keys")
        budget, last = rules.Budget(Limits().answer), ""
        reply = pb.ReadResponse()
        for key in options.keys:
            found = await self._store.read_one(database, table, key)
            if found is not None:
                if not budget.has_room(len(key) + len(found.value)) and reply.records:
                    if not options.partial:
                        raise TooLarge(rules.TOO_LARGE)
                    reply.next = last
                    return reply
                self._fill(reply.records.add(), found)
            last = key
        return reply

    def read_at_once(self, request: pb.ReadRequest, caller: Caller) -> bytes | None:
        """The reply to who asks for one key; its bytes are kept beside the record, unless they change with time."""
        database = table = ""
        if request.HasField("options"):
            options = request.options
            if not _is_exact(options):
                return None
            database, table = options.database, options.table
        try:
            kept = self._store.glance(*_place(database, table, caller), request.key)
        except MustWait:
            return None
        if kept is None:
            raise NotFound("not found")
        shown = kept.shown
        if not shown:
            reply = pb.ReadResponse()
            self._fill(reply.records.add(), kept.record)
            shown = reply.SerializeToString()
            if kept.record.expiry is None:
                kept.shown = shown
        return shown

    async def write(self, request: pb.WriteRequest, caller: Caller) -> pb.WriteResponse:
        database = table = ""
        wanted = None
        if request.HasField("options"):
            options = request.options
            database, table = options.database, options.table
            wanted = options.if_version if options.HasField("if_version") else None
        database, table = _place(database, table, caller)
        record = request.record
        if not record.key:
            raise BadRequest("key required" if request.HasField("record") else "no record specified")
        version = await self._store.begin_write(database, table, self._record_from(record), if_version=wanted)
        return pb.WriteResponse(version=version)

    async def delete(self, request: pb.DeleteRequest, caller: Caller) -> pb.DeleteResponse:
        options = request.options
        database, table = _place(options.database, options.table, caller)
        wanted = options.if_version if options.HasField("if_version") else None
        await self._store.delete(database, table, request.key, if_version=wanted)
        return pb.DeleteResponse()

    async def batch(self, request: pb.BatchRequest, caller: Caller) -> pb.BatchResponse:
        options = request.options
        database, table = _place(options.database, options.table, caller)
        if not request.acts:
            raise BadRequest("no acts specified")
        acts = [
            self._act_from(number, act, database, act.table or table)
            for number, act in enumerate(request.acts)
        ]
        return pb.BatchResponse(versions=await self._store.apply(acts))

    async def list(self, request: pb.ListRequest, caller: Caller) -> AsyncIterator[pb.ListResponse]:
        """Piece by piece, each as of its own moment; a key that was there all the time comes exactly once."""
        options = request.options
        database, table = _place(options.database, options.table, caller)
        left, offset, after = options.limit, options.offset, options.after
        while True:
            most = min(left, KEYS_AT_ONCE) if options.limit else KEYS_AT_ONCE
            # One more tells whether there are any.
            query = Query(options.prefix, options.suffix, options.order == "desc", most + 1, offset, after)
            keys = await self._store.list(database, table, query)
            left -= most
            ends = len(keys) <= most
            is_cut = not ends and options.limit > 0 and left == 0
            keys = keys[:most]
            yield pb.ListResponse(keys=keys, next=keys[-1] if is_cut else "")
            if ends or is_cut:
                return
            offset, after = 0, keys[-1]

    async def databases(self, request: pb.DatabasesRequest, caller: Caller) -> pb.DatabasesResponse:
        require_admin(caller, DEFAULT_NAMESPACE)
        return pb.DatabasesResponse(databases=await self._store.databases())

    async def tables(self, request: pb.TablesRequest, caller: Caller) -> pb.TablesResponse:
        database = request.database or DEFAULT_NAMESPACE
        require_admin(caller, database)
        return pb.TablesResponse(tables=await self._store.tables(database))

    def _fill(self, message: pb.Record, record: Record) -> None:
        message.key = record.key
        message.value = record.value
        message.version = record.version
        if record.expiry is not None:
            # Zero would say that it stays.
            message.expiry = max(1, int(record.expiry - self._now()))
        for name, said in record.metadata.items():
            message.metadata[name].type = said.type
            message.metadata[name].value = said.value

    def _act_from(self, number: int, message: pb.Act, database: str, table: str) -> Act:
        wanted = message.if_version if message.HasField("if_version") else None
        match message.WhichOneof("act"):
            case "put":
                if not message.put.key:
                    raise BadRequest(f"acts[{number}]: key required")
                return Put(database, table, self._record_from(message.put), wanted)
            case "drop":
                return Drop(database, table, message.drop, wanted)
            case "check":
                if wanted is None:
                    raise BadRequest(f"acts[{number}]: a check needs if_version")
                return Check(database, table, message.check, wanted)
        raise BadRequest(f"acts[{number}]: put, drop or check is to be given")

    def _record_from(self, message: pb.Record) -> Record:
        seconds = message.expiry
        if seconds < 0:
            raise BadRequest("a record's expiry is in the past")
        expiry = self._now() + seconds if seconds else None
        said = message.metadata
        if not said:
            return Record(message.key, message.value, expiry)
        fields = {name: Field(each.type or "string", each.value) for name, each in said.items()}
        return Record(message.key, message.value, expiry, fields)


def _is_exact(options: pb.ReadOptions) -> bool:
    """Whether one key is asked for."""
    return not (options.prefix or options.suffix or options.key_prefix or options.key_suffix or options.keys)


def _query_from(request: pb.ReadRequest) -> Query:
    options, key = request.options, request.key
    if options.key_prefix or options.key_suffix:
        if key:
            raise BadRequest("key is to be empty where key_prefix or key_suffix is given")
        prefix, suffix = options.key_prefix, options.key_suffix
    else:
        prefix, suffix = key if options.prefix else "", key if options.suffix else ""
    return Query(prefix, suffix, options.order == "desc", options.limit, options.offset, options.after)


def _place(database: str, table: str, caller: Caller) -> tuple[str, str]:
    """Where the caller, who must administer the namespace, wants to go."""
    namespace = database or DEFAULT_NAMESPACE
    require_admin(caller, namespace)
    return namespace, table or DEFAULT_TABLE
