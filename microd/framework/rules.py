"""The rules of the namespace, followed by the service itself.

The daemon's doors have asked them for every call that comes through; but whoever reaches a service's own port, as all of its host
may, goes past the doors. So a service asks them again, by the same function (L{microd.kernel.rules}), with the rules as they
are kept and the account by the auth service's word. They are fetched when the service starts and every L{EVERY} seconds, and once
more before somebody is turned away, so that a grant holds at once.

Where the daemon cannot be asked, the rules stay what they were. As long as they were never known, calls are refused with 503: what
was closed to strangers must not be open because a question went unanswered.

And it looks at the namespace which the door routed the call in: whoever gets a node of another namespace into the registry as
one of theirs, by a name that resolves to it or before it was there, has calls arrive here that were never let in to it.

How a call was decided is remembered with its headers, and by what they say of the caller, until the rules are fetched again,
which a call like one before finds in a tenth of a microsecond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.framework.failures import rpc_error
from microd.kernel.authorization import token_of
from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import Forbidden, MicroError, Unavailable
from microd.kernel.rules import Resource, Rule, decide, in_order, refusal, who_matters
from microd.txgrpc import Method, ServerCall
from microd.wire import auth_pb2 as wire

#: Seconds between two questions for the rules; and between two which are put for the sake of those who are turned away.
EVERY, AT_MOST_EVERY = 15.0, 0.25

#: Callers of an endpoint which are remembered, and characters of what one may show.
MOST, LONGEST = 1024, 4096

#: The namespace of a call which was routed in all of them at once.
EVERYWHERE = "*"


class Asking(Protocol):
    """What is needed of a client."""

    namespace: str

    async def ask(self, path: str, request: object, reply: type[Any]) -> Any:
        """Call a core service."""

    async def inspect(self, token: str) -> Account | None:
        """Whose token it is."""


class Rules:
    """Lets calls of one service in.

    @param service: its name.
    @ivar fetched: how often the rules were fetched; 0: they are not known.
    @ivar era: how a call was decided holds as long as this is the same: until the rules change, and no longer than L{EVERY}.
    """

    log = Logger()

    def __init__(self, service: str, client: Asking, clock: IReactorTime) -> None:
        self._service = service
        self._client = client
        self._clock = clock
        self._rules: list[Rule] = []
        self._asked = self._begun = float("-inf")
        self._next: Deferred[None] | None = None
        self._under_way: set[Deferred[None]] = set()
        self._failing = False
        self._again = LoopingCall(self.fetch)
        self._again.clock = clock
        self.fetched = self.era = 0

    async def begin(self) -> None:
        """Fetch the rules, and go on to do so."""
        await self.fetch()
        self._again.start(EVERY, now=False).addErrback(self._broke_off)

    def end(self) -> None:
        """Fetch them no more."""
        if self._again.running:
            self._again.stop()
        for fetching in tuple(self._under_way):
            fetching.cancel()

    async def fetch(self) -> None:
        """Ask for the rules; where that fails they stay what they were."""
        self._asked = self._clock.seconds()
        request = wire.ListRequest()
        request.options.namespace = self._client.namespace
        try:
            reply = await self._client.ask("/auth.Rules/List", request, wire.ListResponse)
        except MicroError as problem:
            if not self._failing:
                self._failing = True
                self.log.warn(
                    "the rules of {namespace} cannot be fetched: {problem}; {instead}",
                    namespace=self._client.namespace,
                    problem=problem.detail,
                    instead="those of before hold"
                    if self.fetched
                    else "calls are refused until they are known",
                )
            return
        self._failing = False
        self.fetched += 1
        rules = in_order(rule_from(message) for message in reply.rules)
        if rules != self._rules or self._asked >= self._begun + EVERY:
            self._rules, self._begun = rules, self._asked
            self.era += 1

    def guarded(self, name: str, method: Method) -> Method:
        """A method which lets nobody in whom the rules keep out.

        @param name: C{Struct.Method}.
        """
        known: dict[tuple[Any, Any], int] = {}
        resource = Resource("service", self._service, name)
        handler = method.handler

        # Not a coroutine, as one more around each handler's would be half a microsecond.
        def enter(request: Any, call: ServerCall) -> Any:
            head = call.head
            if head.kept == self.era:
                return handler(request, call)
            if known.get(_said(call), 0) == self.era > 0:
                head.kept = self.era
                return handler(request, call)
            return late(request, call)

        async def unary(request: Any, call: ServerCall) -> Any:
            await self._let_in(resource, call, known)
            answer = handler(request, call)
            return await answer if isinstance(answer, Coroutine) else answer

        async def stream(request: Any, call: ServerCall) -> AsyncIterator[Any]:
            await self._let_in(resource, call, known)
            replies = handler(request, call)
            try:
                async for reply in replies:
                    yield reply
            finally:
                await replies.aclose()

        late: Callable[[Any, ServerCall], Any] = stream if method.streams_out else unary
        return replace(method, handler=enter)

    def walled(self, method: Method) -> Method:
        """A method which anybody may call, though not in another namespace."""
        handler = method.handler

        def enter(request: Any, call: ServerCall) -> Any:
            self._require_own(call)
            return handler(request, call)

        return replace(method, handler=enter)

    def _require_own(self, call: ServerCall) -> None:
        """Let no call pass that was routed in another namespace; one that was not routed does not say."""
        asked = call.head.metadata.get("micro-namespace")
        if asked and asked not in (self._client.namespace, EVERYWHERE):
            problem = Forbidden(
                f"this node of {self._service} is not the namespace {asked[:64]}'s, in which it was called: "
                "see who registered its address there (`micro services`), and call it in its own"
            )
            raise rpc_error(problem.identified(self._service))

    async def _let_in(self, resource: Resource, call: ServerCall, known: dict[tuple[Any, Any], int]) -> None:
        self._require_own(call)
        said = _said(call)
        try:
            await self._require(resource, call, said[0])
        except MicroError as problem:
            raise rpc_error(problem.identified(self._service)) from None
        if len(said[0] or "") <= LONGEST:
            if len(known) >= MOST:
                known.clear()
            known[said] = self.era

    async def _require(self, resource: Resource, call: ServerCall, authorization: object) -> None:
        """Let a call pass.

        @raise Unauthorized: not without an account.
        @raise Forbidden: not with this one.
        @raise Unavailable: the rules, or the account, cannot be known.
        """
        token = token_of(authorization)
        if not self.fetched and not await self._fetch_once_more():
            raise Unavailable(
                f"{self._service} does not know the rules of {self._client.namespace} yet: try again"
            )
        problem = await self._problem(resource, call, token)
        if problem is not None and await self._fetch_once_more():
            problem = await self._problem(resource, call, token)
        if problem is not None:
            raise problem

    async def _problem(self, resource: Resource, call: ServerCall, token: str | None) -> MicroError | None:
        """Why they may not, by the rules as they are known; None: they may."""
        account = None
        if token and (_is_everywhere(call) or who_matters(self._rules, resource)):
            account = await self._whose(token)
        verdict = decide(self._rules, account, self._client.namespace, resource)
        if verdict.granted or (_is_everywhere(call) and _administers(account)):
            return None
        return refusal(verdict, account, self._client.namespace, resource)

    async def _whose(self, token: str) -> Account | None:
        try:
            return await self._client.inspect(token)
        except MicroError as problem:
            raise Unavailable(f"{self._service} cannot ask whose token that is: {problem.detail}") from None

    async def _fetch_once_more(self) -> bool:
        """Fetch the rules as they are from now on; whether they were fetched. Who comes meanwhile waits for the same."""
        before, following = self.fetched, self._next
        if following is None:
            early = self._asked + AT_MOST_EVERY - self._clock.seconds()
            # It is not a part of the call for which it is done, and goes on without that.
            following = Context().run(Deferred.fromCoroutine, self._fetch_after(early))
            if early > 0:
                self._next = following
            if not following.called:
                self._under_way.add(following)
                following.addBoth(self._is_over, following)
        waiting: Deferred[None] = Deferred()
        following.chainDeferred(waiting)
        await waiting
        return self.fetched > before

    async def _fetch_after(self, seconds: float) -> None:
        if seconds > 0:
            await deferLater(self._clock, seconds)
            self._next = None
        await self.fetch()

    def _is_over(self, outcome: object, fetching: Deferred[None]) -> None:
        self._under_way.discard(fetching)
        if isinstance(outcome, Failure):
            self._broke_off(outcome)

    def _broke_off(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("the rules cannot be fetched", failure)


def _is_everywhere(call: ServerCall) -> bool:
    """Whether the call was routed in all namespaces at once, as only the platform's admins may; other rules hold there."""
    return bool(call.head.metadata.get("micro-namespace") == EVERYWHERE)


def _said(call: ServerCall) -> tuple[Any, Any]:
    """What a call says of its caller, and of the namespace that it was routed in."""
    get = call.head.metadata.get
    return get("authorization"), get("micro-namespace")


def _administers(account: Account | None) -> bool:
    return account is not None and account.issuer == DEFAULT_NAMESPACE and account.is_admin


def rule_from(message: wire.Rule) -> Rule:
    """A rule, as the auth service describes it; what is neither granted nor denied is denied (spec 5.4)."""
    resource = message.resource
    return Rule(
        message.id,
        message.scope,
        Resource(resource.type, resource.name, resource.endpoint),
        message.access == wire.GRANTED,
        message.priority,
    )
