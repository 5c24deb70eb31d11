"""One process of a service, kept alive: started, watched, started again."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.kernel.errors import BadRequest, MicroError
from microd.services.runtime import rules
from microd.services.runtime.backends.local.logs import Log
from microd.services.runtime.backends.local.program import find_program
from microd.services.runtime.backends.local.recipe import read_recipe
from microd.services.runtime.backends.local.venvs import BuildFailed, Interpreter, Venvs
from microd.services.runtime.interface import Credentials, Launcher, Process, Registrations
from microd.services.runtime.model import Exit, Limits, Spec, State, Status
from microd.services.runtime.waiting import settled

T = TypeVar("T")

#: Lines of the log which an error repeats.
_LAST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """What instances need of the place where they run.

    @ivar tag: begins the id of every process that this daemon starts.
    @ivar environment: what services see of the daemon's own.
    @ivar proxy: the address by which they reach the platform.
    """

    clock: IReactorTime
    launcher: Launcher
    venvs: Venvs
    interpreter: Interpreter
    credentials: Credentials
    registry: Registrations
    proxy: Callable[[], str]
    environment: Mapping[str, str]
    limits: Limits
    tag: str


class Instance:
    """Sees to it that one process of a service runs, until it is stopped, ends well, or cannot be started.

    Its life is the table in L{microd.services.runtime.rules}. A process which has not registered in time counts as an
    error and is left alone: it may be slow, and killing it would make it slower. One that crashed is started again
    after a wait which doubles with each failure in a row. One that ended well stays stopped.

    @param changed: called after each change of state.
    @ivar trial: it has to prove itself: when it fails it is not started again.
    """

    log = Logger()

    def __init__(
        self, machine: Machine, spec: Spec, root: Path, log: Log, changed: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._spec = spec
        self._root = root
        self._lines = log
        self._changed = changed
        self._state = State()
        self._id = ""
        self._anonymous: frozenset[str] = frozenset()
        self._strangers: frozenset[str] = frozenset()
        self._begun = 0.0
        self._process: Process | None = None
        self._life: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None
        self._waiting = False
        self.trial = False

    @property
    def state(self) -> State:
        """How it is now."""
        pid = self._process.pid if self._process is not None else None
        return replace(self._state, pid=pid)

    def start(self) -> None:
        """Begin."""
        self._life = Deferred.fromCoroutine(self._live())
        self._life.addErrback(self._broken)

    async def stop(self) -> None:
        """Have it end, with force if it does not; returns when nothing of it is left."""
        life, process = self._life, self._process
        if self._state.status is Status.STOPPED:
            return
        if self._state.status is Status.STOPPING and life is not None:
            await settled(life)
            return
        self._end_deadline()
        self._become(Status.STOPPING)
        limit: IDelayedCall | None = None
        if process is not None:
            process.stop()
            limit = self._machine.clock.callLater(self._machine.limits.grace, self._overstayed, process)
        elif life is not None and self._waiting:
            life.cancel()
        try:
            if life is not None:
                await settled(life)
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        if self._state.status is Status.STOPPING:
            self._become(Status.STOPPED)

    def seen(self, processes: Collection[str], anonymous: Collection[str]) -> None:
        """The registry knows nodes of this service, which run in these processes.

        @param anonymous: the ids of those which do not say in which process they run, as services written for the
            reference do; one that was not there before our process is taken for ours.
        """
        self._anonymous = frozenset(anonymous)
        if self._process is None or self._state.status is Status.STOPPING:
            return
        there = self._id in processes or bool(self._anonymous - self._strangers)
        if there and self._state.status is not Status.RUNNING:
            self._end_deadline()
            self._become(Status.RUNNING, started=self._state.started)
        elif not there and self._state.status is Status.RUNNING:
            self._expect()
            self._become(Status.STARTING, "it is no longer registered", started=self._state.started)

    async def _live(self) -> None:
        failures = 0
        while True:
            self._begun = begun = self._machine.clock.seconds()
            try:
                outcome = await self._attempt()
            except (BuildFailed, BadRequest) as error:
                self._fail(str(error), "it is not tried again until it is changed")
                return
            except (OSError, MicroError) as error:
                outcome = Exit(cause=f"it could not be started: {error}")
            if self._state.status is Status.STOPPING:
                return
            if outcome.clean:
                self._lines.say("exited with code 0: it is not started again")
                self._become(Status.STOPPED)
                return
            if self.trial:
                self._fail(str(outcome), "it is not tried again")
                return
            now = self._machine.clock.seconds()
            failures = 1 if now - begun >= self._machine.limits.well else failures + 1
            pause = rules.wait(failures, self._machine.limits.backoff, self._machine.limits.backoff_max)
            self._fail(str(outcome), f"next try at {rules.rfc3339(now + pause)}", now + pause)
            await self._interruptibly(partial(deferLater, self._machine.clock, pause))
            self._state = replace(self._state, restarts=self._state.restarts + 1)

    async def _attempt(self) -> Exit:
        """Start the process, and wait for its end."""
        machine, key = self._machine, self._spec.key
        program = find_program(self._spec, self._root)
        interpreter = await self._interpreter(program.folder)
        account = await self._interruptibly(lambda: machine.credentials(key.namespace, key.account))
        self._strangers = self._anonymous
        self._id = f"{machine.tag}.{secrets.token_hex(8)}"
        environment = rules.environment(
            machine.environment, self._spec, machine.proxy(), account, self._id, interpreter.programs
        )
        command = program.line(interpreter.python)
        now = machine.clock.seconds()
        process = machine.launcher.launch(command, str(program.folder), environment, self._lines.write)
        self._process = process
        self._expect()
        self._become(Status.STARTING, started=now, build=interpreter.build)
        try:
            return await process.ended
        finally:
            self._process = None
            self._end_deadline()
            self._lines.flush()
            machine.registry.forget_process(key.namespace, key.name, key.version, self._id)

    async def _interpreter(self, folder: Path) -> Interpreter:
        recipe = read_recipe(folder, self._root) if self._spec.folder else None
        if recipe is None:
            return self._machine.interpreter
        found = self._machine.venvs.ready(recipe)
        if found is None:
            self._become(Status.BUILDING, build=recipe.key)
            found = await self._interruptibly(lambda: self._machine.venvs.build(recipe, self._lines))
        return found

    async def _interruptibly(self, begin: Callable[[], Awaitable[T]]) -> T:
        """Wait for something other than the process: L{stop} may cancel that.

        Whoever is told of a change of state may answer with L{stop}, while this life is still on its feet. It then
        ends here, where it would have sat down.
        """
        if self._state.status is Status.STOPPING:
            raise CancelledError
        self._waiting = True
        try:
            return await begin()
        finally:
            self._waiting = False

    def _expect(self) -> None:
        """From now on the process has so long to register."""
        self._deadline = self._machine.clock.callLater(self._machine.limits.start, self._late)

    def _late(self) -> None:
        self._deadline = None
        note = f"it runs, but has not registered within {self._machine.limits.start:g} s"
        self._lines.say(note)
        self._become(Status.ERROR, note, started=self._state.started)

    def _fail(self, reason: str, outlook: str, retry: float | None = None) -> None:
        """What was said last goes into the note: it is where the cause stands."""
        last = self._lines.last(_LAST_WORDS, self._begun)
        words = [line.text for line in last if line.stream != "runtime"]
        self._lines.say(f"{reason}; {outlook}")
        self._become(Status.ERROR, "\n".join([reason, *words]), retry=retry)

    def _overstayed(self, process: Process) -> None:
        self._lines.say(f"did not stop within {self._machine.limits.grace:g} s: killed")
        process.kill()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _become(
        self,
        status: Status,
        note: str = "",
        *,
        started: float | None = None,
        retry: float | None = None,
        build: str | None = None,
    ) -> None:
        before = self._state
        if status is not before.status and status not in rules.AFTER[before.status]:
            raise AssertionError(f"{before.status.name} cannot become {status.name}")
        self._state = State(
            status,
            note,
            started=started,
            restarts=before.restarts,
            retry=retry,
            build=before.build if build is None else build,
        )
        self._changed()

    def _broken(self, failure: Failure) -> None:
        """The life ended otherwise than by its own decision: cancelled, or by a defect."""
        if failure.check(CancelledError) is None and self._state.status is not Status.STOPPING:
            self.log.failure("the life of {service} broke off", failure, service=str(self._spec.key))
            self._become(Status.ERROR, f"a defect of the platform: {failure.getErrorMessage()}")
