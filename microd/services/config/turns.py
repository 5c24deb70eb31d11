"""One after the other, for each name."""

from __future__ import annotations

from twisted.internet.defer import DeferredLock

from microd.kernel.errors import Unavailable


class Turns:
    """A lock for each namespace, while somebody needs it.

    @param waiting: how many may wait for one.
    """

    def __init__(self, waiting: int) -> None:
        self._locks: dict[str, DeferredLock] = {}
        self._waiting = waiting

    async def take(self, namespace: str) -> None:
        """Wait for our turn; L{give_back} ends it.

        @raise Unavailable: too many wait already.
        """
        lock = self._locks.get(namespace)
        if lock is None:
            lock = self._locks[namespace] = DeferredLock()
        if len(lock.waiting) >= self._waiting:
            raise Unavailable(
                f"{self._waiting} changes of the config of {namespace} are waiting: try again later"
            )
        await lock.acquire()

    def give_back(self, namespace: str) -> None:
        """Let the next one have it."""
        lock = self._locks[namespace]
        lock.release()
        # By now others may have had their turns, and the last of them may have cleared the lock away.
        if not lock.locked and self._locks.get(namespace) is lock:
            del self._locks[namespace]
