"""One call of a subscribed function."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from microd.framework.bridge import Bridge
from microd.framework.context import Call, current_call, enter
from microd.framework.failures import Quit
from microd.framework.handlers import Style
from microd.framework.messages.delivery import told
from microd.framework.messages.model import Message
from microd.framework.messages.subscriber import Subscriber
from microd.framework.workers import Workers
from microd.kernel.activity import INBOUND, Activity
from microd.kernel.caller import Account
from microd.kernel.errors import TimedOut
from microd.txgrpc import Metadata


class Occasion(Call):
    """What L{microd.framework.context.current_call} is while a message is dealt with: nobody calls, and nobody waits."""

    __slots__ = ("_message", "_namespace")

    def __init__(self, service: str, endpoint: str, message: Message, namespace: str) -> None:
        self.service = service
        self.endpoint = endpoint
        self.known_place = message.place
        self._message = message
        self._namespace = namespace

    @property
    def metadata(self) -> Metadata:
        return Metadata([(name.lower(), value) for name, value in self._message.headers.items()])

    @property
    def peer(self) -> str:
        return ""

    @property
    def namespace(self) -> str:
        return self._namespace

    @property
    def token(self) -> str:
        return ""

    @property
    def deadline(self) -> float | None:
        return None

    def time_remaining(self) -> float | None:
        return None

    async def account(self) -> Account | None:
        return None

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Nobody would get it."""


class Calling:
    """Calls one subscribed function, and takes note of it as of an endpoint's calls.

    @param service: the name of the service, and C{namespace} that in which it runs.
    """

    def __init__(
        self,
        service: str,
        namespace: str,
        subscriber: Subscriber,
        workers: Workers,
        bridge: Bridge,
        clock: IReactorTime,
        activity: Activity,
    ) -> None:
        self._service = service
        self._namespace = namespace
        self._subscriber = subscriber
        self._workers = workers
        self._bridge = bridge
        self._clock = clock
        self._activity = activity
        self._span = f"{service}.{subscriber.name}"

    async def call(self, value: object, message: Message) -> Any:
        """Call the function; what it returned.

        @raise Drop: it wants to see no more of this message. Whatever else it raises is an C{Exception}, or says that it was cancelled.
        """
        occasion = Occasion(self._service, self._subscriber.name, message, self._namespace)
        enter(occasion)
        error = ""
        started = self._activity.now()
        try:
            return await self._returned(self._subscriber.arguments(value, message))
        except CancelledError:
            error = "cancelled"
            raise
        except Exception as problem:
            error = told(problem)
            raise
        except BaseException as problem:  # sys.exit() ends the function, and not the process
            error = told(problem)
            if isinstance(problem, GeneratorExit) and current_call() is not occasion:
                raise
            raise Quit(problem) from problem
        finally:
            activity = self._activity
            activity.requests += 1
            if error:
                activity.errors += 1
            activity.note((self._span, INBOUND, started, activity.now(), error, message.place))

    async def _returned(self, arguments: tuple[object, ...]) -> Any:
        timeout = self._subscriber.wish.timeout
        if timeout is None:
            return await self._begun(arguments)
        waiting: Deferred[Any] = Deferred.fromCoroutine(self._begun(arguments))
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            waiting.cancel()

        timer = self._clock.callLater(timeout, expire)
        try:
            return await waiting
        except CancelledError:
            if late:
                raise TimedOut(f"it took longer than {timeout:g} s (timeout=)") from None
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _begun(self, arguments: tuple[object, ...]) -> Any:
        subscriber = self._subscriber
        if subscriber.style is Style.THREAD:
            returned = await self._workers.run(subscriber.function, *arguments)
            if isinstance(returned, Awaitable):
                raise TypeError(
                    f"{subscriber.name} ran in a thread and returned a {type(returned).__name__}, which nobody waits for: "
                    "make it 'async def', or annotate it '-> Deferred[None]'"
                )
            return returned
        outcome = subscriber.function(*arguments)
        if subscriber.style is Style.COROUTINE:
            return await self._bridge.ours(outcome)
        return await outcome if isinstance(outcome, Deferred) else outcome
