"""The command line that every player of the cases has, and how one player is run as a process."""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.interfaces import IReactorProcess
from twisted.internet.utils import getProcessOutputAndValue

from microd.testing.interop.cases import CASES
from microd.testing.interop.client import Pairs


@dataclass(frozen=True, slots=True)
class Order:
    """Which cases to play, against whom.

    @ivar metadata: goes with every call, such as an access token for a door.
    @ivar probe: whether the server can tell how a message was compressed.
    """

    target: str
    names: Sequence[str]
    metadata: Pairs = ()
    probe: bool = True


def order_parser() -> argparse.ArgumentParser:
    """The options which all players know."""
    parser = argparse.ArgumentParser(
        description="Play gRPC's interop cases; prints what went wrong, by case."
    )
    parser.add_argument("--target", required=True, help="HOST:PORT of the server")
    parser.add_argument(
        "--metadata", action="append", default=[], metavar="NAME=VALUE", help="with every call"
    )
    parser.add_argument("--no-probe", action="store_true", help="the server cannot see compression")
    parser.add_argument("names", nargs="*", metavar="CASE", help="all, if none is named")
    return parser


def order_from(options: argparse.Namespace) -> Order:
    """What the command line asks for."""
    metadata = tuple((name, value) for name, _, value in (pair.partition("=") for pair in options.metadata))
    return Order(options.target, options.names or list(CASES), metadata, not options.no_probe)


T = TypeVar("T")


def run_at_once(work: Awaitable[T]) -> T:
    """Run a coroutine which never has to wait, as those over blocking clients."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a blocking client waited for something")


async def play_in_process(
    reactor: IReactorProcess, command: Sequence[str], order: Order
) -> Mapping[str, str | None]:
    """Have another process play the cases; the outcome by case, where one that it did not reach is a failure."""
    arguments = [*command[1:], "--target", order.target]
    for name, value in order.metadata:
        arguments += ["--metadata", f"{name}={value!s}"]
    if not order.probe:
        arguments.append("--no-probe")
    done: Callable[..., Awaitable[tuple[bytes, bytes, int]]] = getProcessOutputAndValue
    out, err, status = await done(command[0], [*arguments, *order.names], env=None, reactor=reactor)
    try:
        outcome: dict[str, str | None] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        outcome = {}
    silence = f"{' '.join(command)} ended with {status}: {err.decode(errors='replace')[-2000:]}"
    return {name: outcome.get(name, silence) for name in order.names}
