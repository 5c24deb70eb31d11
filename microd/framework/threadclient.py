"""The client of handlers that are plain functions: they run in threads, and may wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typing_extensions import TypeVar

from microd.framework.client import Client
from microd.framework.config.blocking import BlockingConfig
from microd.framework.outgoing import MetadataLike
from microd.framework.store import BlockingStore
from microd.framework.workers import Workers

T = TypeVar("T", default=dict[str, Any])


class ThreadClient:
    """Calls as L{Client} does, and waits for the answers; with the deadline and the trace of the call that is being answered.

    @ivar store: the platform's store.
    @ivar config: the service's configuration.
    """

    def __init__(self, client: Client, workers: Workers) -> None:
        self._client = client
        self._workers = workers
        store = client.store.questions
        self.store = BlockingStore(
            lambda ask: workers.wait(lambda: client.ask_store(ask)), store.database, store.table
        )
        self.config = BlockingConfig(
            lambda ask: workers.wait(lambda: client.ask_store(ask)),
            client.config.questions,
            client.config.layers,
        )

    def call(
        self,
        service: str,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        namespace: str | None = None,
    ) -> T:
        """Call an endpoint, and wait for its one reply; see L{Client.call}."""
        return self._workers.wait(
            lambda: self._client.answer(service, endpoint, request, reply, timeout, metadata, namespace)
        )

    def stream(
        self,
        service: str,
        endpoint: str,
        request: object = None,
        reply: type[T] = dict,  # type: ignore[assignment]
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        namespace: str | None = None,
    ) -> Iterator[T]:
        """Call an endpoint that streams, and iterate over its replies; see L{Client.stream}."""
        replies = self._client.answers(service, endpoint, request, reply, timeout, metadata, namespace)

        async def following() -> tuple[T, ...]:
            async for value in replies:
                return (value,)
            return ()

        async def end() -> None:
            await replies.aclose()

        try:
            while found := self._workers.wait(following):
                yield found[0]
        finally:
            self._workers.wait(end)
