"""A service that is reached past the daemon's doors."""

from __future__ import annotations

import json

import pytest

from microd.framework.failures import micro_error
from microd.kernel.errors import Unauthorized
from microd.testing.platform import Platform
from microd.txgrpc.blocking import BlockingChannel
from microd.txgrpc.status import RpcError

pytestmark = pytest.mark.e2e


def test_rules_hold_at_its_own_port(platform: Platform) -> None:
    """A closed service turns strangers away at its own port as the doors do, and lets in whom a rule lets in, at once."""
    platform.start()
    platform.ok("auth", "delete", "rule", "default")
    platform.ok("new", "greeter")
    platform.ok("run", "greeter")
    (described,) = json.loads(platform.ok("get", "service", "greeter", "--json"))
    address = described["nodes"][0]["address"]
    assert "no rule of namespace micro allows it" in platform.micro("greeter", "hello", "--name=Ada").stderr
    with BlockingChannel(address) as channel:
        hello = channel.unary_unary("/greeter.Greeter/Hello")

        def refused() -> str:
            with pytest.raises(RpcError) as raised:
                hello(b"", timeout=10, metadata={"authorization": "Bearer of.no.body"})
            problem = micro_error(raised.value)
            assert isinstance(problem, Unauthorized)
            return problem.detail

        assert refused().startswith(
            "Unauthorized call made to greeter:Greeter.Hello: no rule of namespace micro"
        )
        platform.ok("auth", "create", "rule", "members", "--scope=*", "--resource=*:*:*")
        assert "Hello Ada" in platform.ok("greeter", "hello", "--name=Ada")
        assert refused()
        platform.ok("auth", "create", "rule", "open", "--resource", "service:greeter:Greeter.Hello")
        assert hello(b"", timeout=10)
