"""gRPC on Twisted: a server and a client which know nothing of microd.

A server is methods by path, and a factory for as many endpoints as wanted::

    async def hello(request: HelloRequest, call: ServerCall) -> HelloReply:
        return HelloReply(msg=f"Hello {request.name}")

    async def count(request: CountRequest, call: ServerCall) -> AsyncIterator[CountReply]:
        for number in range(request.upto):
            yield CountReply(number=number)         # waits here while the client does not keep up

    async def total(requests: AsyncIterator[Item], call: ServerCall) -> Total:
        return Total(price=sum([item.price async for item in requests]))

    server = GrpcServer(
        {
            "/shop.Shop/Hello": unary_unary(hello, HelloRequest.FromString, HelloReply.SerializeToString),
            "/shop.Shop/Count": unary_stream(count, CountRequest.FromString, CountReply.SerializeToString),
            "/shop.Shop/Total": stream_unary(total, Item.FromString, Total.SerializeToString),
        },
        clock=reactor,
    )
    port = await serverFromString(reactor, "tcp:8080").listen(server)
    ...
    await port.stopListening()
    await server.drain(20)

Handlers are coroutines that await Deferreds and coroutines. C{call} is the L{ServerCall}: its metadata,
deadline, peer, and what goes back beside the replies. A handler that raises L{RpcError} answers with its
status; any other exception is logged and answered with UNKNOWN. When the client cancels, its connection drops
or the deadline passes, C{CancelledError} is raised where the handler waits, and calls it makes on a
L{Channel} meanwhile end too; those calls have at most the time that is left of its own. Where no method has a
path, C{fallback(call)} names one (without C{deserialize} and C{serialize} it takes and gives bytes: this is
how a relay is built) or raises L{RpcError}.

A client is a channel to one endpoint::

    channel = Channel(clientFromString(reactor, "tcp:localhost:8080"), reactor, authority="localhost:8080")
    hello = channel.unary_unary("/shop.Shop/Hello", HelloRequest.SerializeToString, HelloReply.FromString)
    reply = await hello(HelloRequest(name="Ada"), timeout=5, metadata={"authorization": "Bearer ..."})

    count = channel.unary_stream("/shop.Shop/Count", CountRequest.SerializeToString, CountReply.FromString)
    async with count(CountRequest(upto=3)) as replies:      # leaving the block early cancels the call
        async for reply in replies: ...

    chat = channel.stream_stream("/shop.Shop/Chat")()       # bytes
    await chat.write(b"...")                                # waits while the server does not keep up
    await chat.done_writing()

    await channel.close(grace=5)

A call that does not end well raises L{RpcError}. C{error.undelivered} is True only when the server surely did
not process the call, so that it is safe to try again or elsewhere; C{error.answered} says that the status is
the peer's own.

In tests, L{microd.txgrpc.memory.connect} ties a channel to a server with no network and no reactor. Scripts
use L{microd.txgrpc.blocking}, which does without Twisted; for its sake nothing is imported here before it is
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microd.txgrpc.call import ServerCall
    from microd.txgrpc.channel import Backoff, Channel
    from microd.txgrpc.clientstream import ClientCall
    from microd.txgrpc.limits import Keepalive, Limits
    from microd.txgrpc.metadata import Metadata
    from microd.txgrpc.method import Method, stream_stream, stream_unary, unary_stream, unary_unary
    from microd.txgrpc.server import GrpcServer
    from microd.txgrpc.status import RpcError, StatusCode

_HOMES = {
    "Backoff": "channel",
    "Channel": "channel",
    "ClientCall": "clientstream",
    "GrpcServer": "server",
    "Keepalive": "limits",
    "Limits": "limits",
    "Metadata": "metadata",
    "Method": "method",
    "RpcError": "status",
    "ServerCall": "call",
    "StatusCode": "status",
    "stream_stream": "method",
    "stream_unary": "method",
    "unary_stream": "method",
    "unary_unary": "method",
}

__all__ = [
    "Backoff",
    "Channel",
    "ClientCall",
    "GrpcServer",
    "Keepalive",
    "Limits",
    "Metadata",
    "Method",
    "RpcError",
    "ServerCall",
    "StatusCode",
    "stream_stream",
    "stream_unary",
    "unary_stream",
    "unary_unary",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
