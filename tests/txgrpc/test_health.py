"""The health service, over a channel in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from microd.testing.outcome import done
from microd.txgrpc import Channel, ClientCall, GrpcServer, RpcError, StatusCode
from microd.txgrpc.health import NOT_SERVING, SERVICE_UNKNOWN, SERVING, Health
from microd.txgrpc.memory import connect
from microd.txgrpc.wire.health_pb2 import HealthCheckRequest, HealthCheckResponse

Watch = Callable[[str], ClientCall]


@pytest.fixture
def health() -> Health:
    """A health service of which nothing was said yet."""
    return Health()


@pytest.fixture
def channel(health: Health) -> Channel:
    """A channel to a server that has it."""
    clock = Clock()
    return connect(GrpcServer(health.methods(), clock=clock), clock)


def check(channel: Channel, service: str) -> int:
    """What Check says."""
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    answer: HealthCheckResponse = done(method(HealthCheckRequest(service=service)))
    return answer.status


@pytest.fixture
def watch(channel: Channel) -> Watch:
    """Begins to watch a service."""
    method = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    return lambda service: method(HealthCheckRequest(service=service))


def next_status(call: ClientCall) -> int:
    """The next status that a watch tells."""
    answer: HealthCheckResponse = done(call.__anext__())
    return answer.status


def test_server_is_serving(channel: Channel) -> None:
    """A server as a whole serves unless something else was said."""
    assert check(channel, "") == SERVING


def test_set(health: Health, channel: Channel) -> None:
    """A service has the status that was last set."""
    health.set("greeter.Greeter", SERVING)
    assert check(channel, "greeter.Greeter") == SERVING
    health.set("greeter.Greeter", NOT_SERVING)
    assert check(channel, "greeter.Greeter") == NOT_SERVING


def test_check_unknown(channel: Channel) -> None:
    """Check of a service that nobody spoke of is NOT_FOUND, by name."""
    with pytest.raises(RpcError, match=r"nobody\.Nobody") as caught:
        check(channel, "nobody.Nobody")
    assert caught.value.code is StatusCode.NOT_FOUND


def test_watch_tells_at_once(watch: Watch) -> None:
    """Watch begins with the status as it is."""
    assert next_status(watch("")) == SERVING


def test_watch_tells_changes(health: Health, watch: Watch) -> None:
    """Watch tells each change when it happens."""
    call = watch("")
    next_status(call)
    heard: list[HealthCheckResponse] = []
    Deferred.fromCoroutine(call.__anext__()).addCallback(heard.append)
    assert heard == []
    health.set("", NOT_SERVING)
    assert [answer.status for answer in heard] == [NOT_SERVING]


def test_watch_before_it_is_known(health: Health, watch: Watch) -> None:
    """A service may be watched before anything was said of it."""
    call = watch("later.Later")
    assert next_status(call) == SERVICE_UNKNOWN
    health.set("later.Later", SERVING)
    assert next_status(call) == SERVING


def test_watch_does_not_repeat(health: Health, watch: Watch) -> None:
    """A status that is set again is not told again."""
    call = watch("")
    next_status(call)
    health.set("", SERVING)
    health.set("", NOT_SERVING)
    assert next_status(call) == NOT_SERVING


def test_watchers_are_forgotten(health: Health, watch: Watch) -> None:
    """A watch that was cancelled leaves nothing behind, and the others go on."""
    gone, there = watch(""), watch("")
    next_status(gone)
    next_status(there)
    gone.cancel()
    health.set("", NOT_SERVING)
    assert next_status(there) == NOT_SERVING
    there.cancel()
    assert health.watchers == 0


def test_close(health: Health, channel: Channel, watch: Watch) -> None:
    """A server that is closing serves nothing, and no later word changes that."""
    health.set("greeter.Greeter", SERVING)
    call = watch("greeter.Greeter")
    next_status(call)
    health.close()
    health.set("greeter.Greeter", SERVING)
    assert next_status(call) == NOT_SERVING
    assert check(channel, "") == NOT_SERVING
