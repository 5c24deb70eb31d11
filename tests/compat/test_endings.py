"""Streams which are open when an account is deleted or a rule is made: grpcio and HTTP, from outside."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from threading import Event
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory

from tests.compat.conftest import Client, Daemon
from tests.compat.wires import LIMIT, Refused, Shown, encoded, refused_from

ALPHA = {"namespace": "alpha"}
WATCH, SUBSCRIBE, LOGS, BLOB = (
    "/config.Config/Watch",
    "/broker.Broker/Subscribe",
    "/runtime.Runtime/Logs",
    "/store.BlobStore/Read",
)
PROGRAM = "import time; print('line', flush=True); time.sleep(600)"


class Clock:
    """A user's service of grpcio: tells the time for as long as somebody listens."""

    def __init__(self, name: str) -> None:
        self._stopped = Event()
        self.server = grpc.server(ThreadPoolExecutor(8))
        methods = {"Tick": grpc.unary_stream_rpc_method_handler(self._tick)}
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(f"{name}.Clock", methods),)
        )
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _tick(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        while context.is_active() and not self._stopped.wait(0.01):
            yield b"tick"

    def stop(self) -> None:
        """Stop."""
        self._stopped.set()
        self.server.stop(None).wait(LIMIT)


class Stream:
    """A stream over gRPC, which has begun once its C{first} reply is there."""

    def __init__(self, threads: ThreadPoolExecutor, answer: Any) -> None:
        self._answer = answer
        self.first = threads.submit(next, answer)

    def end(self) -> Refused:
        """How it ends."""
        assert self.first.done()
        try:
            for _ in self._answer:
                pass
        except grpc.RpcError as error:
            return refused_from(error.details(), error.code().name)
        raise AssertionError("it was complete")


class Account:
    """An account of alpha which was made for a test."""

    def __init__(self, call: Client) -> None:
        self._call = call
        self._wire: Any = call.wire
        self._threads = ThreadPoolExecutor(8)
        draft = {"id": call.unique, "type": "user", "scopes": ["admin"], "secret": "s", "options": ALPHA}
        call("/auth.Auth/Generate", draft, by="alpha-admin")
        self.token = call.token("alpha", call.unique, "s")

    def core(self, path: str, request: Shown) -> Stream:
        """Open a stream of the platform's."""
        method = self._wire._contracts.method(path)
        kind = message_factory.GetMessageClass(method.input_type)
        return self._begun(
            self._wire._callable(path, method), json_format.ParseDict(encoded(request), kind())
        )

    def ticks(self) -> Stream:
        """Open a stream of the user's service."""
        return self._begun(self._wire.channel.unary_stream(f"/{self._call.unique}.Clock/Tick"), b"")

    def _begun(self, method: Any, message: Any) -> Stream:
        metadata = [("authorization", f"Bearer {self.token}")]
        return Stream(self._threads, method(message, metadata=metadata, timeout=LIMIT))

    def delete(self) -> tuple[int, str]:
        """Delete it; how its streams are to end."""
        self._call("/auth.Accounts/Delete", {"id": self._call.unique, "options": ALPHA}, by="alpha-admin")
        return 401, f"the account {self._call.unique} was revoked: log in again"


@pytest.fixture(params=["proxy-proto", "network-proto"])
def call(request: pytest.FixtureRequest, daemon: Daemon) -> Client:
    """A client at each door for gRPC."""
    return Client(daemon, daemon.wire(request.param))


@pytest.fixture
def clock(call: Client) -> Iterator[Clock]:
    """A user's service, registered."""
    clock = Clock(call.unique)
    node = {"id": f"{call.unique}-1", "address": clock.address}
    service = {"name": call.unique, "version": "latest", "nodes": [node]}
    request = {**service, "options": {"ttl": 60, "domain": "alpha"}}
    call("/registry.Registry/Register", request, by="alpha-service")
    yield clock
    call("/registry.Registry/Deregister", request, by="alpha-service")
    clock.stop()


@pytest.fixture
def account(call: Client) -> Account:
    """An account."""
    return Account(call)


@pytest.fixture
def program(call: Client) -> Iterator[Shown]:
    """What asks for the logs of a program that the runtime runs."""
    resource = {"resource": {"service": {"name": call.unique, "version": "latest"}}}
    options = {**ALPHA, "command": ["python3", "-c", PROGRAM]}
    call("/runtime.Runtime/Create", {**resource, "options": options}, by="alpha-admin")
    yield {"service": call.unique, "count": 10, "stream": True, "options": ALPHA}
    call("/runtime.Runtime/Delete", {**resource, "options": ALPHA}, by="alpha-admin")


@pytest.fixture
def watched(call: Client) -> Shown:
    """What watches a value of config."""
    path = {"namespace": "alpha", "path": call.unique}
    call("/config.Config/Set", {**path, "value": {"data": "1", "format": "json"}}, by="alpha-admin")
    return path


def heard(call: Client, subscription: Stream) -> None:
    """Publish until it is heard."""
    publication = {"topic": call.unique, "message": {"body": b"x"}}
    while not subscription.first.done():
        call("/broker.Broker/Publish", publication, by="alpha-service")
        wait([subscription.first], 0.01)


def test_deleted_account(
    call: Client, account: Account, watched: Shown, program: Shown, clock: Clock
) -> None:
    """Whatever an account has open ends with it: watches, subscriptions, logs, and users' services."""
    subscription = account.core(SUBSCRIBE, {"topic": call.unique})
    heard(call, subscription)
    streams = [account.core(WATCH, watched), account.core(LOGS, program), account.ticks()]
    for each in streams:
        each.first.result(LIMIT)
    expected = account.delete()
    for each in (subscription, *streams):
        ended = each.end()
        assert (ended.brief, ended.grpc) == (expected, "UNAUTHENTICATED")


def test_deleted_reader(call: Client, account: Account) -> None:
    """A blob that an account has begun to read is not read to its end."""
    piece = b"x" * 1_000_000
    first = {"key": call.unique, "options": ALPHA, "blob": piece}
    call.stream("/store.BlobStore/Write", [first, *[{"blob": piece}] * 15], by="alpha-service")
    reading = account.core(BLOB, {"key": call.unique, "options": ALPHA})
    reading.first.result(LIMIT)
    expected = account.delete()
    assert reading.end().brief == expected


def test_rule(call: Client, account: Account, watched: Shown, clock: Clock) -> None:
    """A rule ends what it closes, and nothing else."""
    watch, ticks = account.core(WATCH, watched), account.ticks()
    watch.first.result(LIMIT)
    ticks.first.result(LIMIT)
    resource = {"type": "service", "name": call.unique, "endpoint": "Clock.Tick"}
    rule = {"id": call.unique, "scope": "*", "resource": resource, "access": "DENIED", "priority": 1}
    call("/auth.Rules/Create", {"rule": rule, "options": ALPHA}, by="alpha-admin")
    ended = ticks.end()
    assert (ended.code, ended.grpc) == (403, "PERMISSION_DENIED")
    assert ended.detail.startswith(f"Forbidden call made to {call.unique}:Clock.Tick by {call.unique}: rule")
    call("/auth.Rules/Delete", {"id": call.unique, "options": ALPHA}, by="alpha-admin")
    expected = account.delete()
    assert watch.end().brief == expected


def test_http(daemon: Daemon, watched: Shown, account: Account) -> None:
    """Over HTTP the error is the last line."""
    connection = http.client.HTTPConnection(daemon.platform.door("api"), timeout=LIMIT)
    with closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {account.token}"}
        connection.request("POST", "/config/Config/Watch", json.dumps(watched), headers)
        answer = connection.getresponse()
        assert json.loads(answer.readline())["value"]["data"] == "1"
        expected = account.delete()
        (last,) = answer.read().splitlines()
        assert refused_from(last.decode()).brief == expected
