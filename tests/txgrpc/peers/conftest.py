"""A server for tools to call: the interop test service, health and reflection, plain and with TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor

from microd.testing.certificates import Authority
from microd.testing.interop.service import TestService
from microd.testing.wire._pool import POOL
from microd.txgrpc import GrpcServer, Method
from microd.txgrpc.endpoints import server_endpoint
from microd.txgrpc.health import Health
from microd.txgrpc.reflection import Reflection, service_names


@dataclass(frozen=True, slots=True)
class Served:
    """Where the server listens.

    @ivar plain: the port without TLS.
    @ivar secure: the port with TLS, for C{localhost}.
    @ivar root: the authority that vouches for it.
    """

    plain: int
    secure: int
    root: Path


@pytest_twisted.async_yield_fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The server, until the test is over."""
    methods: dict[str, Method] = {**TestService(reactor).methods(), **Health().methods()}
    methods.update(Reflection(lambda: service_names(methods), [POOL]).methods())
    server = GrpcServer(methods, clock=reactor)
    authority = Authority(tmp_path)
    issued = authority.issue("localhost", "127.0.0.1")
    tls = f"tls:0:interface=127.0.0.1:certificate={issued.certificate}:privateKey={issued.key}"
    ports: list[Any] = [
        await server_endpoint(reactor, description).listen(server)
        for description in ("tcp:0:interface=127.0.0.1", tls)
    ]
    yield Served(ports[0].getHost().port, ports[1].getHost().port, authority.root)
    for port in ports:
        await port.stopListening()
    await server.drain(0)
