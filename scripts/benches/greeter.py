"""The service behind the gateway in the api bench, as an author writes one."""

from __future__ import annotations

from dataclasses import dataclass

from microd.framework import Service


@dataclass
class HelloRequest:
    """Whom to greet."""

    name: str


@dataclass
class HelloReply:
    """The greeting."""

    msg: str


service = Service("greeter")


@service.endpoint
async def hello(request: HelloRequest) -> HelloReply:
    """Greet somebody by name."""
    return HelloReply(msg=f"Hello {request.name}")


if __name__ == "__main__":
    service.run()
