"""The runtime, running: what is to run is kept, and what is kept runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.kernel.errors import BadRequest, Conflict, NotFound, Unavailable
from microd.kernel.health import Figure, gauge
from microd.services.runtime import events, rules
from microd.services.runtime.backends.local.deployment import Deployment
from microd.services.runtime.backends.local.instance import Machine
from microd.services.runtime.backends.local.logs import Logs
from microd.services.runtime.backends.local.program import find_program
from microd.services.runtime.backends.local.recipe import read_recipe
from microd.services.runtime.backends.local.venvs import Venvs, own_interpreter
from microd.services.runtime.interface import Credentials, InThread, Launcher, Records, Registrations, Revoke
from microd.services.runtime.model import Key, Limits, Line, Record, Spec, Status, View
from microd.services.runtime.presence import Presence, Seen
from microd.services.runtime.sources import Sources
from microd.services.runtime.waiting import Latch, unbroken


class Runtime(Service):
    """Runs services as processes of this machine.

    Whatever C{create}, C{update} and C{delete} have acknowledged holds over a restart: C{startService} starts again all
    that is kept, also what had stopped by itself. All services run as the user of the daemon: a namespace keeps others
    from seeing them through the platform, and is no wall between their processes.

    @param folder: of the daemon's data; C{sources}, C{logs} and C{venvs} are made in it.
    @param proxy: the address by which services reach the platform; asked when the first of them is started.
    @param announce: told of each change, by its name (L{microd.services.runtime.events}), once it is kept; must not raise.
    @param environment: the daemon's own; services see what L{rules.inherited} leaves of it.
    """

    log = Logger()

    def __init__(
        self,
        folder: Path,
        *,
        clock: IReactorTime,
        launcher: Launcher,
        registry: Registrations,
        records: Records,
        credentials: Credentials,
        revoke: Revoke,
        proxy: Callable[[], str],
        in_thread: InThread,
        environment: Mapping[str, str],
        limits: Limits | None = None,
        announce: Callable[[str, Spec], None] | None = None,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._launcher = launcher
        self._records = records
        self._revoke = revoke
        self._announce = announce
        self._in_thread = in_thread
        self._limits = limits = limits or Limits()
        tag = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        visible = rules.inherited(environment)
        self._logs = Logs(folder / "logs", clock, limits)
        self.sources = Sources(folder / "sources", limits, in_thread)
        self._venvs = Venvs(folder / "venvs", clock, launcher, limits, in_thread, visible, f"{tag}.build")
        self._machine = Machine(
            clock,
            launcher,
            self._venvs,
            own_interpreter(),
            credentials,
            registry,
            proxy,
            visible,
            limits,
            tag,
        )
        self._deployments: dict[Key, Deployment] = {}
        self._busy: dict[Key, str] = {}
        self._loaded = Latch()
        self._presence = Presence(registry, clock, self._seen)

    def startService(self) -> Deferred[None]:
        """Start again what is kept. Fires when all of it was begun; see L{settled}."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Stop all services, each within its grace."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def settled(self) -> None:
        """Wait until it is known of every service whether it serves: it has registered, or there is an error."""
        await gatherResults([Deferred.fromCoroutine(each.settled()) for each in self._deployments.values()])

    async def create(self, spec: Spec, uploader: str, *, force: bool = False) -> None:
        """Run a service. Returns as soon as the wish is kept.

        @param spec: C{folder} and C{updated} are filled in here.
        @param uploader: the namespace under which its source was uploaded.
        @param force: replace the one that exists, as C{update} does.
        @raise Conflict: it exists.
        @raise BadRequest: it cannot be run as it stands.
        @raise NotFound: its source was not uploaded.
        """
        await self._up()
        key = rules.check_key(spec.key.namespace, spec.key.name, spec.key.version)
        known = key in self._deployments
        if known and not force:
            raise Conflict(f"the service {key} exists already: update it, or force its replacement")
        await unbroken(self._put(self._prepared(replace(spec, key=key), uploader)))

    async def update(self, change: Spec, uploader: str) -> None:
        """Replace a service by another source, or start it anew from the one it has.

        @param change: where C{source}, C{entrypoint} or C{instances} are empty or zero, the present ones stay; its
            metadata are added to the present ones, its command, arguments and environment do not count.
        @raise NotFound: there is no such service, or its source was not uploaded.
        @raise BadRequest: it cannot be run as it stands.
        """
        await self._up()
        present = self._known(change.key).spec
        spec = replace(
            present,
            source=change.source or present.source,
            folder="" if change.source else present.folder,
            entrypoint=change.entrypoint or present.entrypoint,
            instances=change.instances or present.instances,
            metadata={**present.metadata, **change.metadata},
            owner=change.owner,
            group=change.group,
        )
        await unbroken(self._put(self._prepared(spec, uploader)))

    async def delete(self, key: Key) -> None:
        """Stop a service and forget it; returns when its processes are gone.

        @raise NotFound: there is no such service.
        """
        await self._up()
        await unbroken(self._delete(key, self._known(key)))

    def figures(self) -> Iterator[Figure]:
        """How the instances are (L{microd.kernel.health.Figures})."""
        counts = Counter(state.status for each in self._deployments.values() for state in each.states())
        instances = [({"status": status.name.lower()}, float(counts[status])) for status in Status]
        yield Figure("microd_runtime_instances", "Instances of services, by status.", "gauge", instances)
        yield gauge("microd_runtime_services", "Services that are to run.", len(self._deployments))

    async def read(self, namespace: str, name: str = "", version: str = "", type: str = "") -> Sequence[View]:
        """The services of a namespace, by name and version; the other arguments, if given, select exactly."""
        await self._up()
        return [
            deployment.view()
            for key, deployment in sorted(self._deployments.items(), key=lambda item: item[0])
            if key.namespace == namespace
            and name in ("", key.name)
            and version in ("", key.version)
            and type in ("", deployment.spec.type)
        ]

    async def logs(
        self, key: Key, count: int = 0, since: float = 0.0, follow: bool = False
    ) -> AsyncIterator[Line]:
        """The newest lines of a service (0: 10,000), the oldest first; then, to follow, all that come.

        @raise NotFound: no such service has been run.
        """
        await self._up()
        if key not in self._deployments and not self._logs.known(key):
            raise NotFound(f"Logs not found for service {key.name}")
        if not follow or key not in self._deployments:
            for line in self._logs.read(key, count, since):
                yield line
            return
        log = self._logs.of(key)
        past, follower = log.last(count, since), log.follow()
        try:
            for line in past:
                yield line
            async for line in follower:
                yield line
        finally:
            follower.close()

    async def _start(self) -> None:
        ended = self._launcher.sweep(f"{self._machine.tag}.")
        if ended:
            self.log.warn("{count} processes of an earlier daemon were still alive: killed", count=ended)
        records = await self._records.load()
        used = {spec.folder for each in records for spec in (each.spec, each.former) if spec is not None}
        now = self._clock.seconds()
        for name in ("sources", "logs", "venvs"):
            (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.sources.prune(used, now)
        await self._in_thread(lambda: self._venvs.prune(now))
        await self._in_thread(lambda: self._logs.prune(now, {each.spec.key for each in records}))
        if not self.running:
            return
        self._presence.start()
        for record in records:
            self._resume(record)
        self._loaded.open()

    async def _stop(self) -> None:
        self._loaded.open()
        self._presence.stop()
        await gatherResults([Deferred.fromCoroutine(each.stop()) for each in self._deployments.values()])
        self._logs.close_all()
        self._deployments.clear()

    async def _up(self) -> None:
        """Wait until what is kept has been read; nothing can be said before.

        @raise Unavailable: we are stopping.
        """
        await self._loaded.opened()
        if not self.running:
            raise Unavailable("the runtime is stopping")

    def _prepared(self, spec: Spec, uploader: str) -> Spec:
        """Fill in what is known here, and see that there is something to run."""
        spec = rules.check_spec(replace(spec, updated=self._clock.seconds()), self._limits.instances)
        if not spec.folder:
            if spec.source:
                spec = replace(spec, folder=self.sources.find(uploader, spec.source))
            elif spec.command:
                spec = replace(spec, folder=self.sources.blank(spec.key))
            else:
                raise BadRequest(
                    "there is no source: upload one first (micro run FOLDER does), or name a command"
                )
        root = self.sources.path(spec.folder)
        read_recipe(find_program(spec, root).folder, root)
        return spec

    async def _put(self, spec: Spec) -> None:
        with self._alone(spec.key, spec.folder):
            deployment = self._deployments.get(spec.key)
            keep = deployment is not None and deployment.serves
            record = Record(spec, deployment.serving if deployment is not None and keep else None)
            await self._records.save(record)
            self._tell(events.CREATED if deployment is None else events.UPDATED, spec)
            if not self.running:
                return
            if deployment is None:
                self._resume(record)
            else:
                deployment.replace(spec, keep)

    async def _delete(self, key: Key, deployment: Deployment) -> None:
        with self._alone(key):
            await self._records.remove(key)
            self._tell(events.DELETED, deployment.spec)
            folders = deployment.folders
            await deployment.stop()
            await self._revoke(key.namespace, key.account)
            self._deployments.pop(key, None)
            self._logs.close(key)
            for folder in folders:
                await self._unused(folder)

    def _tell(self, what: str, spec: Spec) -> None:
        if self._announce is not None:
            self._announce(what, spec)

    def _resume(self, record: Record) -> None:
        key = record.spec.key
        deployment = self._deployments[key] = Deployment(
            self._machine, self._logs.of(key), self.sources.path, self._decided, self._unused
        )
        deployment.seen(*self._presence.of(key))
        deployment.start(record.former or record.spec)
        if record.former is not None:
            deployment.replace(record.spec, keep=True)

    async def _decided(self, record: Record) -> None:
        """An update has succeeded or was given up: keep that, unless something newer is just being kept."""
        if record.spec.key not in self._busy:
            await self._records.save(record)

    async def _unused(self, folder: str) -> None:
        """Remove a source which nobody runs any more, nor is about to."""
        used = any(folder in each.folders for each in self._deployments.values())
        if not used and folder not in self._busy.values():
            await self.sources.remove(folder)

    @contextmanager
    def _alone(self, key: Key, folder: str = "") -> Iterator[None]:
        """One change of a service at a time; the source in C{folder} is needed for it."""
        if key in self._busy:
            raise Conflict(
                f"the service {key} is being changed by somebody else: try again when that is done"
            )
        self._busy[key] = folder
        try:
            yield
        finally:
            del self._busy[key]

    def _known(self, key: Key) -> Deployment:
        deployment = self._deployments.get(key)
        if deployment is None:
            raise NotFound(f"the service {key} was not found: micro status lists those there are")
        return deployment

    def _seen(self, key: Key, seen: Seen) -> None:
        deployment = self._deployments.get(key)
        if deployment is not None:
            deployment.seen(*seen)
