"""microd.txgrpc beside grpc.aio: server and streaming under h2load, clients on one server, memory of idle connections."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benches.alternation import Report, alternate, pairs_from, ratio
from benches.contender import Contender, h2load
from benches.echo import REQUEST, STREAM, STREAM_LENGTH, TIMEOUT, UNARY, check_one_call
from benches.idle import idle_connections

OURS, THEIRS = "microd", "grpc.aio"
MODULES = {OURS: "benches.echo_microd", THEIRS: "benches.echo_aio"}
IN_FLIGHT = 64
IDLE = 2000


def calls(port: int) -> float:
    """Unary calls a second."""
    return h2load(port, UNARY, REQUEST.SerializeToString(), headers=TIMEOUT)


def streamed(port: int) -> float:
    """Messages a second of server-streaming calls."""
    message = REQUEST.SerializeToString()
    return h2load(port, STREAM, message, headers=TIMEOUT, messages_per_reply=STREAM_LENGTH)


def client_calls(module: str, port: int) -> float:
    """Calls a second that one client process makes."""
    command = [sys.executable, "-m", module, "client", str(port), "2", str(IN_FLIGHT)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def idle_kib(server: Contender) -> float:
    """How much one idle connection adds to a server's resident memory."""
    first = idle_connections(server.port, 100)
    before = server.resident_kib()
    more = idle_connections(server.port, IDLE)
    grown = (server.resident_kib() - before) / IDLE
    for connection in first + more:
        connection.close()
    return grown


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:])
    report = Report("grpc")
    with (
        Contender.module(MODULES[OURS], "server") as ours,
        Contender.module(MODULES[THEIRS], "server") as theirs,
    ):
        for server in (ours, theirs):
            check_one_call(server.port)
            check_one_call(server.port, STREAM)
        ports = {OURS: ours.port, THEIRS: theirs.port}
        for name, measure, bar in (("server", calls, 8), ("streaming", streamed, 4)):
            rounds = alternate(pairs, {who: partial(measure, port) for who, port in ports.items()})
            report.figures(f"{name}_per_s", rounds)
            report.at_least(name, ratio(rounds, OURS, THEIRS), bar)
        rounds = alternate(
            pairs,
            {who: partial(client_calls, module, ours.port) for who, module in MODULES.items()},
        )
        report.figures("client_per_s", rounds)
        report.at_least("client", ratio(rounds, OURS, THEIRS), 4)
    with Contender.module(MODULES[OURS], "server") as ours:
        check_one_call(ours.port)
        report.below("idle_kib", idle_kib(ours), 30)
    report.finish()


if __name__ == "__main__":
    main()
