"""Play the cases with one of our clients against any server: python -m microd.testing.interop --target HOST:PORT"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from microd.testing.interop.cases import play
from microd.testing.interop.playing import Order, order_from, order_parser, run_at_once


def with_blocking(order: Order) -> Mapping[str, str | None]:
    """Play with the blocking client."""
    from microd.testing.interop.blocking_player import BlockingPlayer
    from microd.txgrpc.blocking import BlockingChannel

    with BlockingChannel(order.target) as channel:
        return run_at_once(play(BlockingPlayer(channel, order.metadata), order.names, probe=order.probe))


def with_channel(order: Order) -> Mapping[str, str | None]:
    """Play with the Twisted client, in a reactor of its own."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from microd.testing.interop.channel_player import ChannelPlayer
    from microd.txgrpc import Channel
    from microd.txgrpc.endpoints import client_endpoint

    outcome: dict[str, str | None] = {}

    async def run(reactor: Any) -> None:
        channel = Channel(client_endpoint(reactor, order.target), reactor, authority=order.target)
        player = ChannelPlayer(channel, order.metadata)
        outcome.update(await play(player, order.names, probe=order.probe))
        await channel.close()

    try:
        react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return outcome


def main() -> None:
    """Play, print what went wrong by case, exit 1 if anything did."""
    parser = order_parser()
    parser.add_argument("--client", choices=("channel", "blocking"), default="channel")
    options = parser.parse_args()
    outcome = (with_blocking if options.client == "blocking" else with_channel)(order_from(options))
    print(json.dumps(outcome))
    sys.exit(any(outcome.values()))


if __name__ == "__main__":
    main()
