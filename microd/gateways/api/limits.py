"""How much a client may ask for, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds.

    @ivar body: of one request.
    @ivar bodies: of all requests together which are being read or answered.
    @ivar url: of a request's path and query.
    @ivar head: of all headers of a request together.
    @ivar headers: how many there may be.
    @ivar pipelined: how many requests of one connection may wait for the one before.
    @ivar idle: a connection without a request is closed after this.
    @ivar head_time: how long a client may take over the head of a request.
    @ivar stall: how long it may pause within a body, and before it begins to read an answer.
    @ivar slowest: bytes per second; a body that comes slower on the whole, or is read so, is given up.
    @ivar call: a service's answer must come within this, unless the client asks for less.
    """

    body: int = 100 << 20
    bodies: int = 512 << 20
    url: int = 16 << 10
    head: int = 64 << 10
    headers: int = 128
    pipelined: int = 32
    idle: float = 75.0
    head_time: float = 10.0
    stall: float = 30.0
    slowest: float = 1024.0
    call: float = 60.0
