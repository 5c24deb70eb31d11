"""What the author of a service imports.

A service is a module with typed functions::

    @dataclass
    class HelloRequest:
        name: str

    @dataclass
    class HelloReply:
        msg: str

    service = Service("greeter")

    @service.endpoint                                   # Greeter.Hello: micro greeter hello, POST /greeter/hello
    async def hello(request: HelloRequest, call: Call) -> HelloReply:
        if not request.name:
            raise BadRequest("a name is wanted")        # each MicroError is an HTTP status
        await service.client.store.write("last", request.name, expiry=3600)
        return HelloReply(msg=f"Hello {request.name}")

    @service.endpoint
    async def count(request: CountRequest) -> AsyncIterator[CountReply]:
        for number in range(request.upto):
            yield CountReply(number)                    # streamed; waits while the caller does not keep up

    @service.endpoint
    def render(request: Page) -> Picture:               # a plain function runs in a thread, and may wait
        page = service.blocking.call("pages", "Pages.Get", request, Html)
        ...

    users = service.model(User, indexes=[Index("email", unique=True), Index("team", order_by="created")])

    @service.endpoint
    async def join(request: User) -> None:
        await users.create(request)                     # with its index entries, or not at all

    @service.subscribe("orders", group="billing")       # events: kept until this has returned, with retries and dead letters
    async def bill(order: Order) -> None:
        await service.client.events.publish("bills", Bill(order.id))

    @service.subscribe("prices", queue="watchers")      # the broker: one copy of the service gets each message, now or never
    async def watch(price: Price, message: Message) -> None:
        ...

    if __name__ == "__main__":
        service.run()

What dataclasses mean on the wire is in L{microd.framework.schema.shapes}, what can be kept and found in
L{microd.framework.model.model} and L{microd.framework.model.records}, what functions may be in
L{microd.framework.handlers}, who a service is when it is run by hand in L{microd.framework.identity}.
What can be subscribed is in L{microd.framework.messages.subscriber}, what is sent in L{microd.framework.messages.payloads}.
C{service.proto()} is the contract for other languages. Tests use L{microd.testing.services.ServiceTester}; scripts use
L{BlockingClient}.

Every service also says how it is, what it takes, which calls it answered and made, and what it logged: C{micro debug}, and
L{microd.framework.debug}; C{@service.on_health} adds a check of the author's. All that a request led to bears its trace:
C{call.trace_id} here, C{trace_id} in each line of the log (L{microd.framework.logs}), C{traceparent} in each call.

Names are found when they are first used, so that a script which only wants L{BlockingClient} does not wait for Twisted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microd.framework.blobs import Blob
    from microd.framework.blocking import BlockingClient
    from microd.framework.client import Client
    from microd.framework.config.sources import ConfigError, File, Sources
    from microd.framework.context import Call, current_call
    from microd.framework.messages.delivery import Delivery
    from microd.framework.messages.model import Event, Message
    from microd.framework.messages.questions import Draft
    from microd.framework.model import (
        Index,
        Model,
        Page,
        above,
        at_least,
        at_most,
        below,
        between,
        starting,
    )
    from microd.framework.schema.shapes import SchemaError, float32, int32, int64, uint32, uint64
    from microd.framework.service import Service
    from microd.framework.store import Check, Drop, Put, Record
    from microd.kernel.caller import Account
    from microd.kernel.errors import (
        BadGateway,
        BadRequest,
        Conflict,
        Forbidden,
        GatewayTimeout,
        Internal,
        MicroError,
        NotFound,
        PreconditionFailed,
        TimedOut,
        TooLarge,
        Unauthorized,
        Unavailable,
        Unimplemented,
    )

__all__ = [
    "Account",
    "BadGateway",
    "BadRequest",
    "Blob",
    "BlockingClient",
    "Call",
    "Check",
    "Client",
    "ConfigError",
    "Conflict",
    "Delivery",
    "Draft",
    "Drop",
    "Event",
    "File",
    "Forbidden",
    "GatewayTimeout",
    "Index",
    "Internal",
    "Message",
    "MicroError",
    "Model",
    "NotFound",
    "Page",
    "PreconditionFailed",
    "Put",
    "Record",
    "SchemaError",
    "Service",
    "Sources",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Unimplemented",
    "above",
    "at_least",
    "at_most",
    "below",
    "between",
    "current_call",
    "float32",
    "int32",
    "int64",
    "starting",
    "uint32",
    "uint64",
]

_PLACES = {
    "Account": "microd.kernel.caller",
    "Blob": "microd.framework.blobs",
    "BlockingClient": "microd.framework.blocking",
    "Call": "microd.framework.context",
    "Client": "microd.framework.client",
    **dict.fromkeys(("ConfigError", "File", "Sources"), "microd.framework.config.sources"),
    **dict.fromkeys(("Check", "Drop", "Put", "Record"), "microd.framework.store"),
    **dict.fromkeys(
        ("Index", "Model", "Page", "above", "at_least", "at_most", "below", "between", "starting"),
        "microd.framework.model",
    ),
    "Delivery": "microd.framework.messages.delivery",
    "Draft": "microd.framework.messages.questions",
    "Event": "microd.framework.messages.model",
    "Message": "microd.framework.messages.model",
    "SchemaError": "microd.framework.schema.shapes",
    "Service": "microd.framework.service",
    "current_call": "microd.framework.context",
    **dict.fromkeys(("float32", "int32", "int64", "uint32", "uint64"), "microd.framework.schema.shapes"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES.get(name, "microd.kernel.errors")), name)
    globals()[name] = found
    return found
