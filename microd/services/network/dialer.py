"""Connections to nodes: one channel for each address, shared by all who call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import LoopingCall

from microd.kernel.health import Figure, gauge
from microd.txgrpc import Backoff, Channel, Limits

#: Added to the load of an address which cannot be reached at the moment.
DOWN = 1 << 30
#: Seconds between two looks at the channels; after how many without a call one is closed.
LOOK_EVERY, IDLE = 1.0, 300.0
#: So many channels at once are enough: beyond that, those without calls make room, the longest unused first.
MOST = 1024
#: Seconds that connecting may take: a call may have to go on to the next node afterwards.
CONNECT_TIMEOUT = 3.0

Endpoint = Callable[[str], IStreamClientEndpoint]


class _Line:
    """A channel, and when it was asked for last."""

    __slots__ = ("channel", "used")

    def __init__(self, channel: Channel, used: float) -> None:
        self.channel = channel
        self.used = used


class Dialer(Service):
    """Hands out the channel to an address, and knows how each address is.

    A channel that lost its node is connected again in the background, with growing rests between attempts, so that no
    call has to find out whether the node is back.

    @param endpoint: makes an endpoint of C{host:port}.
    """

    def __init__(self, clock: IReactorTime, endpoint: Endpoint, *, limits: Limits | None = None) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._limits = limits or Limits()
        self._lines: dict[str, _Line] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def startService(self) -> None:
        """Begin to look after the channels."""
        super().startService()
        self._looking.start(LOOK_EVERY, now=False)

    def stopService(self) -> Deferred[None]:
        """Close all channels; calls still in flight end as UNAVAILABLE."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()
        lines, self._lines = self._lines, {}
        closing = [Deferred.fromCoroutine(line.channel.close()) for line in lines.values()]
        return gatherResults(closing, consumeErrors=True).addCallback(lambda _: None)

    def channel(self, address: str) -> Channel:
        """The channel to C{host:port}. Waits for nothing."""
        line = self._lines.get(address)
        if line is None:
            line = self._dial(address)
        line.used = self._clock.seconds()
        return line.channel

    def load(self, address: str) -> int:
        """Calls under way to C{address}; more than L{DOWN} when it cannot be reached at the moment."""
        line = self._lines.get(address)
        if line is None:
            return 0
        channel = line.channel
        return channel.in_flight + DOWN if channel.down else channel.in_flight

    def figures(self) -> Iterator[Figure]:
        """How the connections are (L{microd.kernel.health.Figures})."""
        channels = [line.channel for line in self._lines.values()]
        yield gauge("microd_node_channels", "Addresses of nodes that were called lately.", len(channels))
        down = sum([channel.down for channel in channels])
        yield gauge("microd_node_channels_down", "Those which cannot be reached at the moment.", down)
        flying = sum([channel.in_flight for channel in channels])
        yield gauge("microd_node_calls_in_flight", "Calls under way to nodes.", flying)

    def _dial(self, address: str) -> _Line:
        if len(self._lines) >= MOST:
            self._make_room()
        channel = Channel(
            self._endpoint(address),
            self._clock,
            authority=address,
            limits=self._limits,
            backoff=Backoff(first=0.1, most=5.0),
            connect_timeout=CONNECT_TIMEOUT,
        )
        line = self._lines[address] = _Line(channel, self._clock.seconds())
        return line

    def _make_room(self) -> None:
        idle = [(line.used, address) for address, line in self._lines.items() if not line.channel.in_flight]
        for _, address in sorted(idle)[: MOST // 8]:
            self._close(address)

    def _look(self) -> None:
        now = self._clock.seconds()
        for address, line in list(self._lines.items()):
            if now - line.used >= IDLE and not line.channel.in_flight:
                self._close(address)
            elif line.channel.down:
                line.channel.connect()

    def _close(self, address: str) -> None:
        # It has no calls in flight, so there is nothing to wait for.
        Deferred.fromCoroutine(self._lines.pop(address).channel.close())


def tcp_endpoint(reactor: object) -> Endpoint:
    """Makes endpoints of C{host:port}, on a reactor."""

    def endpoint(address: str) -> IStreamClientEndpoint:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if ":" in host:
            return TCP6ClientEndpoint(reactor, host, int(port), CONNECT_TIMEOUT)
        if host.replace(".", "").isdigit():
            return TCP4ClientEndpoint(reactor, host, int(port), CONNECT_TIMEOUT)
        return HostnameEndpoint(reactor, host, int(port), CONNECT_TIMEOUT)

    return endpoint
