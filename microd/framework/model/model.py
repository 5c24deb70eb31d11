"""What an author declares."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar, overload

from microd.framework.model.asking import Asking
from microd.framework.model.indexes import Index
from microd.framework.model.layout import Layout
from microd.framework.model.records import BlockingRecords, Records
from microd.framework.store import BlockingStore, Store

T = TypeVar("T")


class Model(Generic[T]):
    """Instances of a dataclass as records in the store, found by indexes::

        @dataclass
        class User:
            id: str
            email: str
            team: str
            created: datetime

        USERS = Model(User, indexes=[Index("email", unique=True), Index("team", order_by="created", descending=True)])

        users = USERS.on(client.store)
        await users.create(User("u1", "ada@example.org", "red", now))
        ada = await users.get(email="ada@example.org")
        newest = await users.list(team="red", limit=10)

    They are in a table of their own, C{<the store's table>/<name>}. What classes may hold is in
    L{microd.framework.schema.shapes}; a field that is added later reads as its default where it was not kept, and one
    that is removed is dropped with the next write.

    @param key: the field that tells records apart: a string or an integer.
    @param name: what the model is called in its table's name and in errors; empty: as the class.
    @param version: a field C{int = 0} of the class that holds the version of what was read. Without it instances carry
        theirs out of sight, which will do where they are changed in place; but C{dataclasses.replace} loses it, and a class
        with slots has no place for it.
    @param names: what annotations may name besides the globals of the class's module; where C{None}, what the caller sees.
    @raise SchemaError: the class cannot be kept, or an index is of what has no order; the text names the field.
    """

    def __init__(
        self,
        kind: type[T],
        *,
        key: str = "id",
        indexes: Sequence[Index] = (),
        name: str = "",
        version: str = "",
        names: Mapping[str, object] | None = None,
    ) -> None:
        if names is None:
            frame = sys._getframe(1)
            names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        self.layout = Layout(kind, key, indexes, name, version, names)

    @overload
    def on(self, store: Store) -> Records[T]: ...
    @overload
    def on(self, store: BlockingStore) -> BlockingRecords[T]: ...
    def on(self, store: Store | BlockingStore) -> Records[T] | BlockingRecords[T]:
        """The records in a store."""
        asking = self.asking(store)
        if isinstance(store, BlockingStore):
            return BlockingRecords(lambda: store, lambda: asking)
        return Records(lambda: store, lambda: asking)

    def asking(self, store: Store | BlockingStore) -> Asking[T]:
        """What can be asked of the records in a store, for whoever puts the questions himself."""
        return Asking(self.layout, store.table(f"{store.questions.table}/{self.layout.name}").questions)
