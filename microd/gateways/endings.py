"""Calls that go on end when whoever made them may make them no more.

::

    tokens void, rules changed ──▶ all open streams of a door, once ──▶ may they still? ──no──▶ 401, 403
                                                                         └─ cannot be told yet: ask again in a moment

A call is let in when it comes. Unary calls are soon over, and may finish; streams are looked at again whenever auth tells
of a change. No call costs anything for that: a door knows its open streams, and goes over them when there is a reason.
A token which merely ends does not end a stream that it let in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from microd.kernel.caller import DEFAULT_NAMESPACE, Account
from microd.kernel.errors import MicroError, Unauthorized

#: Streams which are asked about or ended in one turn of the reactor: to ask takes 2 us, to end 70.
AT_ONCE = 64
#: Seconds after which it is looked again whether a call that may be unary has turned out to be a stream.
MOMENT = 1.0


@dataclass(frozen=True, slots=True)
class Lasting:
    """A call that goes on, as it was let in.

    @ivar namespace: where it went.
    @ivar end: ends the call with an error. The answer is False while it may be a unary call, which shall finish: then
        it is to be tried again. It must not raise, and may be called when the call is over.
    """

    account: Account | None
    namespace: str
    service: str
    endpoint: str
    core: bool
    end: Callable[[MicroError], bool]

    @property
    def lawgiver(self) -> str:
        """The namespace whose rules hold for it."""
        return DEFAULT_NAMESPACE if self.core or self.namespace == "*" else self.namespace


class Allows(Protocol):
    """What is asked of a gate."""

    def allow(
        self, account: Account | None, namespace: str, service: str, endpoint: str, *, core: bool
    ) -> None:
        """May they?

        @raise MicroError: they may not.
        """


class Endings:
    """Ends streams of a door.

    @param calls: the door's open streams.
    """

    def __init__(self, clock: IReactorTime, gate: Allows, calls: Callable[[], Iterable[Lasting]]) -> None:
        self._clock = clock
        self._gate = gate
        self._calls = calls
        self._revoked: set[tuple[str, str]] = set()
        self._ruled: set[str] = set()
        self._changed: set[tuple[str, str]] = set()
        self._asking: deque[Lasting] = deque()
        self._ending: deque[tuple[Lasting, MicroError]] = deque()
        self._doubtful: list[tuple[Lasting, MicroError]] = []
        self._turn: IDelayedCall | None = None
        self._again: IDelayedCall | None = None

    def revoked(self, namespace: str, id: str) -> None:
        """Whatever was issued to an account has become void."""
        self._revoked.add((namespace, id))
        self._soon()

    def ruled(self, namespace: str) -> None:
        """The rules of a namespace have changed."""
        self._ruled.add(namespace)
        self._soon()

    def changed(self, namespace: str, id: str) -> None:
        """Other rights of an account have changed."""
        self._changed.add((namespace, id))
        self._soon()

    def stop(self) -> None:
        """The door closes, and with it all calls."""
        for each in (self._turn, self._again):
            if each is not None:
                each.cancel()
        self._turn = self._again = None

    def _soon(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._look)

    def _look(self) -> None:
        """Do a turn's work: all that changed in a turn takes one pass."""
        self._turn = None
        if self._revoked or self._ruled or self._changed:
            self._collect()
        for _ in range(AT_ONCE):
            if self._ending:
                self._end(*self._ending.popleft())
            elif self._asking:
                self._ask(self._asking.popleft())
            else:
                return
        self._soon()

    def _collect(self) -> None:
        """Choose at once, of the calls that are open now: those that come later were let in by what holds now."""
        revoked, self._revoked = self._revoked, set()
        ruled, self._ruled = self._ruled, set()
        changed, self._changed = self._changed, set()
        for call in self._calls():
            account = call.account
            who = None if account is None else (account.issuer, account.id)
            if who in revoked:
                text = f"the account {who[1]} was revoked: log in again"
                self._ending.append((call, Unauthorized(text, call.service)))
            elif call.lawgiver in ruled or who in changed:
                self._asking.append(call)

    def _ask(self, call: Lasting) -> None:
        try:
            self._gate.allow(call.account, call.namespace, call.service, call.endpoint, core=call.core)
        except MicroError as error:
            self._end(call, error)

    def _end(self, call: Lasting, error: MicroError) -> None:
        if call.end(error):
            return
        self._doubtful.append((call, error))
        if self._again is None:
            self._again = self._clock.callLater(MOMENT, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        doubtful, self._doubtful = self._doubtful, []
        self._ending.extend(doubtful)
        self._soon()
