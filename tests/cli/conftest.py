"""A daemon without a network: what the commands' calls reach, and a user in front of them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from microd.cli.address import Address
from microd.cli.main import run
from microd.cli.session import Session
from microd.kernel.caller import Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import MicroError
from microd.testing.outcome import done
from microd.txgrpc.status import RpcError, StatusCode
from microd.wire import registry_pb2

ADDRESS = "127.0.0.1:8081"


@dataclass(slots=True)
class Call:
    """One call as the daemon saw it."""

    path: str
    body: bytes
    metadata: dict[str, str]
    timeout: float | None
    content_type: str | None


Refusal = Callable[..., RpcError]


def refusal(code: int, detail: str, id: str = "test") -> RpcError:
    """What a server answers to say no."""
    error = MicroError(detail, id, code)
    return RpcError(StatusCode(error.grpc_status), error.to_json(), answered=True)


class Talk:
    """A call with many replies: those which are there come first, and what is an error among them is raised.

    @ivar written: what was said after the first request.
    """

    def __init__(self, begin: Callable[[bytes], Any]) -> None:
        self._begin = begin
        self._replies: Any = None
        self.written: list[bytes] = []
        self.cancelled = False

    @property
    def ready(self) -> int:
        replies = self._replies if isinstance(self._replies, list) else []
        return sum(not isinstance(reply, BaseException) for reply in replies)

    def write(self, message: bytes) -> None:
        if self._replies is None:
            replies = self._begin(message)
            self._replies = list(replies) if isinstance(replies, list) else iter(replies)
        elif self._replies and isinstance(self._replies, list) and isinstance(self._replies[0], RpcError):
            raise self._replies[0]
        else:
            self.written.append(message)

    def __iter__(self) -> Talk:
        return self

    def __next__(self) -> bytes:
        if not isinstance(self._replies, list):
            return _bytes(next(self._replies))
        if not self._replies:
            raise StopIteration
        reply = self._replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return _bytes(reply)

    def cancel(self) -> None:
        self.cancelled = True


class Daemon:
    """Answers calls by path; keeps what it was asked.

    A handler is given the call, and returns a message, bytes, or (for a stream) an iterable of either. A taker is given
    the messages of a stream as they come.

    @ivar talks: the calls which went both ways.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Call], Any]] = {}
        self.takers: dict[str, Callable[[Iterable[bytes]], Any]] = {}
        self.calls: list[Call] = []
        self.talks: list[Talk] = []
        self.connected: list[Address] = []
        self.up = True
        self.why_down = "nothing listens there"

    def answers(self, path: str, reply: Any) -> None:
        """Answer every call of C{path} with the same."""
        self.handlers[path] = lambda call: reply

    def refuses(self, path: str, code: int, detail: str) -> None:
        """Answer every call of C{path} with an error."""

        def refuse(call: Call) -> Any:
            raise refusal(code, detail)

        self.handlers[path] = refuse

    def asked(self, path: str) -> list[Call]:
        """The calls of C{path}."""
        return [call for call in self.calls if call.path == path]

    def connect(self, address: Address) -> Daemon:
        """Be the connection, too."""
        self.connected.append(address)
        return self

    def unary_unary(self, path: str) -> Callable[..., bytes]:
        return lambda body, **options: _bytes(self._reply(path, body, options))

    def unary_stream(self, path: str) -> Callable[..., Talk]:
        def call(body: bytes, **options: Any) -> Talk:
            talk = Talk(lambda first: self._reply(path, first, options))
            talk.write(body)
            return talk

        return call

    def stream_stream(self, path: str) -> Callable[..., Talk]:
        def call(**options: Any) -> Talk:
            self.talks.append(Talk(lambda first: self._reply(path, first, options)))
            return self.talks[-1]

        return call

    def stream_unary(self, path: str) -> Callable[..., bytes]:
        def call(bodies: Iterable[bytes], **options: Any) -> bytes:
            if path in self.takers:
                return _bytes(self.takers[path](bodies))
            return _bytes(self._reply(path, b"\0".join(bodies), options))

        return call

    def close(self) -> None:
        """Nothing is open."""

    def _reply(self, path: str, body: bytes, options: Mapping[str, Any]) -> Any:
        if not self.up:
            raise RpcError(StatusCode.UNAVAILABLE, self.why_down, delivered=False)
        call = Call(
            path, body, dict(options.get("metadata", ())), options.get("timeout"), options.get("content_type")
        )
        self.calls.append(call)
        handler = self.handlers.get(path)
        if handler is None:
            service = path[1:].partition("/")[0].rpartition(".")[0]
            raise refusal(500, f"service {service}: route not found")
        return handler(call)


def _bytes(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())


class Terminal:
    """A person who answers from a list; or, not interactive, standard input."""

    def __init__(self) -> None:
        self.interactive = False
        self.answers: list[str] = []
        self.asked: list[tuple[str, bool]] = []

    def ask(self, prompt: str, *, hidden: bool = False) -> str:
        self.asked.append((prompt, hidden))
        return self.answers.pop(0) if self.answers else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it answered, in JSON."""
        return json.loads(self.out)


@dataclass(slots=True)
class User:
    """Somebody who types commands, on a host with or without a daemon of theirs.

    @ivar now: unix seconds; sleeping moves it.
    @ivar naps: what happens while the command sleeps, one after the other.
    @ivar executed: the programs that commands became.
    """

    home: Path
    daemon: Daemon
    capsys: pytest.CaptureFixture[str]
    terminal: Terminal = field(default_factory=Terminal)
    environ: dict[str, str] = field(default_factory=dict)
    now: float = 1_700_000_000.0
    naps: list[Callable[[], None]] = field(default_factory=list)
    executed: list[list[str]] = field(default_factory=list)

    def micro(self, *words: str) -> Outcome:
        """Run C{micro} with these words."""
        session = Session(
            {"MICRO_HOME": str(self.home), **self.environ},
            connect=self.daemon.connect,
            terminal=self.terminal,
            now=lambda: self.now,
            sleep=self._sleep,
            execute=lambda program, words: self.executed.append([program, *words]),
        )
        code = run(words, session)
        said = self.capsys.readouterr()
        return Outcome(code, said.out, said.err)

    def has_a_daemon(self, address: str = ADDRESS, secret: str = "s3cret", pid: int | None = None) -> None:
        """Let a daemon of this user run on this host."""
        data = self.home / "server"
        data.mkdir(parents=True, exist_ok=True)
        doors = {"proxy": address, "api": "127.0.0.1:8080", "shell": "unix:/run/shell"}
        told = {"pid": pid or os.getpid(), "doors": doors}
        (data / "daemon.json").write_text(json.dumps(told))
        (data / "admin-secret").write_text(f"{secret}\n")

    def config(self) -> Any:
        """What is in the config file."""
        return json.loads((self.home / "config.json").read_text())

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.naps:
            self.naps.pop(0)()


@pytest.fixture(name="refusal")
def refusal_fixture() -> Refusal:
    """Makes what a server answers to say no."""
    return refusal


def greeter_entry() -> registry_pb2.Service:
    """A service as its framework registers it."""
    value = registry_pb2.Value
    address = value(name="address", type="Address", values=[value(name="city", type="string")])
    hello = registry_pb2.Endpoint(
        name="Greeter.Hello",
        request=value(
            name="HelloRequest", type="HelloRequest", values=[value(name="name", type="string"), address]
        ),
        response=value(name="HelloReply", type="HelloReply", values=[value(name="msg", type="string")]),
        metadata={"doc": "Greet somebody\nby name.\n\nAt length."},
    )
    count = registry_pb2.Endpoint(
        name="Greeter.CountUp",
        request=value(name="Context", type="Context"),
        response=value(name="Stream", type="Stream"),
        metadata={"stream": "true"},
    )
    node = registry_pb2.Node(id="greeter-1", address="127.0.0.1:4000", metadata={"protocol": "grpc"})
    return registry_pb2.Service(name="greeter", version="latest", endpoints=[hello, count], nodes=[node])


@pytest.fixture
def greeter(daemon: Daemon) -> registry_pb2.Service:
    """A service in the registry, in the namespace C{micro}."""
    entry = greeter_entry()

    def get(call: Call) -> registry_pb2.GetResponse:
        request = registry_pb2.GetRequest.FromString(call.body)
        if (request.service, request.options.domain) != ("greeter", "micro"):
            raise refusal(404, "service not found")
        return registry_pb2.GetResponse(services=[entry])

    daemon.handlers["/registry.Registry/GetService"] = get
    return entry


@pytest.fixture
def daemon() -> Daemon:
    """The daemon that calls reach."""
    return Daemon()


def serve(daemon: Daemon, endpoints: Iterable[Endpoint]) -> None:
    """Have a real core service answer the daemon's calls, as the platform's admin."""
    caller = Caller(Account("admin", "user", "micro", scopes=("admin",)))

    def answer(endpoint: Endpoint, call: Call) -> Any:
        request = endpoint.request.FromString(call.body)
        if not endpoint.server_streaming:
            return _outcome(endpoint.handler(request, caller))
        replies = endpoint.handler(request, caller)

        async def following() -> Any:
            return await anext(replies, None)

        return iter(lambda: _outcome(following()), None)

    def take(endpoint: Endpoint, bodies: Iterable[bytes]) -> Any:
        async def requests() -> AsyncIterator[Any]:
            for body in bodies:
                yield endpoint.request.FromString(body)

        return _outcome(endpoint.handler(requests(), caller))

    for endpoint in endpoints:
        if endpoint.client_streaming:
            daemon.takers[endpoint.path] = partial(take, endpoint)
        else:
            daemon.handlers[endpoint.path] = partial(answer, endpoint)


def _outcome(answer: Coroutine[Any, Any, Any]) -> Any:
    try:
        return done(answer)
    except MicroError as error:
        raise RpcError(StatusCode(error.grpc_status), error.to_json(), answered=True) from error


@pytest.fixture
def user(tmp_path: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> User:
    """Somebody with an empty home."""
    return User(tmp_path / "home", daemon, capsys)
