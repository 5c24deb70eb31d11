"""How many consume at a time: in a namespace, and over a connection."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from microd.kernel.errors import Unavailable

#: Consumers over one connection.
MOST_PER_CONNECTION = 512


class Admission:
    """Counts consumers.

    @param most: how many a namespace may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._namespaces: dict[Hashable, int] = {}
        self._connections: dict[Hashable, int] = {}

    def enter(self, namespace: str, connection: Hashable) -> Callable[[], None]:
        """Let somebody consume.

        @return: to be called once, when they do not any more.
        @raise Unavailable: there are too many.
        """
        there = self._namespaces.get(namespace, 0)
        if there >= self._most:
            raise Unavailable(
                f"the namespace {namespace} has {there} consumers of events, and may have no more"
            )
        used = self._connections.get(connection, 0)
        if connection is not None and used >= MOST_PER_CONNECTION:
            raise Unavailable(f"this connection has {used} consumers of events, and may have no more")
        self._namespaces[namespace] = there + 1
        if connection is not None:
            self._connections[connection] = used + 1

        def leave() -> None:
            _less(self._namespaces, namespace)
            if connection is not None:
                _less(self._connections, connection)

        return leave


def _less(counts: dict[Hashable, int], key: Hashable) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
