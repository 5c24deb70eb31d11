"""A service as a process of its own, beside a daemon in memory which listens on a real port."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGABRT, SIGSEGV
from typing import Any

import grpc
import pytest
import pytest_twisted
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from microd.framework import BlockingClient, Conflict, Internal, NotFound
from microd.framework.client import Client
from microd.framework.identity import Credentials
from microd.kernel.errors import MicroError
from microd.testing.daemon import FakeDaemon
from microd.txgrpc import Channel, GrpcServer, ServerCall, unary_unary
from microd.txgrpc.endpoints import client_endpoint, server_endpoint
from microd.txgrpc.wire.health_pb2 import HealthCheckRequest, HealthCheckResponse

reactor: Any = _reactor
ROOT = Path(__file__).parents[2]

GREETER = '''
from dataclasses import dataclass
from microd.framework import Service

@dataclass
class HelloRequest:
    name: str

@dataclass
class HelloReply:
    msg: str

service = Service("greeter")

@service.endpoint                       # Greeter.Hello
async def hello(request: HelloRequest) -> HelloReply:
    """Greet somebody by name."""
    return HelloReply(msg=f"Hello {request.name}")

if __name__ == "__main__":
    service.run()
'''

THREADS = """
import time, threading
from dataclasses import dataclass
from microd.framework import Service, current_call

@dataclass
class Text:
    text: str = ""

service = Service("threads", threads=2)
both = threading.Barrier(2)

@service.endpoint
def meet(request: Text) -> Text:
    both.wait(20)
    return Text(f"{threading.current_thread() is not threading.main_thread()} {current_call().endpoint}")

service.run()
"""

ASYNCIO = """
import asyncio
from dataclasses import dataclass
from typing import AsyncIterator
from microd.framework import Service, Conflict

@dataclass
class Text:
    text: str = ""

service = Service("loop", reactor="asyncio")
events = []

@service.endpoint
async def nap(request: Text) -> Text:
    await asyncio.sleep(0.01)
    own = await service.client.call("loop", "Loop.Same", request, Text)
    return Text(f"slept {own.text}")

@service.endpoint
async def same(request: Text) -> Text:
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    return request

@service.endpoint
async def refuse(request: Text) -> Text:
    await asyncio.sleep(0)
    raise Conflict("no")

@service.endpoint
async def quit(request: Text) -> Text:
    raise SystemExit(3)

@service.endpoint
async def upper(requests: AsyncIterator[Text]) -> AsyncIterator[Text]:
    async for request in requests:
        await asyncio.sleep(0)
        yield Text(request.text.upper())

@service.endpoint
async def forever(request: Text) -> Text:
    try:
        await asyncio.Future()
    finally:
        events.append("cancelled")

@service.endpoint
async def said() -> Text:
    return Text(",".join(events))

service.run()
"""

SLOW = """
from dataclasses import dataclass
from microd.framework import Service

@dataclass
class Text:
    text: str = ""

service = Service("slow")

@service.endpoint
async def wait() -> Text:
    print("waiting")
    return await service.client.call("gate", "Gate.Wait", None, Text, timeout=30)

@service.on_start
async def begun():
    print("begun")

@service.on_stop
def over():
    print("over")

service.run()
"""


STUCK = """
import threading
from dataclasses import dataclass
from microd.framework import Service

@dataclass
class Text:
    text: str = ""

service = Service("slow", drain=0.1)

@service.endpoint
def wait() -> Text:
    print("waiting")
    threading.Event().wait()
    return Text()

service.run()
"""

LOGGING = """
import logging
from dataclasses import dataclass
from microd.framework import Service

@dataclass
class Text:
    text: str = ""

service = Service("logging")

@service.endpoint
async def fail(request: Text) -> Text:
    logging.getLogger("lib").warning("beware")
    logging.getLogger("lib").info("hidden")
    raise RuntimeError("broken")

print("ready")
service.run()
"""

SHOUTER = """
from collections.abc import AsyncIterator
from dataclasses import dataclass
from microd.framework import Service, Conflict

@dataclass
class Text:
    text: str = ""

service = Service("shouter")

@service.endpoint
def shout(request: Text) -> Text:
    return Text(request.text.upper())

@service.endpoint
async def twice(request: Text) -> AsyncIterator[Text]:
    yield Text(request.text.upper())
    yield Text(request.text.upper())

@service.endpoint
async def each(requests: AsyncIterator[Text]) -> AsyncIterator[Text]:
    async for request in requests:
        yield Text(request.text.upper())

@service.endpoint
async def join(requests: AsyncIterator[Text]) -> Text:
    return Text("".join([request.text async for request in requests]))

@service.endpoint
async def refuse(request: Text) -> Text:
    raise Conflict("taken")

service.run()
"""


@dataclass
class Text:
    """The children's message."""

    text: str = ""


class Child(ProcessProtocol):
    """A service's process: what it prints, and how it ends."""

    def __init__(self) -> None:
        self.text = ""
        self.status: int | None = None
        self.ended: Deferred[None] = Deferred()
        self._waiting: list[tuple[str, Deferred[None]]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.text += data.decode()
        for word, told in list(self._waiting):
            if word in self.text:
                self._waiting.remove((word, told))
                told.callback(None)

    def processEnded(self, reason: Failure) -> None:
        ended: Any = reason.value
        killed = None if ended.signal is None else -ended.signal
        self.status = 0 if reason.check(ProcessDone) else ended.exitCode if killed is None else killed
        for _, told in self._waiting:
            told.errback(AssertionError(self.text))
        self.ended.callback(None)

    def signal(self, name: str) -> None:
        """Send it a signal, such as C{TERM}."""
        assert self.transport is not None
        self.transport.signalProcess(name)

    async def says(self, word: str) -> None:
        """Wait until it has printed C{word}."""
        if word not in self.text:
            told: Deferred[None] = Deferred()
            self._waiting.append((word, told))
            await told.addTimeout(30, reactor)

    async def ends(self) -> int | None:
        """Wait for the end, and give the status; of a signal, less than nothing."""
        await self.ended.addTimeout(30, reactor)
        assert self.status not in (-SIGABRT, -SIGSEGV), self.text
        return self.status


Spawn = Callable[..., Child]


class Town:
    """A daemon in memory on a real port, services, and a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon = FakeDaemon(reactor)
        self.daemon.accounts["micro", "a"] = "s"
        self.children: list[Child] = []
        self.channels: list[Channel] = []
        self.port: Any = None

    async def open(self) -> None:
        """Listen."""
        self.port = await server_endpoint(reactor, "tcp:0:interface=127.0.0.1").listen(self.daemon.server)

    @property
    def address(self) -> str:
        """Where the daemon listens."""
        return f"127.0.0.1:{self.port.getHost().port}"

    def spawn(self, source: str, **environ: str) -> Child:
        """Start a service from its source."""
        (self.folder / "main.py").write_text(source)
        child = Child()
        given = {
            "MICRO_PROXY": self.address if self.port else "127.0.0.1:1",
            "MICRO_AUTH_ID": "a",
            "MICRO_AUTH_SECRET": "s",
            "PYTHONPATH": str(ROOT),
            "MICRO_HOME": str(self.folder),
            **environ,
        }
        reactor.spawnProcess(
            child, sys.executable, [sys.executable, str(self.folder / "main.py")], given, str(self.folder)
        )
        self.children.append(child)
        return child

    def client_of(self, name: str) -> Client:
        """A client which goes straight to the one node of a service."""
        [entry] = [entry for entry in self.daemon.nodes.values() if entry.name == name]
        node = Channel(client_endpoint(reactor, entry.nodes[0].address), reactor)
        self.channels.append(node)
        client = Client(
            node, lambda: Credentials("a", "s", "micro"), reactor.seconds, namespace="micro", table="t"
        )
        client.tokens.ready = lambda: "token"  # type: ignore[method-assign]
        return client

    def gate(self) -> Deferred[bytes]:
        """Have a service which answers when the test lets it."""
        answer: Deferred[bytes] = Deferred()

        async def wait(request: bytes, call: ServerCall) -> bytes:
            return await answer

        self.daemon.services["gate"] = GrpcServer({"/gate.Gate/Wait": unary_unary(wait)}, clock=reactor)
        return answer

    async def close(self) -> None:
        """End everything."""
        for child in self.children:
            if child.status is None and child.transport is not None and child.transport.pid:
                child.signal("KILL")
                await child.ends()
        for channel in self.channels:
            await channel.close()
        if self.port is not None:
            await self.port.stopListening()
        await self.daemon.server.drain(0)


@pytest_twisted.async_yield_fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    """A daemon that listens."""
    town = Town(tmp_path)
    await town.open()
    yield town
    await town.close()


@pytest_twisted.ensureDeferred
async def test_life(town: Town) -> None:
    """The issue's service registers, answers in both encodings, and on SIGTERM deregisters and ends well."""
    child = town.spawn(GREETER, MICRO_SERVICE_PROCESS="p1")
    await child.says("is running")
    [entry] = town.daemon.nodes.values()
    node = entry.nodes[0]
    assert (entry.name, entry.version, entry.options.ttl, entry.options.domain) == (
        "greeter",
        "latest",
        90,
        "micro",
    )
    assert node.id.startswith("greeter-")
    assert node.address.startswith("127.0.0.1:")
    assert {"server": "grpc", "protocol": "grpc", "transport": "grpc", "process": "p1"}.items() <= dict(
        node.metadata
    ).items()
    [endpoint] = entry.endpoints
    assert (endpoint.name, endpoint.metadata["doc"]) == ("Greeter.Hello", "Greet somebody by name.")
    assert [(value.name, value.type) for value in endpoint.request.values] == [("name", "string")]
    client = town.client_of("greeter")
    assert await client.call("greeter", "Greeter.Hello", {"name": "Ada"}) == {"msg": "Hello Ada"}
    child.signal("TERM")
    assert await child.ends() == 0
    assert not town.daemon.nodes
    words = [line.split(maxsplit=3)[3] for line in child.text.splitlines()]
    assert words == [
        f"registered greeter at {node.address}",
        "greeter latest is running",
        "greeter stops",
        "deregistered greeter",
    ]


@pytest_twisted.ensureDeferred
async def test_health_and_reflection(town: Town) -> None:
    """A service tells its health, for itself and by name."""
    child = town.spawn(GREETER)
    await child.says("is running")
    client = town.client_of("greeter")
    check = client._channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    for name in ("", "greeter.Greeter"):
        assert (await check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING


@pytest.mark.peer
@pytest_twisted.ensureDeferred
async def test_grpcio(town: Town) -> None:
    """grpcio, knowing no more than the exported .proto, calls the service, and gets errors as gRPC has them."""
    child = town.spawn(GREETER.replace("    service.run()", "    print(service.proto())\n    service.run()"))
    await child.says("is running")
    [entry] = town.daemon.nodes.values()
    (town.folder / "greeter.proto").write_text(child.text[: child.text.rindex("}") + 1])
    made = town.folder / "made"
    assert protoc.main(["protoc", f"-I{town.folder}", f"-o{made}", "greeter.proto"]) == 0
    pool = DescriptorPool()
    pool.AddSerializedFile(FileDescriptorSet.FromString(made.read_bytes()).file[0].SerializeToString())
    request, reply = (
        GetMessageClass(pool.FindMessageTypeByName(f"greeter.{name}"))
        for name in ("HelloRequest", "HelloReply")
    )

    def script() -> tuple[str, grpc.StatusCode]:
        with grpc.insecure_channel(entry.nodes[0].address) as channel:
            hello = channel.unary_unary("/greeter.Greeter/Hello", request.SerializeToString, reply.FromString)
            unreadable = channel.unary_unary("/greeter.Greeter/Hello")
            with pytest.raises(grpc.RpcError) as caught:
                unreadable(b"\xff", timeout=20)
            return hello(request(name="Ada"), timeout=20).msg, caught.value.code()

    assert await deferToThread(script) == ("Hello Ada", grpc.StatusCode.INVALID_ARGUMENT)


@pytest_twisted.ensureDeferred
async def test_daemon_restarts(town: Town) -> None:
    """When the daemon has restarted the service registers again by itself."""
    child = town.spawn(GREETER)
    await child.says("is running")
    before = town.daemon.registrations
    again: Deferred[None] = Deferred()
    town.daemon.on_register = lambda: again.callback(None)
    await town.daemon.server.drain(0)
    town.daemon.server.draining = False
    await again.addTimeout(30, reactor)
    assert town.daemon.registrations == before + 1


@pytest_twisted.ensureDeferred
async def test_threads(town: Town) -> None:
    """Plain functions run side by side in threads, and know their call."""
    child = town.spawn(THREADS)
    await child.says("is running")
    client = town.client_of("threads")

    async def meet() -> dict[str, str]:
        return await client.call("threads", "Threads.Meet", {}, timeout=20)

    calls = [Deferred.fromCoroutine(meet()) for _ in range(2)]
    for call in calls:
        assert await call == {"text": "True Threads.Meet"}


@pytest_twisted.ensureDeferred
async def test_asyncio(town: Town) -> None:
    """With the asyncio reactor handlers await what asyncio makes, and our client as well."""
    child = town.spawn(ASYNCIO)
    await child.says("is running")
    client = town.client_of("loop")
    assert await client.call("loop", "Loop.Same", {"text": "a"}) == {"text": "a"}
    with pytest.raises(Exception, match="no"):
        await client.call("loop", "Loop.Refuse", {"text": "a"})
    with pytest.raises(Exception, match="a handler can end its own call only, not the process"):
        await client.call("loop", "Loop.Quit", {"text": "a"})

    async def requests() -> AsyncIterator[dict[str, str]]:
        yield {"text": "a"}
        yield {"text": "b"}

    assert [reply async for reply in client.stream("loop", "Loop.Upper", requests())] == [
        {"text": "A"},
        {"text": "B"},
    ]
    with pytest.raises(Exception, match="deadline"):
        await client.call("loop", "Loop.Forever", {}, timeout=0.05)
    assert await client.call("loop", "Loop.Said", {}) == {"text": "cancelled"}
    child.signal("TERM")
    assert await child.ends() == 0


@pytest_twisted.ensureDeferred
async def test_finishes_calls(town: Town) -> None:
    """Told to stop, a service leaves the registry at once, finishes the calls in flight, and then ends well."""
    gate = town.gate()
    child = town.spawn(SLOW)
    await child.says("is running")
    assert "begun" in child.text
    waiting = Deferred.fromCoroutine(_wait(town.client_of("slow")))
    await child.says("waiting")
    gone: Deferred[None] = Deferred()
    town.daemon.on_deregister = lambda: gone.callback(None)
    child.signal("TERM")
    await gone
    assert not waiting.called
    gate.callback(b"\x0a\x04done")
    assert await waiting == {"text": "done"}
    assert await child.ends() == 0
    assert "over" in child.text


@pytest_twisted.ensureDeferred
async def test_second_signal(town: Town) -> None:
    """Told to stop a second time, a service stops now; the outcome of what was in flight is unknown."""
    town.gate()
    child = town.spawn(SLOW)
    await child.says("is running")
    waiting = Deferred.fromCoroutine(_wait(town.client_of("slow")))
    await child.says("waiting")
    child.signal("INT")
    await child.says("slow stops")
    child.signal("INT")
    await child.says("slow stops now")
    await child.ends()
    with pytest.raises(MicroError, match="unknown"):
        await waiting


async def _wait(client: Client) -> dict[str, str]:
    return await client.call("slow", "Slow.Wait", {}, timeout=30)


@pytest_twisted.ensureDeferred
async def test_stuck_thread(town: Town) -> None:
    """A plain function which does not return keeps the process for the time of the drain, and no longer."""
    child = town.spawn(STUCK)
    await child.says("is running")
    waiting = Deferred.fromCoroutine(_wait(town.client_of("slow")))
    await child.says("waiting")
    child.signal("TERM")
    assert await child.ends() == 0
    with pytest.raises(MicroError, match="unknown"):
        await waiting


@pytest_twisted.ensureDeferred
async def test_own_daemon(town: Town, tmp_path: Path) -> None:
    """Without any setting a service finds the daemon of its own user, and gets an account there."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "daemon.json").write_text(
        json.dumps({"pid": os.getpid(), "doors": {"network": town.address}})
    )
    (tmp_path / "server" / "admin-secret").write_text("admin-secret\n")
    child = town.spawn(GREETER, MICRO_PROXY="", MICRO_AUTH_ID="", MICRO_AUTH_SECRET="")
    await child.says("is running")
    assert ("micro", "greeter-standalone") in town.daemon.accounts


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MICRO_AUTH_SECRET": "x"}, "did not register greeter: Secret not correct"),
        ({"MICRO_AUTH_ID": ""}, "no credentials: set MICRO_AUTH_ID and MICRO_AUTH_SECRET"),
        ({"MICRO_SERVICE_ADDRESS": "nowhere"}, "'nowhere' is not an address to listen on"),
        ({"MICRO_SERVICE_ADDRESS": "192.0.2.1:80"}, "set MICRO_SERVICE_ADDRESS to another host:port"),
        ({"MICRO_PROXY": "a:b:c"}, "is not the address of a daemon"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_cannot_start(town: Town, environ: dict[str, str], said: str) -> None:
    """What prevents a service from running ends the process with status 1 and one sentence."""
    child = town.spawn(GREETER, **environ)
    assert await child.ends() == 1
    assert said in child.text
    assert "Traceback" not in child.text


@pytest_twisted.ensureDeferred
async def test_no_daemon(town: Town) -> None:
    """Where no daemon is, a service says so, and how to start one; told to stop meanwhile it ends well."""
    child = town.spawn(GREETER, MICRO_PROXY="127.0.0.1:1")
    await child.says("no daemon at 127.0.0.1:1: start one with `twistd -n micro`; waiting for it")
    child.signal("TERM")
    assert await child.ends() == 0
    assert "Traceback" not in child.text


@pytest_twisted.ensureDeferred
async def test_reactor_of_the_author(town: Town) -> None:
    """A service whose author imports the reactor runs on that one."""
    child = town.spawn("import twisted.internet.reactor\n" + GREETER)
    await child.says("is running")


@pytest_twisted.ensureDeferred
async def test_asyncio_too_late(town: Town) -> None:
    """Asyncio cannot be had once another reactor is there, and the sentence says what to do."""
    child = town.spawn("import twisted.internet.reactor\n" + ASYNCIO)
    assert await child.ends() == 1
    assert "comes too late; import the reactor inside functions" in child.text


@pytest_twisted.ensureDeferred
async def test_log(town: Town) -> None:
    """A handler's failure is in the log once, with the trace's id; what libraries log is there too, above the level."""
    registered: Deferred[None] = Deferred()
    town.daemon.on_register = lambda: registered.callback(None)
    child = town.spawn(LOGGING, MICRO_LOG_LEVEL="warn")
    await child.says("ready")
    await registered
    client = town.client_of("logging")
    with pytest.raises(Internal, match="broken"):
        await client.call("logging", "Logging.Fail", {}, metadata={"micro-trace-id": "a" * 32})
    child.signal("TERM")
    assert await child.ends() == 0
    assert child.text.count("Traceback") == 1
    assert f"error logging.Logging.Fail failed trace_id={'a' * 32}" in child.text
    assert "warn lib: beware" in child.text
    assert "hidden" not in child.text
    assert "is running" not in child.text


@pytest_twisted.ensureDeferred
async def test_blocking_client(town: Town) -> None:
    """A script calls services and the store, unary and streaming, and gets typed errors."""
    child = town.spawn(SHOUTER)
    await child.says("is running")
    [entry] = town.daemon.nodes.values()
    node = Channel(client_endpoint(reactor, entry.nodes[0].address), reactor)
    town.channels.append(node)
    town.daemon.forward("shouter", node)

    def script() -> list[object]:
        with BlockingClient(
            "script", address=town.address, credentials=("a", "s"), environ={"MICRO_HOME": str(town.folder)}
        ) as client:
            client.store.write("k", {"a": 1})
            found: list[object] = [
                client.call("shouter", "Shouter.Shout", Text("a"), Text),
                client.call("shouter", "Shouter.Shout", {"text": "b"}),
                list(client.stream("shouter", "Shouter.Twice", Text("c"), Text)),
                list(client.stream("shouter", "Shouter.Each", iter([Text("d"), Text("e")]), Text)),
                client.call("shouter", "Shouter.Join", iter([Text("f"), Text("g")]), Text),
                client.store.read("k").json(),
                client.store.list(),
            ]
            for call in (
                lambda: client.call("shouter", "Shouter.Refuse", Text(), Text),
                lambda: client.store.read("nothing"),
            ):
                try:
                    call()
                except MicroError as problem:
                    found.append((type(problem), problem.detail))
            return found

    assert await deferToThread(script) == [
        Text("A"),
        {"text": "B"},
        [Text("C"), Text("C")],
        [Text("D"), Text("E")],
        Text("fg"),
        {"a": 1},
        ["k"],
        (Conflict, "taken"),
        (NotFound, "not found"),
    ]


@pytest_twisted.ensureDeferred
async def test_blocking_client_in_threads(town: Town) -> None:
    """Threads share a client without getting into each other's calls, and none keeps a connection open after its end."""
    child = town.spawn(
        "import os, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from microd.framework import BlockingClient\n"
        "def sockets():\n"
        "    links = (os.path.join('/proc/self/fd', each) for each in os.listdir('/proc/self/fd'))\n"
        "    return sum(os.path.islink(link) and os.readlink(link).startswith('socket:') for link in links)\n"
        "with BlockingClient() as client:\n"
        "    client.store.write('k', 'v')\n"
        "    before = sockets()\n"
        "    with ThreadPoolExecutor(8) as pool:\n"
        "        found = list(pool.map(lambda _: client.store.read('k').text, range(200)))\n"
        "    print(set(found), sockets() - before)\n"
        "print(sockets() - before)\n"
    )
    assert await child.ends() == 0
    assert child.text == "{'v'} 0\n-1\n"


@pytest_twisted.ensureDeferred
async def test_blocking_client_needs_no_twisted(town: Town) -> None:
    """A script that only calls does not wait for Twisted to be imported."""
    child = town.spawn(
        "import sys\n"
        "from microd.framework import BlockingClient\n"
        "with BlockingClient() as client:\n"
        "    client.store.write('k', 'v')\n"
        "print('twisted' in sys.modules)\n"
    )
    assert await child.ends() == 0
    assert child.text == "False\n"


@pytest_twisted.ensureDeferred
async def test_bad_endpoint(town: Town) -> None:
    """A function that cannot be an endpoint ends the process, and the last line says where it is and why."""
    child = town.spawn(GREETER.replace("-> HelloReply:", ":"))
    assert await child.ends() == 1
    assert "main.py:15: hello() does not say what it returns" in child.text.splitlines()[-1]
