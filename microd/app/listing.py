"""The core services as entries of the registry, so that they are found and described like any other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from microd.kernel.caller import DEFAULT_NAMESPACE
from microd.kernel.endpoint import Endpoint
from microd.services.registry import model
from microd.services.registry.describe import described
from microd.services.registry.interface import IRegistry


class CoreListing(Service):
    """Registers the core services for as long as the daemon is up.

    @param address: where they are reached, once the doors are open.
    @param bare: names under which nothing is listed, as of doors which answer no more than Debug.
    """

    def __init__(
        self,
        registry: IRegistry,
        endpoints: Sequence[Endpoint],
        address: Callable[[], str],
        bare: Sequence[str] = (),
    ) -> None:
        self._registry = registry
        self._endpoints = endpoints
        self._address = address
        self._bare = bare

    def startService(self) -> Deferred[None]:
        """Register them."""
        super().startService()
        return Deferred.fromCoroutine(self._register())

    def stopService(self) -> None:
        """Take them out."""
        super().stopService()
        self._registry.forget_owner(self)

    async def _register(self) -> None:
        address = self._address()
        if not address:
            return
        for name in dict.fromkeys((*(endpoint.service for endpoint in self._endpoints), *self._bare)):
            mine = [endpoint for endpoint in self._endpoints if endpoint.service == name]
            node = model.Node(f"{name}-{uuid.uuid4()}", address, {"server": "grpc", "protocol": "grpc"})
            entry = model.Service(name, endpoints=described(mine), nodes=(node,))
            await self._registry.register(DEFAULT_NAMESPACE, entry, 0, owner=self)
