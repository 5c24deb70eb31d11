"""What others may ask of the registry."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from microd.kernel.caller import Account
from microd.services.registry.model import Change, Endpoint, Node, Registrant, Service


class IWatch(Protocol):
    """The changes from the moment it was asked for, in order, each exactly once.

    Iteration raises L{microd.kernel.errors.Unavailable} when the reader fell so far behind that changes would have
    been lost: watch anew, and begin with the present state.

    @ivar present: what was there at that moment, if it was asked for; the changes go on from it.
    """

    present: Sequence[Service]

    def __aiter__(self) -> IWatch:
        """The watch itself."""

    async def __anext__(self) -> Change:
        """Wait for the next change."""

    def close(self) -> None:
        """Stop watching; iteration ends. May be called twice."""


class IRegistry(Protocol):
    """Knows the living nodes of every service, in every namespace.

    A node is known from its registration until the first of: its deregistration, the end of its lease, the loss of
    its owner, the end of the account that registered it last. Nothing is kept over a restart: whoever lives registers
    again.

    While a node lives, its address is its namespace's: nobody else may name it as theirs, and have their calls arrive there.
    So a service of one namespace that begins to listen where one of another has just died waits for the end of that lease:
    until the process has ended, if the runtime started it; until the connection drops, if it was registered so; else as
    long as was asked for, 90 s for services of the reference. Only a claim from elsewhere gives way at once to one from the
    very host.
    """

    async def register(
        self,
        namespace: str,
        service: Service,
        ttl: float,
        *,
        owner: Hashable | None = None,
        by: Registrant | None = None,
    ) -> None:
        """Add C{service.nodes} to the version, or renew their leases; what the version says of itself is taken over.

        @param ttl: seconds; with zero or less, the default lease, or none at all where there is an owner.
        @param owner: whoever the nodes live and die with, see L{forget_owner}.
        @param by: whose nodes they are; None: the platform's own, which may be anywhere.
        @raise BadRequest: a name, an address or a size is out of bounds.
        @raise Conflict: an address is another namespace's node's, or a door's of this daemon.
        """

    async def deregister(self, namespace: str, service: Service) -> None:
        """Take C{service.nodes} out of the version; unknown ones are no error."""

    async def get(self, namespace: str, name: str) -> Sequence[Service]:
        """All versions of a service; empty when none of its nodes lives."""

    async def list(self, namespace: str) -> Sequence[Service]:
        """Every living version of a namespace, or of all of them (C{*}); each says its own in C{metadata["domain"]}."""

    def watch(
        self, namespace: str, name: str = "", *, present: bool = False, reader: Account | None = None
    ) -> IWatch:
        """The changes from now on, of one service or (with an empty name) of all.

        @param present: gather what is there now as well.
        @param reader: whose watch it is; it ends with the account.
        """

    def revoked(self, namespace: str, id: str) -> None:
        """End the watches of an account, whose tokens are void, and take out the nodes which it registered last.

        Where it is only its secret that has changed, whoever knows the new one registers them again.
        """

    def nodes(self, namespace: str, name: str) -> tuple[Node, ...]:
        """The living nodes of all versions of a service; the very same tuple until something changes.

        With C{*}, those of every namespace, gathered anew each time.
        """

    def endpoints_of(self, namespace: str, name: str) -> tuple[Endpoint, ...]:
        """What a service can be asked: the endpoints of all its versions, each name once.

        The very same tuple until something changes.
        """

    def forget_owner(self, owner: Hashable) -> None:
        """Drop at once what was last registered under C{owner}."""

    def forget_process(self, namespace: str, name: str, version: str, process: str) -> None:
        """Drop at once the nodes of a version whose metadata C{process} says that they ran there."""
