"""The HTTP door's list on the wire: spec 4.8 and Appendix A."""

from __future__ import annotations

from microd.gateways.api.blocklist import Blocklist
from microd.kernel.access import require_admin
from microd.kernel.caller import DEFAULT_NAMESPACE, Caller
from microd.kernel.endpoint import Endpoint as Rpc
from microd.wire import api_pb2 as pb


def endpoints(blocklist: Blocklist) -> list[Rpc]:
    """What C{api} answers, to admins and services of the platform."""
    wire = BlocklistWire(blocklist)
    path = "/api.Api/"
    return [
        Rpc(path + "AddToBlockList", pb.AddToBlockListRequest, pb.AddToBlockListResponse, wire.add),
        Rpc(
            path + "RemoveFromBlockList",
            pb.RemoveFromBlockListRequest,
            pb.RemoveFromBlockListResponse,
            wire.remove,
        ),
        Rpc(path + "ReadBlockList", pb.ReadBlockListRequest, pb.ReadBlockListResponse, wire.read),
    ]


class BlocklistWire:
    """Turns messages into questions to the list, and its answers into messages."""

    def __init__(self, blocklist: Blocklist) -> None:
        self._blocklist = blocklist

    async def add(self, request: pb.AddToBlockListRequest, caller: Caller) -> pb.AddToBlockListResponse:
        """Turn an account away from the HTTP door."""
        require_admin(caller, DEFAULT_NAMESPACE)
        await self._blocklist.add(request.namespace, request.id)
        return pb.AddToBlockListResponse()

    async def remove(
        self, request: pb.RemoveFromBlockListRequest, caller: Caller
    ) -> pb.RemoveFromBlockListResponse:
        """Let an account in again."""
        require_admin(caller, DEFAULT_NAMESPACE)
        await self._blocklist.remove(request.namespace, request.id)
        return pb.RemoveFromBlockListResponse()

    async def read(self, request: pb.ReadBlockListRequest, caller: Caller) -> pb.ReadBlockListResponse:
        """Show who is turned away."""
        require_admin(caller, DEFAULT_NAMESPACE)
        return pb.ReadBlockListResponse(ids=self._blocklist.all())
