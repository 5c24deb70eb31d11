"""What auth tells of an account holds for its connections of NATS, at once."""

from __future__ import annotations

from urllib.request import urlopen

import pytest

from microd.testing import nats_wire as wire
from microd.testing.nats_client import RawNats
from tests.compat.conftest import Client

pytestmark = [pytest.mark.e2e]


def _account(call: Client, *scopes: str) -> str:
    id = f"nats-{call.unique}"
    draft = {"id": id, "secret": "a secret of its own", "scopes": list(scopes)}
    call("/auth.Auth/Generate", {**draft, "options": {"namespace": "micro"}}, by="admin")
    return id


def _connect(call: Client, **shown: object) -> RawNats:
    return RawNats(call.daemon.platform.door("nats")).login(verbose=False, **shown)


def test_deleted(grpc_call: Client) -> None:
    """The connections of a deleted account end, whatever let them in."""
    call = grpc_call
    id = _account(call)
    token = call.token("micro", id, "a secret of its own")
    with (
        _connect(call, user=id, **{"pass": "a secret of its own"}) as one,
        _connect(call, auth_token=token) as two,
        _connect(call, user="guest", **{"pass": "guest's secret"}) as other,
    ):
        call("/auth.Accounts/Delete", {"id": id, "options": {"namespace": "micro"}}, by="admin")
        for each in (one, two):
            each.until_end()
            assert each.errors == ["User Authentication Revoked"]
        other.flush()
    for shown in ({"user": id, "pass": "a secret of its own"}, {"auth_token": token}):
        with RawNats(call.daemon.platform.door("nats")) as gone:
            gone.send(wire.connect(**shown))
            gone.until_end()
            assert gone.errors == ["Authorization Violation"]


def test_rules(grpc_call: Client) -> None:
    """A rule about the broker's API holds for NATS, too, from the moment that it is made, and until it is taken away."""
    call = grpc_call
    scope = f"mute-{call.unique}"
    id = _account(call, scope)
    rule = {
        "id": scope,
        "scope": scope,
        "resource": {"type": "service", "name": "broker", "endpoint": "Broker.Publish"},
        "access": "DENIED",
        "priority": 10,
    }
    with _connect(call, user=id, **{"pass": "a secret of its own"}) as client:
        client.send(wire.sub("a", 1), wire.pub("a", b"before"))
        assert [each.payload for each in client.messages(1)] == [b"before"]
        call("/auth.Rules/Create", {"rule": rule, "options": {"namespace": "micro"}}, by="admin")
        client.flush()
        client.send(wire.pub("a", b"denied"))
        client.flush()
        assert client.errors == ['Permissions Violation for Publish to "a"']
        call("/auth.Rules/Delete", {"id": scope, "options": {"namespace": "micro"}}, by="admin")
        client.flush()
        client.send(wire.pub("a", b"after"))
        assert [each.payload for each in client.messages(1)] == [b"after"]


def test_figures(grpc_call: Client) -> None:
    """Operators see who is there and who was refused."""
    call = grpc_call
    platform = call.daemon.platform
    with _connect(call, user="guest", **{"pass": "guest's secret"}), RawNats(platform.door("nats")) as bad:
        bad.send(wire.connect(user="mallory", **{"pass": "x"}))
        bad.until_end()
        shown = metrics(platform.door("ops"))
    assert float(shown['microd_connections{door="nats"}']) >= 1
    assert float(shown['microd_nats_connections_total{outcome="refused_credentials"}']) >= 1
    assert float(shown['microd_nats_connections_total{outcome="accepted"}']) >= 1


def metrics(address: str) -> dict[str, str]:
    """What the ops door tells, by name and labels."""
    with urlopen(f"http://{address}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
