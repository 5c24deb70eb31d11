"""What the client of a relayed call is told when no node has answered it."""

from __future__ import annotations

from microd.kernel.errors import BadGateway, MicroError, NotFound, TimedOut, TooLarge, Unavailable
from microd.txgrpc import RpcError, StatusCode

CLIENT = "go.micro.client"


def no_route(service: str) -> MicroError:
    """Nobody serves it; clients of the reference match the text."""
    return NotFound(f"service {service}: route not found", CLIENT)


def verdict(service: str, tried: int, error: RpcError) -> MicroError:
    """How a call ended that was sent to so many nodes, the last of which failed with C{error}."""
    if error.code is StatusCode.DEADLINE_EXCEEDED:
        return TimedOut("context deadline exceeded", CLIENT)
    if error.undelivered:
        nodes = "its node cannot" if tried == 1 else f"none of the {tried} nodes tried can"
        return Unavailable(f"service {service}: {nodes} be reached: {error.message}", CLIENT)
    if error.code is StatusCode.RESOURCE_EXHAUSTED:
        return TooLarge(f"service {service}: {error.message}", CLIENT)
    return BadGateway(
        f"service {service}: its node broke off, the outcome of the call is unknown: {error.message}", CLIENT
    )
