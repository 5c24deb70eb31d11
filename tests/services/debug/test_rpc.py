"""What the platform's own services answer about themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Forbidden, Unauthorized
from microd.services.debug.rpc import endpoints
from microd.services.debug.service import Debug
from microd.testing.outcome import done

ADMIN = Caller(Account("admin", "user", "micro", scopes=("admin",)))
USER = Caller(Account("ada", "user", "micro"))
THEIRS = Caller(Account("eve", "user", "acme", scopes=("admin",)), "acme")
NOBODY = Caller()


class Scene:
    """Two core services that are watched."""

    def __init__(self) -> None:
        self.publisher = LogPublisher()
        self.debug = Debug(["store", "proxy"], self.publisher, LogLevel.info)
        self.wrong = ""
        self.offered = {each.path: each for each in endpoints(self.debug, self.reasons)}
        self.debug.startService()

    def reasons(self, service: str) -> list[Any]:
        """What is wrong, with the store alone."""
        return [lambda: self.wrong, lambda: None] if service == "store" else []

    def ask(self, path: str, caller: Caller = ADMIN, **fields: Any) -> Any:
        """Call one of the endpoints."""
        endpoint: Endpoint = self.offered[path]
        return done(endpoint.handler(endpoint.request(**fields), caller))

    def say(self, logger: str, text: str, **fields: Any) -> None:
        """Log something."""
        Logger(logger, observer=self.publisher).info(text, **fields)

    def messages(self, service: str, **fields: Any) -> list[str]:
        """What a service's log has."""
        return [record.message for record in self.ask(f"/{service}.Debug/Log", **fields).records]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Two core services that are watched."""
    scene = Scene()
    yield scene
    if scene.debug.running:
        scene.debug.stopService()


def test_offered(scene: Scene) -> None:
    """Each service answers the four."""
    assert set(scene.offered) == {
        f"/{service}.Debug/{method}"
        for service in ("store", "proxy")
        for method in ("Health", "Stats", "Log", "Trace")
    }


def test_health(scene: Scene) -> None:
    """A service which cannot do its work says so; strangers are not told which disk it is."""
    assert scene.ask("/store.Debug/Health", NOBODY).status == "ok"
    scene.wrong = "no writes: the disk of /var/lib/microd failed"
    assert scene.ask("/store.Debug/Health", USER).status == scene.wrong
    assert scene.ask("/store.Debug/Health", NOBODY).status == "not well; its accounts are told more"
    assert scene.ask("/proxy.Debug/Health", USER).status == "ok"


def test_stats(scene: Scene) -> None:
    """Accounts are told what the daemon takes, and what was asked of just this service."""
    activity = scene.debug.noted(scene.offered["/store.Debug/Health"]).activity
    assert activity is not None
    activity.answered("", 1000.0, 0.5, "", {})
    stats = scene.ask("/store.Debug/Stats", USER)
    assert (stats.requests, stats.errors) == (1, 0)
    assert scene.ask("/proxy.Debug/Stats", USER).requests == 0
    assert stats.memory > 1 << 20
    assert stats.started <= stats.timestamp
    with pytest.raises(Unauthorized):
        scene.ask("/store.Debug/Stats", NOBODY)


@pytest.mark.parametrize("method", ["Log", "Trace"])
def test_closed(scene: Scene, method: str) -> None:
    """What all tenants asked for is for those who administer the platform."""
    path = f"/store.Debug/{method}"
    scene.ask(path, ADMIN)
    with pytest.raises(Unauthorized):
        scene.ask(path, NOBODY)
    for caller in (USER, THEIRS):
        with pytest.raises(Forbidden):
            scene.ask(path, caller)


def test_log(scene: Scene) -> None:
    """A service's lines are its own, and the daemon's as a whole; the newest, if so many were asked for."""
    scene.say("microd.services.store.backends.sqlite", "written")
    scene.say("microd.gateways.proxy.relay", "relayed")
    scene.say("microd.app.root", "draining")
    assert scene.messages("store") == ["written", "draining"]
    assert scene.messages("proxy") == ["relayed", "draining"]
    assert scene.messages("store", count=1) == ["draining"]
    assert scene.messages("store", since=1 << 40) == []
    with pytest.raises(BadRequest, match="since"):
        scene.messages("store", since=-1)


def test_calls(scene: Scene) -> None:
    """What a door says of a call is for the service that was called, and for the door's."""
    for service in ("store", "greeter"):
        scene.say("microd.calls", "{service} failed", service=service, door="proxy")
    assert scene.messages("store") == ["store failed"]
    assert scene.messages("proxy") == ["store failed", "greeter failed"]


def test_secrets(scene: Scene) -> None:
    """A token is nothing to remember."""
    scene.say("microd.app", "got {header}", header="authorization: Bearer s3cret-t0ken")
    assert "s3cret" not in str(scene.ask("/store.Debug/Log"))


def test_record(scene: Scene) -> None:
    """A line has its level, its time, the trace and what was said by name; an exception its stack."""
    scene.say("microd.services.store", "kept {key}", key="k", trace_id="0af7")
    failure = Failure(ValueError("odd"))
    Logger("microd.services.store", observer=scene.publisher).failure("failed", failure)
    kept, failed = scene.ask("/store.Debug/Log").records
    assert {"level": "info", "key": "k", "trace_id": "0af7"}.items() <= dict(kept.metadata).items()
    assert (failed.metadata["level"], failed.message) == ("fatal", "failed")
    assert "odd" in failed.metadata["stack"]
    assert kept.timestamp > 1_700_000_000


def test_level(scene: Scene) -> None:
    """What the daemon does not log is not remembered, nor what is logged once it has stopped."""
    Logger("microd.app", observer=scene.publisher).debug("detail")
    scene.debug.stopService()
    scene.say("microd.app", "late")
    assert scene.messages("store") == []


def test_trace(scene: Scene) -> None:
    """The spans are those of the service's own calls."""
    activity = scene.debug.activities["store"]
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    activity.note(("store.Store.Read", 0, 5, 7, "not found", trace))
    [span] = scene.ask("/store.Debug/Trace", id="0AF76519-16cd-43dd-8448-eb211c80319c").spans
    assert (span.trace, span.parent) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert (span.started, span.duration, dict(span.metadata)) == (5, 2, {"error": "not found"})
    assert scene.ask("/store.Debug/Trace").spans[0].id == span.id
    assert list(scene.ask("/proxy.Debug/Trace").spans) == []
