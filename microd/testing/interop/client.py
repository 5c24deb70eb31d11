"""What a gRPC client must be able to do to play the cases; one adapter for each library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

Pairs = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Rpc:
    """A method of the test service, with the types that it takes and gives."""

    kind: str
    path: str
    request: type[Message]
    reply: type[Message]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a call may carry besides its messages; the timeout is in seconds."""

    metadata: Pairs = ()
    timeout: float | None = None
    compress: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended; C{reply} is there for an OK with a single reply."""

    code: int
    message: str = ""
    reply: Message | None = None
    initial_metadata: Pairs = field(default=())
    trailing_metadata: Pairs = field(default=())


class Conversation(Protocol):
    """A call under way."""

    async def send(self, message: Message, *, compress: bool = False) -> None:
        """Send one message; C{compress} asks for this message alone."""

    async def close_sending(self) -> None:
        """Say that no message follows."""

    async def receive(self) -> Message | None:
        """The next reply, or None when there is no further one, however the call ended."""

    def cancel(self) -> None:
        """Give the call up."""

    async def ending(self) -> Ending:
        """Wait for the end of the call."""


class InteropClient(Protocol):
    """A gRPC client library behind the cases' own words.

    @ivar picks_compression: it can compress one message of a stream and leave the next alone.
    """

    picks_compression: bool

    async def call(self, rpc: Rpc, request: Message, options: CallOptions) -> Ending:
        """Make a unary call; any status is an ending, not an exception."""

    def begin(self, rpc: Rpc, options: CallOptions, request: Message | None = None) -> Conversation:
        """Begin a streaming call; C{request} is given where the client sends only one."""
