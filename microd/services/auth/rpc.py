"""Auth's RPCs: protobuf in, protobuf out."""

from __future__ import annotations

from microd.kernel.access import require_admin, require_member
from microd.kernel.caller import DEFAULT_NAMESPACE, Account, Caller
from microd.kernel.endpoint import Endpoint
from microd.kernel.errors import BadRequest, Unauthorized
from microd.kernel.names import require_name
from microd.services.auth.model import Draft, Resource, Rule, Token
from microd.services.auth.service import Auth
from microd.wire import auth_pb2 as wire


def endpoints(auth: Auth) -> list[Endpoint]:
    """What auth offers."""
    rpc = _Rpc(auth)
    return [
        Endpoint("/auth.Auth/Generate", wire.GenerateRequest, wire.GenerateResponse, rpc.generate),
        Endpoint("/auth.Auth/Inspect", wire.InspectRequest, wire.InspectResponse, rpc.inspect),
        Endpoint("/auth.Auth/Token", wire.TokenRequest, wire.TokenResponse, rpc.token),
        Endpoint("/auth.Auth/Logout", wire.LogoutRequest, wire.LogoutResponse, rpc.logout),
        Endpoint("/auth.Accounts/List", wire.ListAccountsRequest, wire.ListAccountsResponse, rpc.accounts),
        Endpoint("/auth.Accounts/Delete", wire.DeleteAccountRequest, wire.DeleteAccountResponse, rpc.delete),
        Endpoint(
            "/auth.Accounts/ChangeSecret",
            wire.ChangeSecretRequest,
            wire.ChangeSecretResponse,
            rpc.change_secret,
        ),
        Endpoint("/auth.Rules/Create", wire.CreateRequest, wire.CreateResponse, rpc.create_rule),
        Endpoint("/auth.Rules/Delete", wire.DeleteRequest, wire.DeleteResponse, rpc.delete_rule),
        Endpoint("/auth.Rules/List", wire.ListRequest, wire.ListResponse, rpc.rules),
    ]


class _Rpc:
    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def generate(self, request: wire.GenerateRequest, caller: Caller) -> wire.GenerateResponse:
        namespace = _administered(caller, request.options.namespace or caller.namespace)
        account, secret = await self._auth.generate(namespace, draft_from(request), _account(caller))
        message = account_message(account)
        message.secret = secret
        return wire.GenerateResponse(account=message)

    async def inspect(self, request: wire.InspectRequest, caller: Caller) -> wire.InspectResponse:
        return wire.InspectResponse(account=account_message(await self._auth.inspect(request.token)))

    async def token(self, request: wire.TokenRequest, caller: Caller) -> wire.TokenResponse:
        token = await self._auth.token(
            request.options.namespace,
            id=request.id,
            secret=request.secret,
            refresh_token=request.refresh_token,
            lifetime=request.token_expiry,
            peer=caller.peer,
        )
        return wire.TokenResponse(token=token_message(token))

    async def logout(self, request: wire.LogoutRequest, caller: Caller) -> wire.LogoutResponse:
        await self._auth.end_session(request.refresh_token)
        return wire.LogoutResponse()

    async def accounts(self, request: wire.ListAccountsRequest, caller: Caller) -> wire.ListAccountsResponse:
        namespace = _administered(caller, request.options.namespace or DEFAULT_NAMESPACE)
        found = await self._auth.accounts(namespace)
        return wire.ListAccountsResponse(accounts=[account_message(account) for account in found])

    async def delete(self, request: wire.DeleteAccountRequest, caller: Caller) -> wire.DeleteAccountResponse:
        namespace = _administered(caller, request.options.namespace or DEFAULT_NAMESPACE)
        await self._auth.delete(namespace, request.id, _account(caller))
        return wire.DeleteAccountResponse()

    async def change_secret(
        self, request: wire.ChangeSecretRequest, caller: Caller
    ) -> wire.ChangeSecretResponse:
        namespace = request.options.namespace or DEFAULT_NAMESPACE
        require_member(caller, namespace)
        require_name("the namespace", namespace)
        await self._auth.change_secret(
            namespace, request.id, request.old_secret, request.new_secret, _account(caller)
        )
        return wire.ChangeSecretResponse()

    async def create_rule(self, request: wire.CreateRequest, caller: Caller) -> wire.CreateResponse:
        namespace = _administered(caller, request.options.namespace or DEFAULT_NAMESPACE)
        if not request.HasField("rule"):
            raise BadRequest("Rule missing")
        await self._auth.create_rule(namespace, rule_from(request.rule))
        return wire.CreateResponse()

    async def delete_rule(self, request: wire.DeleteRequest, caller: Caller) -> wire.DeleteResponse:
        namespace = _administered(caller, request.options.namespace or DEFAULT_NAMESPACE)
        if not request.id:
            raise BadRequest("ID missing")
        await self._auth.delete_rule(namespace, request.id)
        return wire.DeleteResponse()

    async def rules(self, request: wire.ListRequest, caller: Caller) -> wire.ListResponse:
        namespace = request.options.namespace or DEFAULT_NAMESPACE
        require_member(caller, namespace)
        require_name("the namespace", namespace)
        return wire.ListResponse(rules=[rule_message(rule) for rule in self._auth.rules(namespace)])


def draft_from(request: wire.GenerateRequest) -> Draft:
    """The account that is asked for."""
    return Draft(
        id=request.id,
        name=request.name,
        type=request.type,
        secret=request.secret,
        scopes=tuple(request.scopes),
        metadata=dict(request.metadata),
    )


def account_message(account: Account) -> wire.Account:
    """An account, without a secret."""
    return wire.Account(
        id=account.id,
        type=account.type,
        metadata=account.metadata,
        scopes=account.scopes,
        issuer=account.issuer,
        name=account.name,
    )


def token_message(token: Token) -> wire.Token:
    """A token."""
    return wire.Token(
        access_token=token.access, refresh_token=token.refresh, created=token.created, expiry=token.expires
    )


def rule_from(message: wire.Rule) -> Rule:
    """A rule.

    @raise BadRequest: something is missing that none can be without; clients match the words.
    """
    if not message.id:
        raise BadRequest("ID missing")
    if not message.HasField("resource"):
        raise BadRequest("Resource missing")
    if message.access == wire.UNKNOWN:
        raise BadRequest("Access missing")
    if message.access not in (wire.GRANTED, wire.DENIED):
        raise BadRequest(f"the rule's access must be GRANTED or DENIED, not {message.access}")
    resource = Resource(message.resource.type, message.resource.name, message.resource.endpoint)
    return Rule(message.id, message.scope, resource, message.access == wire.GRANTED, message.priority)


def rule_message(rule: Rule) -> wire.Rule:
    """A rule."""
    resource = rule.resource
    return wire.Rule(
        id=rule.id,
        scope=rule.scope,
        resource=wire.Resource(type=resource.type, name=resource.name, endpoint=resource.endpoint),
        access=wire.GRANTED if rule.granted else wire.DENIED,
        priority=rule.priority,
    )


def _administered(caller: Caller, namespace: str) -> str:
    """The namespace, where C{caller} administers it.

    @raise BadRequest: there can be no such namespace.
    """
    require_admin(caller, namespace)
    return require_name("the namespace", namespace)


def _account(caller: Caller) -> Account:
    if caller.account is None:
        raise Unauthorized("an account is required")
    return caller.account
