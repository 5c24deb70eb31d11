"""How much one peer may ask of us: sizes, counts and patience, with defaults for a service inside one organisation."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one connection; every size is in bytes.

    @ivar max_message: the longest message taken or sent, after decompression.
    @ivar max_header_list: the longest header list taken, counted as RFC 9113 6.5.2 does; a longer one is
        refused for its call, and one four times as long ends the connection.
    @ivar max_streams: how many calls a client may have open at once.
    @ivar stream_window: how far a sender may run ahead of the reader of one call.
    @ivar connection_window: how much may be on its way on all calls together.
    @ivar max_buffered: how much one connection may make us hold: messages in part, and messages not read yet.
    @ivar max_resets: how many calls a client may cancel in a burst before the connection is ended
        (C{reset_rate} a second are forgiven, and one for each call that ends well).
    @ivar max_noise: the same for frames which bring nothing: PING, SETTINGS, empty DATA, PRIORITY, unknown types.
    """

    max_message: int = 32 * MEBIBYTE
    max_header_list: int = 64 * 1024
    max_streams: int = 1000
    stream_window: int = 256 * 1024
    connection_window: int = 4 * MEBIBYTE
    max_buffered: int = 128 * MEBIBYTE
    max_resets: int = 500
    reset_rate: float = 100.0
    max_noise: int = 1000
    noise_rate: float = 100.0


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When a silent peer is asked whether it is still there; all in seconds.

    @ivar interval: silence after which it is sent a PING.
    @ivar timeout: how long it may take to answer.
    @ivar handshake: how long it may take to say anything at all after connecting, and to go when told to.
    @ivar request: how long the request of a call may stand still on its way, for methods which take one.
    """

    interval: float = 60.0
    timeout: float = 20.0
    handshake: float = 10.0
    request: float = 60.0
