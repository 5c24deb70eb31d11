"""The store on the wire: spec 6.2 and Appendix A. An expiry there is in seconds from now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import time

from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, NotFound
from microd.services.store.interface import IStore, MustWait
from microd.services.store.model import Field, Query, Record
from microd.wire import store_pb2 as pb

DEFAULT_TABLE = "micro"

#: How many keys one message of C{List} carries.
KEYS_AT_ONCE = 1000


def endpoints(store: IStore, now: Callable[[], float] = time) -> list[Endpoint]:
    """What the store answers."""
    wire = StoreWire(store, now)
    path = "/store.Store/"
    return [
        Endpoint(path + "Read", pb.ReadRequest, pb.ReadResponse, wire.read, at_once=wire.read_at_once),
        Endpoint(path + "Write", pb.WriteRequest, pb.WriteResponse, wire.write),
        Endpoint(path + "Delete", pb.DeleteRequest, pb.DeleteResponse, wire.delete),
        Endpoint(path + "List", pb.ListRequest, pb.ListResponse, wire.list, server_streaming=True),
        Endpoint(path + "Databases", pb.DatabasesRequest, pb.DatabasesResponse, wire.databases),
        Endpoint(path + "Tables", pb.TablesRequest, pb.TablesResponse, wire.tables),
    ]


#: The same empty answer for all: nobody changes it.
_WRITTEN = pb.WriteResponse()


class StoreWire:
    """Turns messages into questions to the store, and its answers into messages."""

    def __init__(self, store: IStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def read(self, request: pb.ReadRequest, caller: Caller) -> pb.ReadResponse:
        options = request.options
        database, table = _place(options.database, options.table, caller)
        key = request.key
        if options.prefix or options.suffix:
            query = Query(
                prefix=key if options.prefix else "",
                suffix=key if options.suffix else "",
                descending=options.order == "desc",
                limit=options.limit,
                offset=options.offset,
            )
            records = await self._store.read(database, table, query)
            reply = pb.ReadResponse()
            for record in records:
                self._fill(reply.records.add(), record)
            return reply
        found = await self._store.read_one(database, table, key)
        if found is None:
            raise NotFound("not found")
        reply = pb.ReadResponse()
        self._fill(reply.records.add(), found)
        return reply

    def read_at_once(self, request: pb.ReadRequest, caller: Caller) -> bytes | None:
        """The reply to who asks for one key; its bytes are kept beside the record, unless they change with time."""
        database = table = ""
        if request.HasField("options"):
            options = request.options
            if options.prefix or options.suffix:
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
        database, table = _place(request.options.database, request.options.table, caller)
        record = request.record
        if not record.key:
            raise BadRequest("key required" if request.HasField("record") else "no record specified")
        await self._store.write(database, table, self._record_from(record))
        return _WRITTEN

    async def delete(self, request: pb.DeleteRequest, caller: Caller) -> pb.DeleteResponse:
        database, table = _place(request.options.database, request.options.table, caller)
        await self._store.delete(database, table, request.key)
        return pb.DeleteResponse()

    async def list(self, request: pb.ListRequest, caller: Caller) -> AsyncIterator[pb.ListResponse]:
        options = request.options
        database, table = _place(options.database, options.table, caller)
        left = options.limit or None
        query = Query(options.prefix, options.suffix, options.order == "desc", offset=options.offset)
        first = True
        while True:
            most = KEYS_AT_ONCE if left is None else min(left, KEYS_AT_ONCE)
            query = Query(query.prefix, query.suffix, query.descending, most, query.offset, query.after)
            keys = await self._store.list(database, table, query)
            if keys or first:
                yield pb.ListResponse(keys=keys)
            left = None if left is None else left - len(keys)
            if len(keys) < most or left == 0:
                return
            first = False
            query = Query(query.prefix, query.suffix, query.descending, after=keys[-1])

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
        if record.expiry is not None:
            # Zero would say that it stays.
            message.expiry = max(1, int(record.expiry - self._now()))
        for name, said in record.metadata.items():
            message.metadata[name].type = said.type
            message.metadata[name].value = said.value

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


def _place(database: str, table: str, caller: Caller) -> tuple[str, str]:
    """Where the caller, who must administer the namespace, wants to go."""
    namespace = database or DEFAULT_NAMESPACE
    require_admin(caller, namespace)
    return namespace, table or DEFAULT_TABLE
