"""What a connection of NATS is told, and how much it may. Values are frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from microd.kernel.caller import Account
from microd.services.broker.model import Slow


@dataclass(frozen=True, slots=True)
class Connect:
    """What a client says of itself with C{CONNECT}; what it left out stands at nats-server's defaults.

    @ivar token: C{auth_token}.
    @ivar password: C{pass}.
    @ivar verbose: it wants C{+OK} for what is done.
    @ivar pedantic: it wants to hear of subjects to publish to which are none.
    @ivar echo: it wants its own messages, too.
    @ivar no_responders: it wants to hear at once that nobody answers.
    """

    verbose: bool = True
    pedantic: bool = True
    tls_required: bool = False
    token: str = ""
    jwt: str = ""
    user: str = ""
    password: str = ""
    name: str = ""
    lang: str = ""
    version: str = ""
    protocol: int = 0
    echo: bool = True
    headers: bool = False
    no_responders: bool = False


class Admitted(NamedTuple):
    """Who came in, and what they may; the account's issuer is the space of their subjects.

    @ivar store: publish to C{$EVENTS.}, of which C{publish} says nothing.
    """

    account: Account
    publish: bool = True
    subscribe: bool = True
    store: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one connection may. Sizes are in bytes, times in seconds.

    @ivar payload: of one message, headers included.
    @ivar control_line: what stands behind the verb.
    @ivar pending: what waits to be sent.
    @ivar slow: what becomes of a connection, or of its messages, when that is full.
    @ivar subscriptions: at once.
    @ivar ping_interval: between two C{PING}s of ours; C{pings} may be unanswered.
    @ivar authentication: in which it must be known who it is.
    @ivar write_deadline: in which a connection that is to be closed may still take what waits.
    """

    payload: int = 1 << 20
    control_line: int = 4096
    pending: int = 64 << 20
    slow: Slow = "disconnect"
    subscriptions: int = 10_000
    ping_interval: float = 120.0
    pings: int = 2
    authentication: float = 2.0
    write_deadline: float = 10.0
