"""What the runtime decides. Pure: nothing here waits, and C{now} is an argument.

The life of one process of a service, L{AFTER}; RUNNING means that the registry knows it. An error is either one of a
process that lives (it has not registered in time), of one that is between two attempts, or final (there is nothing to
start until somebody changes the service)::

    PENDING ──▶ BUILDING ──▶ STARTING ──▶ RUNNING
       │            │          │ ▲ │  ◀────  │         (its registration went, the process did not)
       │            │     late │ │ │ ended   │ ended
       │            │          ▼ │ ▼         │
       └────────────┴───────▶  ERROR  ◀──────┘──▶ STOPPED       (ended well)
                                 │ retry
                                 └──▶ BUILDING or STARTING

    any ──▶ STOPPING ──▶ STOPPED
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from microd.kernel.errors import BadRequest
from microd.kernel.names import require_name, require_text
from microd.services.runtime.model import Account, Key, Spec, State, Status

_S = Status
#: Which status may follow which.
AFTER: Mapping[Status, frozenset[Status]] = {
    _S.PENDING: frozenset({_S.BUILDING, _S.STARTING, _S.ERROR, _S.STOPPING}),
    _S.BUILDING: frozenset({_S.STARTING, _S.ERROR, _S.STOPPING}),
    _S.STARTING: frozenset({_S.RUNNING, _S.ERROR, _S.STOPPED, _S.STOPPING}),
    _S.RUNNING: frozenset({_S.STARTING, _S.ERROR, _S.STOPPED, _S.STOPPING}),
    _S.ERROR: frozenset({_S.BUILDING, _S.STARTING, _S.RUNNING, _S.ERROR, _S.STOPPED, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.STOPPED}),
    _S.STOPPED: frozenset(),
}

#: What the daemon's own environment has which is not for services: its settings, and what systemd told it.
_OURS = ("MICRO_", "LISTEN_", "NOTIFY_", "WATCHDOG_")
#: What services are told of them all the same: how lines of the log look.
_HANDED_DOWN = frozenset(("MICRO_LOG_FORMAT",))
#: Of several processes, the status that most wants attention speaks for all.
_URGENCY = (_S.ERROR, _S.STOPPING, _S.PENDING, _S.BUILDING, _S.STARTING, _S.RUNNING, _S.STOPPED)
_MOST_TEXT = 64 * 1024


def check_key(namespace: str, name: str, version: str) -> Key:
    """Read which service is meant; its parts become names of folders.

    @raise BadRequest: one of them is missing or no name.
    """
    require_name("the namespace", namespace)
    require_name("the service's name", name)
    require_name("the service's version", version or "latest")
    return Key(namespace, name, version or "latest")


def check_env(entries: Iterable[str]) -> dict[str, str]:
    """Read C{NAME=value} entries; a later one wins.

    @raise BadRequest: one of them is none.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise BadRequest(f"the environment entry {name[:40]!r} is not of the form NAME=value")
        found[name] = value
    return found


def check_spec(spec: Spec, most_instances: int) -> Spec:
    """Let what is to run pass.

    @raise BadRequest: something in it cannot be run.
    """
    for name, value in (*spec.env.items(), *spec.secrets.items()):
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise BadRequest(f"{name[:40]!r} cannot be in an environment")
    if any("\0" in word for word in (*spec.command, *spec.args, spec.entrypoint)):
        raise BadRequest("a command cannot hold a NUL")
    if spec.command and not spec.command[0]:
        raise BadRequest("the command's program is missing")
    if not 1 <= spec.instances <= most_instances:
        raise BadRequest(f"instances must be between 1 and {most_instances}")
    for name, value in spec.metadata.items():
        require_text("a metadata key", name, 255)
        if len(value) > _MOST_TEXT:
            raise BadRequest(f"the metadata of {name!r} is too long")
    return spec


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a service may see of the daemon's environment: none of its secrets, and of its settings the log's form."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HANDED_DOWN or not name.startswith(_OURS)
    }


def environment(
    base: Mapping[str, str], spec: Spec, proxy: str, account: Account, process: str, programs: str
) -> dict[str, str]:
    """The environment of one process of a service (spec 1.2).

    @param base: see L{inherited}.
    @param programs: the folder whose programs come first.
    """
    key = spec.key
    made = {
        **base,
        "PATH": f"{programs}:{base.get('PATH', '/usr/local/bin:/usr/bin:/bin')}",
        "PYTHONUNBUFFERED": "1",
        "MICRO_PROFILE": "service",
        "MICRO_SERVICE_NAME": key.name,
        "MICRO_SERVICE_VERSION": key.version,
        "MICRO_PROXY": proxy,
        **spec.env,
        **spec.secrets,
    }
    return made | {
        "MICRO_AUTH_ID": account.id,
        "MICRO_AUTH_SECRET": account.secret,
        "MICRO_SERVICE_PROCESS": process,
        "MICRO_NAMESPACE": key.namespace,
    }


def wait(failures: int, first: float, longest: float) -> float:
    """Seconds before the next attempt, after so many failures in a row."""
    return float(min(longest, first * 2.0 ** min(failures - 1, 63)))


def overall(states: Sequence[State]) -> State:
    """The one of several processes which speaks for the service."""
    return min(states, key=lambda state: _URGENCY.index(state.status))


def shown(spec: Spec, states: Sequence[State], trouble: str) -> dict[str, str]:
    """The metadata of a service, as Read answers it.

    @param trouble: what went wrong with the last update, when the former service was kept.
    """
    state = overall(states)
    started = state.started if state.started is not None else spec.updated
    found = {
        "source": spec.source,
        **spec.metadata,
        "owner": spec.owner,
        "group": spec.group,
        "started": rfc3339(started),
        "status": state.status.name.lower(),
        "restarts": str(sum(each.restarts for each in states)),
    }
    if state.pid is not None:
        found["pid"] = str(state.pid)
    if state.build:
        found["build"] = state.build
    if state.retry is not None:
        found["retry"] = rfc3339(state.retry)
    if len(states) > 1:
        found["instances"] = f"{sum(each.status is Status.RUNNING for each in states)}/{len(states)}"
    if state.note or trouble:
        found["error"] = state.note or trouble
    return found


def rfc3339(moment: float) -> str:
    """A moment, in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
