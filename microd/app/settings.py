"""Every setting of the daemon, its default, and the three ways to set it.

A setting C{address} of the section C{api} is C{[api] address} in the settings file, C{MICRO_API_ADDRESS} in the
environment and C{--api-address} on the command line; later ones win. Annotated in C{conf/microd.toml}.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from microd.app import values
from microd.app.values import Reader

#: What can run: core services and doors.
CORE_SERVICES = (
    *("registry", "store", "config", "auth", "runtime"),
    *("broker", "events", "network", "router", "api"),
)
DOORS = ("network", "proxy", "api", "nats", "ops")


def _setting(read: Reader, default: Any, help: str, env: str = "") -> Any:
    return field(default=default, metadata={"read": read, "help": help, "env": env})


@dataclass(frozen=True, slots=True)
class Daemon:
    """The process itself."""

    data: str = _setting(
        values.text, "", "folder of everything that is kept; empty: $MICRO_HOME/server, else ~/.micro/server"
    )
    only: tuple[str, ...] = _setting(values.words, (), "run just these core services and doors")
    drain: float = _setting(values.duration, 20.0, "how long calls in flight may take to finish on shutdown")
    log_level: str = _setting(
        values.log_level,
        "info",
        "least important events to log: debug, info, warn, error",
        env="MICRO_LOG_LEVEL",
    )
    log_format: str = _setting(
        values.log_format, "text", "what lines of the log are: text, json or logfmt", env="MICRO_LOG_FORMAT"
    )
    access_log: bool = _setting(values.switch, False, "log every call, not just those that failed")


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP gateway."""

    address: str = _setting(values.address, "127.0.0.1:8080", "where the HTTP gateway listens")
    enable_cors: bool = _setting(values.switch, True, "answer browsers of other origins")
    max_body: int = _setting(values.size, 100 << 20, "largest request body")
    timeout: float = _setting(
        values.duration, 60.0, "longest a call may take unless the caller asks for less"
    )
    blocklist_enabled: bool = _setting(values.switch, True, "turn away the accounts on the blocklist")


@dataclass(frozen=True, slots=True)
class Proxy:
    """The gRPC door for clients."""

    address: str = _setting(values.address, "127.0.0.1:8081", "where the gRPC proxy for clients listens")
    max_message: int = _setting(values.size, 32 << 20, "largest gRPC message")


@dataclass(frozen=True, slots=True)
class Network:
    """The gRPC door for services."""

    address: str = _setting(
        values.address, "127.0.0.1:8443", "where services reach the platform and each other"
    )
    max_message: int = _setting(values.size, 32 << 20, "largest gRPC message")


@dataclass(frozen=True, slots=True)
class Store:
    """Records and blobs."""

    max_blob: int = _setting(values.size, 1 << 30, "largest blob")


@dataclass(frozen=True, slots=True)
class Ops:
    """The door for operators: metrics, liveness, readiness."""

    address: str = _setting(
        values.optional_address,
        "127.0.0.1:8099",
        "where operators' tools ask how the daemon is; off: nowhere",
    )
    token: str = _setting(
        values.text, "", "what they show as a bearer token; demanded where the address is beyond loopback"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration and secrets."""

    secret_key: str = _setting(
        values.text,
        "",
        "base64 of the 32 bytes which secrets are encrypted with, then of former ones; empty: one is made",
    )
    secret_key_file: str = _setting(values.text, "", "a file which holds the same")
    lost_keys: tuple[str, ...] = _setting(
        values.words, (), "ids of keys which are gone for good, and the secrets with them"
    )
    history: int = _setting(values.count, 500, "how many versions of each namespace's configuration are kept")


@dataclass(frozen=True, slots=True)
class Broker:
    """Messages between services."""

    max_message: int = _setting(values.size, 4 << 20, "largest message, headers and body")
    max_subscriptions: int = _setting(values.count, 100_000, "how many subscriptions a namespace may have")
    backlog: int = _setting(values.count, 8192, "how many messages may wait for one subscriber")
    backlog_size: int = _setting(values.size, 16 << 20, "how much memory they may take")
    memory: int = _setting(
        values.size, 128 << 20, "how much memory all waiting messages of one namespace may take"
    )
    slow: str = _setting(
        values.choice("drop-oldest", "drop-new", "disconnect"),
        "drop-oldest",
        "what becomes of messages that nobody reads in time: drop-oldest, drop-new, disconnect",
    )


@dataclass(frozen=True, slots=True)
class Nats:
    """The door for clients of NATS, to the broker and to events. Defaults are those of nats-server."""

    address: str = _setting(
        values.optional_address, "127.0.0.1:4222", "where clients of NATS reach the broker; off: nowhere"
    )
    tls_cert: str = _setting(
        values.text, "", "a PEM file: the certificate that is shown when a client turns to TLS behind INFO"
    )
    tls_key: str = _setting(values.text, "", "a PEM file: its key")
    tls_ca: str = _setting(
        values.text, "", "a PEM file: who must have signed the certificate that each client shows"
    )
    tls_required: bool = _setting(values.switch, True, "with a certificate: nobody comes in without TLS")
    max_payload: int = _setting(values.size, 1 << 20, "largest message")
    max_pending: int = _setting(values.size, 64 << 20, "how much may wait for one connection")
    max_connections: int = _setting(values.count, 65_536, "how many connections there may be")
    max_namespace_connections: int = _setting(
        values.count, 16_384, "how many of them one namespace's accounts may have"
    )
    max_subscriptions: int = _setting(values.count, 10_000, "how many subscriptions one connection may have")
    auth_timeout: float = _setting(
        values.duration, 2.0, "how long a client may take to say who it is, TLS included"
    )
    ping_interval: float = _setting(values.duration, 120.0, "how often a silent client is asked to answer")
    max_pings: int = _setting(values.count, 2, "how many of these it may leave unanswered")
    write_deadline: float = _setting(
        values.duration, 10.0, "how long a connection that is being closed may take to read the rest"
    )
    lame_duck: float = _setting(
        values.duration, 20.0, "how long clients may take to leave on shutdown, within daemon.drain"
    )


@dataclass(frozen=True, slots=True)
class Events:
    """Streams of events, which are kept."""

    max_event: int = _setting(values.size, 1 << 20, "largest event, payload and metadata")
    max_age: float = _setting(
        values.duration,
        7 * 86400.0,
        "how long events are kept unless their topic says otherwise; 0: no limit",
    )
    max_size: int = _setting(
        values.size, 1 << 30, "how much is kept of a topic unless it says otherwise; 0: no limit"
    )
    namespace_size: int = _setting(
        values.size,
        10 << 30,
        "how much is kept of all topics of a namespace; beyond it, publishers are refused",
    )
    group_ttl: float = _setting(
        values.duration,
        30 * 86400.0,
        "how long a group is remembered that nobody consumes for; 0: for ever",
    )


@dataclass(frozen=True, slots=True)
class Auth:
    """Accounts and tokens."""

    admin_secret: str = _setting(
        values.text, "", "the first admin's secret; empty: one is made", env="MICRO_ADMIN_SECRET"
    )
    admin_secret_file: str = _setting(values.text, "", "a file which holds the first admin's secret")
    reset_admin: bool = _setting(
        values.switch,
        False,
        "give the account admin another secret on this start, the one set or a fresh one in DATA/admin-secret",
    )
    private_key: str = _setting(
        values.text, "", "RSA key of the tokens: PEM, or base64 of PEM; empty: one is made"
    )
    public_key: str = _setting(values.text, "", "its public half; empty: derived")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The services that the daemon runs."""

    start_timeout: float = _setting(values.duration, 30.0, "how long a service may take to register")
    stop_grace: float = _setting(
        values.duration, 10.0, "how long a service may take to stop before it is killed"
    )
    backoff_max: float = _setting(
        values.duration, 60.0, "longest wait before a crashed service is started again"
    )
    log_size: int = _setting(values.size, 8 << 20, "size at which a service's log file is rotated")
    log_files: int = _setting(values.count, 4, "how many rotated log files are kept for each service")
    max_source: int = _setting(values.size, 256 << 20, "largest upload of a service's source")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of them, a section a part."""

    daemon: Daemon = field(default_factory=Daemon)
    api: Api = field(default_factory=Api)
    proxy: Proxy = field(default_factory=Proxy)
    network: Network = field(default_factory=Network)
    broker: Broker = field(default_factory=Broker)
    nats: Nats = field(default_factory=Nats)
    events: Events = field(default_factory=Events)
    store: Store = field(default_factory=Store)
    ops: Ops = field(default_factory=Ops)
    config: Config = field(default_factory=Config)
    auth: Auth = field(default_factory=Auth)
    runtime: Runtime = field(default_factory=Runtime)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table of settings."""

    section: str
    key: str
    read: Reader
    default: Any
    help: str
    env: str

    @property
    def name(self) -> str:
        """C{section.key}."""
        return f"{self.section}.{self.key}"

    @property
    def option(self) -> str:
        """The command line's word for it, without the dashes."""
        section = "" if self.section == "daemon" else f"{self.section}-"
        return (section + self.key).replace("_", "-")


def _table() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for section in fields(Settings):
        kind: Any = section.default_factory
        for entry in fields(kind):
            env = entry.metadata["env"] or (
                f"MICRO_{entry.name.upper()}"
                if section.name == "daemon"
                else f"MICRO_{section.name.upper()}_{entry.name.upper()}"
            )
            row = Setting(
                section.name, entry.name, entry.metadata["read"], entry.default, entry.metadata["help"], env
            )
            found[row.name] = row
    return found


#: C{section.key} to its row.
TABLE = _table()
SECTIONS: dict[str, Any] = {section.name: section.default_factory for section in fields(Settings)}
