"""The records of a model in the store of a service, which is there only while the service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from microd.framework.model.asking import Asking
from microd.framework.model.model import Model
from microd.framework.model.records import BlockingRecords, Records
from microd.framework.store import Store

if TYPE_CHECKING:
    from microd.framework.service import Service

T = TypeVar("T")


class ServiceRecords(Records[T]):
    """As L{Records}.

    @ivar blocking: the same for plain C{def} handlers, which run in threads.
    """

    def __init__(self, model: Model[T], service: Service) -> None:
        self._model = model
        self._service = service
        self._known: tuple[Store, Asking[T]] | None = None
        super().__init__(lambda: service.client.store, self._current)
        self.blocking = BlockingRecords(lambda: service.blocking.store, self._current)

    def _current(self) -> Asking[T]:
        """What is known of the indexes holds for one store."""
        store = self._service.client.store
        if self._known is None or self._known[0] is not store:
            self._known = store, self._model.asking(store)
        return self._known[1]
