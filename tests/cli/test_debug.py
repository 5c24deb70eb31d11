"""`micro debug`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from microd.wire import registry_pb2

from .conftest import ADDRESS, Call, Daemon, Refusal, User

GET = "/registry.Registry/GetService"
STATS = {
    "timestamp": "1700000100",
    "started": "1700000000",
    "uptime": "4325",
    "memory": "3355443",
    "threads": "7",
    "gc": "1234567",
    "requests": "12",
    "errors": "1",
}


class Nodes:
    """Nodes of one service, beside the daemon: each address answers, or does not."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.down: set[str] = set()
        self.answers: dict[tuple[str, str], Any] = {}
        real = daemon.connect

        def connect(address: Any) -> Any:
            real(address)
            return _Node(self, str(address))

        daemon.connect = connect  # type: ignore[method-assign]


class _Node:
    """The connection to one address: the daemon's own goes to the daemon."""

    def __init__(self, nodes: Nodes, address: str) -> None:
        self._nodes = nodes
        self._address = address

    def unary_unary(self, path: str) -> Any:
        """One call."""
        nodes, address = self._nodes, self._address
        if address == ADDRESS:
            return nodes.daemon.unary_unary(path)
        if address in nodes.down:
            from microd.txgrpc.status import RpcError, StatusCode

            def refuse(body: bytes, **options: Any) -> bytes:
                raise RpcError(StatusCode.UNAVAILABLE, "nothing listens there", delivered=False)

            return refuse

        def answer(body: bytes, **options: Any) -> bytes:
            assert "authorization" not in dict(options["metadata"])
            return json.dumps(nodes.answers[address, path.rpartition("/")[2]]).encode()

        return answer

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def nodes(daemon: Daemon, refusal: Refusal) -> Nodes:
    """Two nodes of the greeter, in two versions; both are well."""

    def get(call: Call) -> registry_pb2.GetResponse:
        request = registry_pb2.GetRequest.FromString(call.body)
        if request.service == "lonely":
            return registry_pb2.GetResponse(services=[_entry("lonely", "latest", 4001)])
        if request.service != "greeter":
            raise refusal(404, "service not found")
        return registry_pb2.GetResponse(
            services=[_entry("greeter", "latest", 4001), _entry("greeter", "v2", 4002)]
        )

    daemon.handlers[GET] = get
    nodes = Nodes(daemon)
    for port in (4001, 4002):
        nodes.answers[f"127.0.0.1:{port}", "Health"] = {"status": "ok"}
        nodes.answers[f"127.0.0.1:{port}", "Stats"] = STATS
    return nodes


def _entry(name: str, version: str, port: int) -> registry_pb2.Service:
    node = registry_pb2.Node(id=f"{name}-{port}", address=f"127.0.0.1:{port}")
    return registry_pb2.Service(name=name, version=version, nodes=[node])


def test_health(user: User, nodes: Nodes) -> None:
    """Each node says itself how it is, without being shown a token."""
    got = user.micro("debug", "health", "greeter")
    assert (got.code, got.err) == (0, "")
    assert got.out == (
        "service  greeter\n"
        "\nversion latest\n\nnode\t\taddress:port\t\tstatus\ngreeter-4001\t\t127.0.0.1:4001\t\tok\n"
        "\nversion v2\n\nnode\t\taddress:port\t\tstatus\ngreeter-4002\t\t127.0.0.1:4002\t\tok\n"
    )
    assert user.micro("debug", "health", "greeter", "--json").json[1] == {
        "service": "greeter",
        "version": "v2",
        "node": "greeter-4002",
        "address": "127.0.0.1:4002",
        "status": "ok",
    }


def test_unwell(user: User, nodes: Nodes) -> None:
    """A node which says that it is not well, and one which is not there, make the command fail."""
    nodes.answers["127.0.0.1:4002", "Health"] = {"status": "no disk"}
    nodes.down.add("127.0.0.1:4001")
    nodes.daemon.answers("/greeter.Debug/Health", b'{"status":"ok"}')
    got = user.micro("debug", "health", "greeter")
    assert got.code == 1
    assert "greeter-4001\t\t127.0.0.1:4001\t\tFailed to connect to micro server at 127.0.0.1:4001" in got.out
    assert "greeter-4002\t\t127.0.0.1:4002\t\tno disk" in got.out
    assert got.err == "2 of 2 nodes of greeter are not well\n"


def test_out_of_reach(user: User, nodes: Nodes) -> None:
    """Where no node can be reached from here, the server is asked, which takes turns."""
    nodes.down |= {"127.0.0.1:4001", "127.0.0.1:4002"}
    nodes.daemon.answers("/greeter.Debug/Health", b'{"status":"ok"}')
    got = user.micro("debug", "health", "greeter")
    assert (got.code, got.out.count("\t\tok\n")) == (0, 2)
    assert len(nodes.daemon.asked("/greeter.Debug/Health")) == 2


def test_one(user: User, nodes: Nodes) -> None:
    """So it is for a service with one node."""
    nodes.down.add("127.0.0.1:4001")
    nodes.daemon.answers("/lonely.Debug/Health", b'{"status":"ok"}')
    assert user.micro("debug", "health", "lonely").out.endswith("lonely-4001\t\t127.0.0.1:4001\t\tok\n")


def test_unlisted(user: User, nodes: Nodes) -> None:
    """A service of the platform that the registry does not list is asked where the server is."""
    nodes.daemon.answers("/proxy.Debug/Health", b'{"status":"ok"}')
    assert user.micro("debug", "health", "proxy").out.endswith(f"proxy\t\t{ADDRESS}\t\tok\n")


@pytest.mark.parametrize("words", [("health",), ("stats",), ("trace",), ("logs",)])
def test_no_service(user: User, nodes: Nodes, words: tuple[str, ...]) -> None:
    """Without a service there is help; health says what it wants."""
    got = user.micro("debug", *words)
    if words == ("health",):
        assert (got.code, got.err) == (1, "Require service name. Write `micro debug health SERVICE`.\n")
    else:
        assert got.out.startswith(f"micro debug {words[0]} - ")


def test_unknown(user: User, nodes: Nodes) -> None:
    """A service which nobody knows is told with exit code 4."""
    got = user.micro("debug", "health", "nope")
    assert (got.code, got.err) == (4, 'Service "nope" not found. See `micro services`.\n')


def test_stats(user: User, nodes: Nodes) -> None:
    """What nodes take is a table for each version; who cannot be reached has blanks."""
    started = datetime.fromtimestamp(1_700_000_000).astimezone().strftime("%b %d %H:%M:%S")
    nodes.down.add("127.0.0.1:4002")
    first, second = user.micro("debug", "stats", "greeter").out.split("\n\nSERVICE ")
    assert first == (
        "SERVICE greeter\n\nVERSION latest\n\n"
        "+--------------+----------------+-----------------+---------+--------+---------+------------+----------+--------+\n"
        "|     NODE     |  ADDRESS:PORT  |     STARTED     | UPTIME  | MEMORY | THREADS |     GC     | REQUESTS | ERRORS |\n"
        "+--------------+----------------+-----------------+---------+--------+---------+------------+----------+--------+\n"
        f"| greeter-4001 | 127.0.0.1:4001 | {started} | 1h12m5s | 3.20mb | 7       | 1.234567ms | 12       | 1      |\n"
        "+--------------+----------------+-----------------+---------+--------+---------+------------+----------+--------+"
    )
    assert "| greeter-4002 | 127.0.0.1:4002 |         |        |        |" in second
    one, two = user.micro("debug", "stats", "greeter", "--json").json
    assert (one["memory"], one["errors"], one["version"]) == (3355443, 1, "latest")
    assert two["error"] == "Failed to connect to micro server at 127.0.0.1:4002"


def test_stats_of_the_platform(user: User, nodes: Nodes) -> None:
    """A service of the platform tells accounts what it took: it is not asked without one, to count that as an error."""
    nodes.daemon.answers("/store.Debug/Stats", json.dumps(STATS).encode())
    nodes.answers[ADDRESS, "Stats"] = {"requests": "666"}
    [told] = user.micro("debug", "stats", "store", "--json").json
    assert told["requests"] == int(STATS["requests"])
    assert len(nodes.daemon.asked("/store.Debug/Stats")) == 1


def test_all(user: User, nodes: Nodes) -> None:
    """All of the platform's services can be asked for, or all others; that there are none is told."""
    listed = [registry_pb2.Service(name="greeter", version="latest")]
    nodes.daemon.answers("/registry.Registry/ListServices", registry_pb2.ListResponse(services=listed))
    assert user.micro("debug", "stats", "--all", "custom").out.count("SERVICE greeter") == 2
    got = user.micro("debug", "stats", "--all=builtin")
    assert (got.code, got.err) == (1, "No builtin service(s) found\n")


def test_trace(user: User, nodes: Nodes) -> None:
    """Calls of all nodes are in one table, each once, in the order of their beginning."""
    spans = [
        {"trace": "t", "id": "b", "parent": "a", "name": "back.Back.Same", "type": "OUTBOUND"}
        | {"started": "1700000000002000000", "duration": "1500000", "metadata": {"error": "no\nway"}},
        {
            "trace": "t",
            "id": "a",
            "name": "front.Front.Ask",
            "started": "1700000000001000000",
            "duration": "25",
        },
    ]
    nodes.daemon.answers("/greeter.Debug/Trace", json.dumps({"spans": spans}).encode())
    got = user.micro("debug", "trace", "greeter", "--id", "t")
    assert [" ".join(line.split()) for line in got.out.splitlines()[3:5]] == [
        "| t | a | | in | front.Front.Ask | 2023-11-14 22:13:20.001 | 25ns | ok |",
        "| t | b | a | out | back.Back.Same | 2023-11-14 22:13:20.002 | 1.5ms | no way |",
    ]
    calls = nodes.daemon.asked("/greeter.Debug/Trace")
    assert [json.loads(call.body) for call in calls] == [{"id": "t"}] * 2
    assert user.micro("debug", "trace", "greeter", "--json").json[0] == {
        "trace": "t",
        "id": "a",
        "parent": "",
        "name": "front.Front.Ask",
        "type": "INBOUND",
        "started": 1700000000001000000,
        "duration": 25,
        "metadata": {},
    }


def test_logs(user: User, nodes: Nodes) -> None:
    """The last lines have their time, level and trace; in JSON each is an object."""
    records = [
        {"timestamp": "1700000001", "message": "second", "metadata": {"level": "warn", "stack": "a\nb"}},
        {"timestamp": "1700000000", "message": "first\nmore", "metadata": {"level": "info", "trace_id": "t"}},
    ]
    for number, record in enumerate(records):
        record["metadata"] |= {"time": f"2023-11-14T22:13:2{1 - number}.250Z"}  # type: ignore[operator]
    nodes.daemon.answers("/greeter.Debug/Log", json.dumps({"records": records}).encode())
    assert user.micro("debug", "logs", "greeter", "-n", "5", "--since", "1m").out == (
        "2023-11-14 22:13:20.250 info first trace_id=t\n    more\n"
        "2023-11-14 22:13:21.250 warn second\n    a\n    b\n"
    )
    body = json.loads(nodes.daemon.asked("/greeter.Debug/Log")[-1].body)
    assert body == {"count": 5, "since": int(user.now) - 60}
    lines = user.micro("debug", "logs", "greeter", "-n", "1", "--json").out.splitlines()
    assert [json.loads(line)["Message"] for line in lines] == ["second"]


def test_not_allowed(user: User, nodes: Nodes) -> None:
    """That the log is for others is told as ever."""
    nodes.daemon.refuses("/greeter.Debug/Log", 403, "access denied to namespace")
    got = user.micro("debug", "logs", "greeter")
    assert (got.code, got.err) == (127, "Access denied to namespace\n")


@pytest.mark.parametrize("reply", [b"[]", b"nonsense", b'{"status": 5, "x": {}}'])
def test_nonsense(user: User, nodes: Nodes, reply: bytes) -> None:
    """Whatever a service answers, the command says a sentence."""
    nodes.daemon.answers("/proxy.Debug/Health", reply)
    got = user.micro("debug", "health", "proxy")
    assert got.code == 1
    assert "Traceback" not in got.out + got.err
