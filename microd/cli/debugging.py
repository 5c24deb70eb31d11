"""Asking a service about itself, node by node: C{Debug.Health}, C{Stats}, C{Trace} and C{Log} (spec micro-v3-server 6.9)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microd.cli.catalogue import Found, Node, Service
from microd.cli.durations import go_duration
from microd.cli.failure import CommandFailed
from microd.cli.naming import CORE, DEFAULT_NAMESPACE
from microd.cli.session import Session

#: Seconds that one node has.
PATIENCE = 2.0
#: How often the server is asked for calls and lines at most: it picks the nodes in turn.
_MOST_TURNS = 64
#: How many nodes are asked at once.
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node said, or why it did not."""

    service: Service
    node: Node
    said: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    def number(self, name: str) -> int:
        """A number; in JSON those of 64 bits are texts, and a 0 may be left out."""
        return _number(self.said.get(name))


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a service's log."""

    time: float
    level: str
    message: str
    metadata: Mapping[str, str]

    @property
    def json(self) -> str:
        """For programs."""
        told = {"Timestamp": self.metadata.get("time", self.time), "Message": self.message}
        return json.dumps(told | {"Metadata": dict(self.metadata)}, ensure_ascii=False)

    @property
    def text(self) -> str:
        """For people."""
        when = self.metadata.get("time", "").replace("T", " ").removesuffix("Z") or f"{self.time:.0f}"
        trace = self.metadata.get("trace_id")
        said = "\n".join(part for part in (self.message, self.metadata.get("stack", "")) if part)
        first, *more = said.splitlines() or [""]
        line = f"{when} {self.level} {first}" + (f" trace_id={trace}" if trace else "")
        return "\n    ".join([line, *more])


class Debugged:
    """A service with all its nodes."""

    def __init__(self, session: Session, found: Found) -> None:
        self._session = session
        self._namespace = found.namespace
        self._nodes = [(service, node) for service in found.versions for node in service.nodes]
        self._name = found.versions[0].name

    @classmethod
    def unlisted(cls, session: Session, name: str) -> Debugged:
        """A service of the platform that the registry does not list: it is where the server is."""
        node = Node(name, str(session.address), {})
        return cls(session, Found(DEFAULT_NAMESPACE, (Service(name, "latest", {}, (node,), ()),)))

    def of_each_node(self, method: str) -> list[Answer]:
        """Ask each node itself, and show it no token.

        A single node that does not answer us is asked through the server, and so are all where none can be reached from
        here; where some can, one that cannot is not well. What one of the platform's own services took is told to accounts
        only: it is not asked in vain, which it would count as an error.
        """
        if method == "Stats" and self._name in CORE and len(self._nodes) == 1:
            return [self._through_server(Answer(*self._nodes[0]), method)]
        answers = self._all_asked(method)
        if len(answers) == 1 or all(answer.failure for answer in answers):
            return [self._through_server(answer, method) if answer.failure else answer for answer in answers]
        return answers

    def spans(self, trace: str) -> list[dict[str, Any]]:
        """The last calls of all nodes, in the order of their beginning; of one trace, if it is given."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for said in self._in_turn("Trace", {"id": trace}):
            for span in said.get("spans", ()):
                made = _span_from(span)
                found[made["id"], made["type"]] = made
        return sorted(found.values(), key=lambda span: (span["started"], span["type"] != "INBOUND"))

    def records(self, count: int, since: int) -> list[LogLine]:
        """The last lines of all nodes, the oldest first."""
        found: dict[tuple[Any, ...], LogLine] = {}
        for said in self._in_turn("Log", {"count": count, "since": since}):
            for record in said.get("records", ()):
                line = _line_from(record)
                found[line.time, line.message, tuple(sorted(line.metadata.items()))] = line
        lines = sorted(found.values(), key=lambda line: line.metadata.get("time", "") or str(line.time))
        return lines[-count:] if count else lines

    def _in_turn(self, method: str, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """As admins only are told, and our token is for the server alone, it is asked once for each node: it takes turns."""
        turns = min(max(1, len(self._nodes)), _MOST_TURNS)
        return [self._call(self._session.remote, method, request) for _ in range(turns)]

    def _all_asked(self, method: str) -> list[Answer]:
        """All of them at once, as one which does not answer takes its time."""
        if len(self._nodes) == 1:
            return [self._asked(self._nodes[0], method)]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_MOST_AT_ONCE) as threads:
            return list(threads.map(lambda place: self._asked(place, method), self._nodes))

    def _asked(self, place: tuple[Service, Node], method: str) -> Answer:
        service, node = place
        try:
            remote = self._session.node(node.address)
            return Answer(service, node, self._call(remote, method, {}))
        except CommandFailed as failure:
            return Answer(service, node, failure=failure.sentence)

    def _through_server(self, answer: Answer, method: str) -> Answer:
        try:
            said = self._call(self._session.remote, method, {})
        except CommandFailed as failure:
            return Answer(answer.service, answer.node, failure=failure.sentence)
        return Answer(answer.service, answer.node, said)

    def _call(self, remote: Any, method: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        path = f"/{self._name}.Debug/{method}"
        body = json.dumps(request).encode()
        reply = remote.call_json(path, body, namespace=self._namespace, timeout=PATIENCE)
        try:
            said = json.loads(reply)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise CommandFailed(f"{self._name} answered what is no JSON object")
        return said


def went(nanoseconds: int) -> str:
    """A duration, to the thousandth of its unit."""
    unit = next((unit for unit in (10**9, 10**6, 10**3) if nanoseconds >= unit), 1)
    return go_duration(nanoseconds // max(1, unit // 1000) * max(1, unit // 1000))


def _number(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _span_from(said: Mapping[str, Any]) -> dict[str, Any]:
    type = said.get("type") or "INBOUND"
    return {
        **{name: str(said.get(name) or "") for name in ("trace", "id", "parent", "name")},
        "type": "OUTBOUND" if type in ("OUTBOUND", 1) else "INBOUND",
        "started": _number(said.get("started")),
        "duration": _number(said.get("duration")),
        "metadata": _texts(said.get("metadata")),
    }


def _line_from(said: Mapping[str, Any]) -> LogLine:
    metadata = _texts(said.get("metadata"))
    return LogLine(
        float(_number(said.get("timestamp"))),
        metadata.get("level", "info"),
        str(said.get("message") or ""),
        metadata,
    )
