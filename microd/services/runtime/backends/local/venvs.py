"""Virtualenvs for the services which ask for packages.

One is made for each distinct wish (the text of the requirements, the interpreter, this installation) and shared by all
services that have it. It sees the daemon's own packages behind its own, so that C{import microd} works without
installing it again. A folder counts once the file C{complete} is in it; a build which failed leaves none, and the next
attempt begins anew.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from microd.services.runtime.backends.local.orphans import MARK
from microd.services.runtime.backends.local.recipe import Recipe, own_packages
from microd.services.runtime.interface import InThread, Launcher, LogSink, Process
from microd.services.runtime.model import Limits

_COMPLETE = "complete"


class BuildFailed(Exception):
    """The virtualenv could not be made; the service's log says why."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python which services can run with.

    @ivar programs: the folder of its scripts.
    @ivar build: the key of its virtualenv; empty for the daemon's own.
    """

    python: str
    programs: str
    build: str = ""


def own_interpreter() -> Interpreter:
    """The one that runs the daemon."""
    return Interpreter(sys.executable, str(Path(sys.executable).parent))


class _Build:
    """One that is being made, and those who wait for it.

    @ivar abandoned: nobody waited any more and it is being ended; who comes now must begin anew afterwards.
    """

    def __init__(self) -> None:
        self.logs: list[LogSink] = []
        self.process: Process | None = None
        self.work: Deferred[None] | None = None
        self.abandoned = False
        self._waiting: list[Deferred[None]] = []

    def join(self, log: LogSink) -> Deferred[None]:
        """Fires when the build is over, with L{BuildFailed} if it went wrong."""
        self.logs.append(log)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def leave(self, waiting: Deferred[None]) -> None:
        """Wait no more; the last one ends the build."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if self._waiting:
            return
        self.abandoned = True
        if self.process is not None:
            self.process.kill()
        elif self.work is not None:
            self.work.cancel()

    def end(self, failure: Failure | None) -> None:
        """Tell everybody."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if failure is None or self.abandoned:
                each.callback(None)
            else:
                each.errback(BuildFailed(failure.getErrorMessage()))


class Venvs:
    """The virtualenvs below one folder.

    @param environment: what the programs that build see.
    @param mark: for the environment, so that no build outlives its keeper either.
    """

    log = Logger()

    def __init__(
        self,
        folder: Path,
        clock: IReactorTime,
        launcher: Launcher,
        limits: Limits,
        in_thread: InThread,
        environment: Mapping[str, str],
        mark: str,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._launcher = launcher
        self._limits = limits
        self._in_thread = in_thread
        self._environment = {
            **environment,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            MARK: mark,
        }
        self._builds: dict[str, _Build] = {}

    def ready(self, recipe: Recipe) -> Interpreter | None:
        """The interpreter of a virtualenv which is there already."""
        home = self._folder / recipe.key
        if not (home / _COMPLETE).exists():
            return None
        os.utime(home / _COMPLETE)
        return Interpreter(str(home / "bin" / "python"), str(home / "bin"), recipe.key)

    async def build(self, recipe: Recipe, log: LogSink) -> Interpreter:
        """Make one, or wait for the one that is being made; its output goes to C{log}.

        Cancelling leaves the build to the others who wait for it, or ends it with the last of them.

        @raise BuildFailed: it cannot be made.
        """
        while (found := self.ready(recipe)) is None:
            build = self._builds.get(recipe.key)
            if build is None:
                build = _Build()
                waiting = build.join(log)
                self._builds[recipe.key] = build
                build.work = Deferred.fromCoroutine(self._make(recipe, build))
                build.work.addBoth(self._made, recipe.key, build)
            else:
                waiting = build.join(log)
            try:
                await waiting
            except CancelledError:
                build.leave(waiting)
                raise
            finally:
                build.logs.remove(log)
        return found

    def prune(self, now: float) -> None:
        """Remove what was cut short, and what nobody has used for long; at the start, when nothing is being made."""
        oldest = now - self._limits.log_days * 86400.0
        if not self._folder.is_dir():
            return
        for home in self._folder.iterdir():
            mark = home / _COMPLETE
            if not mark.exists() or mark.stat().st_mtime < oldest:
                shutil.rmtree(home, ignore_errors=True)

    def _made(self, outcome: object, key: str, build: _Build) -> None:
        del self._builds[key]
        failure = outcome if isinstance(outcome, Failure) else None
        if failure is not None and not failure.check(BuildFailed, CancelledError):
            self.log.failure("building {key}", failure, key=key)
        build.end(failure)

    async def _make(self, recipe: Recipe, build: _Build) -> None:
        home = self._folder / recipe.key
        await self._in_thread(lambda: shutil.rmtree(home, ignore_errors=True))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._run(build, (sys.executable, "-m", "venv", str(home)), recipe.folder)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = home / "lib" / version / "site-packages"
        # addsitedir, unlike a plain path, also obeys the .pth files there: an editable installation consists of one.
        lines = (f"import site; site.addsitedir({path!r})\n" for path in own_packages())
        (packages / "_microd.pth").write_text("".join(lines))
        await self._run(
            build, (str(home / "bin" / "python"), "-m", "pip", "install", *recipe.arguments), recipe.folder
        )
        (home / _COMPLETE).touch()

    async def _run(self, build: _Build, command: tuple[str, ...], folder: Path) -> None:
        def wrote(stream: str, data: bytes) -> None:
            for log in build.logs:
                log.write("build", data)

        process = self._launcher.launch(command, str(folder), self._environment, wrote)
        build.process = process
        limit = self._clock.callLater(self._limits.build, process.kill)
        try:
            outcome = await process.ended
        finally:
            build.process = None
            if limit.active():
                limit.cancel()
        if build.abandoned:
            raise BuildFailed("nobody waits for it any more")
        if not outcome.clean:
            raise BuildFailed(f"installing its packages failed: {command[2]} {outcome}")
