"""The broker on the wire: spec micro-v3-server 6.5, 8, Appendix A."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tests.compat.conftest import Client
from tests.compat.wires import Refused, Shown

PUBLISH, SUBSCRIBE = "/broker.Broker/Publish", "/broker.Broker/Subscribe"


def _heard(call: Client, requests: list[Shown], publish: Callable[[int], object]) -> list[list[Shown]]:
    """What subscribers hear first."""
    return call.heard(SUBSCRIBE, requests, publish, by="alpha-user")


def test_publish(call: Client) -> None:
    """Every subscriber of a topic gets its messages, with the headers they were published with."""
    header = {"Micro-Topic": call.unique, "Content-Type": "application/grpc+proto"}
    message = {"header": header, "body": b"x"}

    def publish(_: int) -> None:
        assert call(PUBLISH, {"topic": call.unique, "message": message}, by="alpha-service") == {}

    for (each,) in _heard(call, [{"topic": call.unique}] * 2, publish):
        assert base64.b64decode(each["body"]) == b"x"
        assert each["header"].items() >= header.items()


def test_credentials_stay(call: Client) -> None:
    """A publisher's metadata travels along, but never what lets somebody in (defect 11.4)."""

    def publish(_: int) -> None:
        request = {"topic": call.unique, "message": {"body": b"x"}}
        call(PUBLISH, request, by="alpha-service", headers={"x-flavour": "mint", "cookie": "micro-token=t"})

    ((heard,),) = _heard(call, [{"topic": call.unique}], publish)
    assert heard["header"]["X-Flavour"] == "mint"
    token = call.daemon.people["alpha-service"].token
    assert not {"Authorization", "Cookie", "Micro-Namespace"} & set(heard["header"])
    assert token not in str(heard["header"])


def test_refused(call: Client) -> None:
    """The texts of the reference."""
    assert call.refused(PUBLISH, {"topic": "t"}, by="alpha-user") == Refused(
        400, "broker.Broker.Publish", "Missing message"
    )
    assert call.refused(SUBSCRIBE, {}, by="alpha-user") == Refused(
        400, "broker.Broker.Subscribe", "Missing topic"
    )
    for path in (PUBLISH, SUBSCRIBE):
        assert (
            call.refused(
                path, {"topic": "t", "message": {"body": b"x"}} if path == PUBLISH else {"topic": "t"}
            ).code
            == 401
        )
