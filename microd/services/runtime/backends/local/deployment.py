"""A service on this machine: its instances, and how they are replaced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.services.runtime import rules
from microd.services.runtime.backends.local.instance import Instance, Machine
from microd.services.runtime.backends.local.logs import Log
from microd.services.runtime.model import Record, Spec, State, Status, View
from microd.services.runtime.waiting import settled

_FAILED = (Status.ERROR, Status.STOPPED)
_UNDECIDED = (Status.PENDING, Status.BUILDING, Status.STARTING)


class Deployment:
    """Runs what a spec asks for, and replaces it without a gap.

    A replacement starts beside the present instances. Once all of it runs, they are stopped; if one of it fails first,
    the replacement is given up, and they go on as if nothing had been asked. Only instances that serve are worth that:
    others are stopped at once and replaced whatever comes.

    @param decided: told what is to be kept from now on, whenever that changes by itself.
    @param unused: told which source's folder was left behind.
    """

    log = Logger()

    def __init__(
        self,
        machine: Machine,
        log: Log,
        path: Callable[[str], Path],
        decided: Callable[[Record], Awaitable[None]],
        unused: Callable[[str], Awaitable[None]],
    ) -> None:
        self._machine = machine
        self._lines = log
        self._path = path
        self._decided = decided
        self._unused = unused
        self._spec: Spec | None = None
        self._present: list[Instance] = []
        self._next_spec: Spec | None = None
        self._next: list[Instance] = []
        self._rollout: Deferred[None] | None = None
        self._turned: list[Deferred[None]] = []
        self._leaving: set[Deferred[None]] = set()
        self._seen: tuple[Collection[str], Collection[str]] = ((), ())
        self.trouble = ""

    @property
    def spec(self) -> Spec:
        """What was asked for last."""
        spec = self._next_spec or self._spec
        assert spec is not None, "not started"
        return spec

    @property
    def serving(self) -> Spec | None:
        """What runs at present, which a replacement may yet fail to replace."""
        return self._spec

    @property
    def folders(self) -> set[str]:
        """The sources in use."""
        return {spec.folder for spec in (self._spec, self._next_spec) if spec is not None}

    @property
    def serves(self) -> bool:
        """Whether any of the present instances runs."""
        return any(each.state.status is Status.RUNNING for each in self._present)

    def states(self) -> list[State]:
        """How the instances are; while they are being replaced, how the replacement is."""
        return [each.state for each in self._next or self._present]

    def view(self) -> View:
        """The service as its owner sees it."""
        states = self.states()
        return View(self.spec, rules.overall(states).status, rules.shown(self.spec, states, self.trouble))

    def start(self, spec: Spec) -> None:
        """Run C{spec}, where nothing runs yet."""
        self._spec = spec
        self._present = self._launched(spec)

    def replace(self, spec: Spec, keep: bool) -> None:
        """Run C{spec} instead of what runs.

        @param keep: the present instances are worth keeping until the new ones run.
        """
        self.trouble = ""
        if self._rollout is not None:
            self._rollout.cancel()
        abandoned, self._next_spec = self._next_spec, spec
        self._rollout = Deferred.fromCoroutine(self._replace(spec, keep, abandoned))
        self._rollout.addErrback(self._broken)

    def seen(self, processes: Collection[str], anonymous: Collection[str]) -> None:
        """See L{Instance.seen}."""
        self._seen = (processes, anonymous)
        for each in (*self._present, *self._next):
            each.seen(processes, anonymous)

    async def settled(self) -> None:
        """Wait until it is known of every instance whether it serves."""
        while any(state.status in _UNDECIDED for state in self.states()):
            await self._turn()

    async def stop(self) -> None:
        """Stop everything; returns when nothing is left."""
        if self._rollout is not None:
            self._rollout.cancel()
        self._retire([*self._present, *self._next])
        await self._left()

    async def _replace(self, spec: Spec, keep: bool, abandoned: Spec | None) -> None:
        self._retire(self._next)
        self._next = []
        await self._left()
        if abandoned is not None:
            await self._unused(abandoned.folder)
        if not keep:
            former = self._spec
            self._retire(self._present)
            await self._left()
            self._spec, self._next_spec = spec, None
            self._present = self._launched(spec)
            await self._forget(former)
            return
        self._next = self._launched(spec, trial=True)
        while not (failed := any(each.state.status in _FAILED for each in self._next)):
            if all(each.state.status is Status.RUNNING for each in self._next):
                break
            await self._turn()
        await (self._give_up() if failed else self._take_over(spec))

    async def _take_over(self, spec: Spec) -> None:
        former, self._spec, self._next_spec = self._spec, spec, None
        self._retire(self._present)
        self._present, self._next = self._next, []
        for each in self._present:
            each.trial = False
        await self._decided(Record(spec))
        await self._forget(former)

    async def _give_up(self) -> None:
        worst = rules.overall([each.state for each in self._next])
        self.trouble = (
            f"the update was given up and what ran before was kept: {worst.note or worst.status.name}"
        )
        self._lines.say(self.trouble.partition("\n")[0])
        failed, self._next_spec = self._next_spec, None
        self._retire(self._next)
        self._next = []
        assert self._spec is not None, "not started"
        await self._decided(Record(self._spec))
        await self._forget(failed)

    async def _forget(self, spec: Spec | None) -> None:
        """Once nothing runs from it any more, a source has no use."""
        await self._left()
        if spec is not None:
            await self._unused(spec.folder)

    def _launched(self, spec: Spec, trial: bool = False) -> list[Instance]:
        root = self._path(spec.folder)
        made = [
            Instance(self._machine, spec, root, self._lines, self._changed) for _ in range(spec.instances)
        ]
        for each in made:
            each.trial = trial
            each.seen(*self._seen)
            each.start()
        return made

    def _retire(self, instances: Collection[Instance]) -> None:
        """Begin to stop instances. Once begun it goes on, whoever loses interest."""
        for each in instances:
            leaving = Deferred.fromCoroutine(each.stop())
            self._leaving.add(leaving)
            leaving.addErrback(lambda failure: self.log.failure("stopping an instance", failure))
            leaving.addCallback(self._gone, leaving)
        self._changed()

    def _gone(self, _: None, leaving: Deferred[None]) -> None:
        self._leaving.discard(leaving)

    async def _left(self) -> None:
        """Wait until those which were retired are gone."""
        while self._leaving:
            await settled(next(iter(self._leaving)))

    def _changed(self) -> None:
        turned, self._turned = self._turned, []
        for each in turned:
            each.callback(None)

    def _turn(self) -> Deferred[None]:
        """Fires at the next change of an instance."""
        turn: Deferred[None] = Deferred(self._turned.remove)
        self._turned.append(turn)
        return turn

    def _broken(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.failure("replacing {service} broke off", failure, service=str(self.spec.key))
