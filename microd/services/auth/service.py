"""Auth as it runs: accounts, tokens, and the memory of tokens that were verified."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from microd.kernel.caller import DEFAULT_NAMESPACE, PLATFORM_ACCOUNT, Account
from microd.kernel.errors import BadRequest, Unauthorized
from microd.kernel.health import Figure, Sample, gauge
from microd.kernel.lifecycle import OrderedService
from microd.services.auth import rules
from microd.services.auth.accounts import Accounts
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.interface import Hasher, Vault
from microd.services.auth.keys import derived
from microd.services.auth.model import (
    Draft,
    Enrolment,
    InvalidToken,
    Resource,
    Rule,
    Token,
    UnknownAccount,
    WrongSecret,
)
from microd.services.auth.rulebook import Rulebook
from microd.services.auth.sessions import NAME, Crowded, Seal, Shown, begun, crowded, ended, used
from microd.services.auth.tokens import Claims, Mint, Remembered
from microd.services.auth.turns import guessing, known
from microd.services.auth.verdicts import refusal


class Auth(OrderedService):
    """Who is asking, and may they?

    Access tokens are verified without waiting: the signature is ours, and how often an account was revoked is in
    memory. C{clock.seconds()} is Unix time.

    @param key: gets the key which signs tokens; called once, on the start.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        vault: Vault,
        hasher: Hasher,
        key: Callable[[], RSAPrivateKey],
        first: FirstAdmin,
    ) -> None:
        super().__init__()
        self.setName("auth")
        self._clock = clock
        self._accounts = Accounts(vault)
        self._rulebook = Rulebook(vault)
        self._hasher = hasher
        self._key = key
        self._first = first
        self._remembered = Remembered()
        self._generations: dict[tuple[str, str], int] = {}
        self._changes = 0
        self._told: list[Callable[[str, str], None]] = []
        self._told_of_rules: list[Callable[[str], None]] = []
        self._turn = DeferredLock()
        self._crowded = Crowded()

    async def _start(self) -> None:
        await super()._start()
        key = self._key()
        self._mint, self._seal = Mint(key), Seal(derived(key, b"microd refresh tokens"))
        self._generations = await self._accounts.generations()
        await self._rulebook.load()
        await self._first.see_to(self)

    # -- tokens

    def figures(self) -> Iterator[Figure]:
        """How often tokens were known, and signatures had to be checked (L{microd.kernel.health.Figures})."""
        known = self._remembered
        asked: list[Sample] = [({"outcome": "hit"}, known.hits), ({"outcome": "miss"}, known.misses)]
        yield Figure(
            "microd_auth_token_cache_total", "Tokens looked up among those read before.", "counter", asked
        )
        yield gauge("microd_auth_token_cache_size", "Tokens that are remembered.", len(known))

    def inspect_cached(self, token: str) -> Account | None:
        """Whose access token it is; None unless it is good. Waits for nothing."""
        now = self._clock.seconds()
        known = self._remembered.get(token, now)
        if known is not None:
            return known
        claims = self._read(token, now)
        if claims is None or claims.use != "access":
            return None
        self._remembered.keep(token, claims)
        return claims.account

    def lasting(self, token: str | None) -> Callable[[], bool]:
        """How long what was just answered about this token holds: until it ends, or any account's tokens are void."""
        changes, seconds = self._changes, self._clock.seconds
        if token is None:
            return lambda: self._changes == changes
        end = self._remembered.end(token)
        return lambda: self._changes == changes and seconds() < end

    def end(self, token: str) -> float:
        """When an access token that was just read ends, in Unix seconds; 0 for one that is not known."""
        return self._remembered.end(token)

    async def inspect(self, token: str) -> Account:
        """Whose access token it is.

        @raise InvalidToken: it is none, or no longer good.
        """
        account = self.inspect_cached(token)
        if account is None:
            raise InvalidToken
        return account

    async def token(
        self,
        namespace: str,
        *,
        id: str = "",
        secret: str = "",
        refresh_token: str = "",
        lifetime: int = 0,
        peer: str = "",
    ) -> Token:
        """Exchange a secret, a refresh token or a service's credential for an access token.

        A refresh token is replaced with each use; L{microd.services.auth.sessions} says what becomes of the old one. A
        secret begins a session: where the account has 32 of them, the one that would end first ends now.

        @param namespace: the account's; empty: the one which a refresh token or a credential tells, else C{micro}.
        @param id: an account's id, or its name.
        @param lifetime: seconds; 0 for the default.
        @param peer: who asks: C{host:port}; turns to have a secret checked go by it (L{microd.services.auth.turns}).
        @raise Unavailable: too many secrets are being checked.
        """
        seconds = rules.lifetime_of(lifetime)
        if refresh_token:
            proof = await self._refreshed(namespace, refresh_token)
        elif id and secret:
            proof = await self._logged_in(namespace or DEFAULT_NAMESPACE, id, secret, peer)
        else:
            raise BadRequest("Credentials or a refresh token required")
        now = int(self._clock.seconds())
        claims = Claims(proof.account, "access", proof.generation, now + seconds)
        return Token(self._mint.sign(claims), proof.refresh, now, now + seconds)

    async def verify(self, namespace: str, id: str, secret: str, peer: str = "") -> Account:
        """Whose secret, or service's credential, it is. No session begins, and nothing is written.

        @param id: an account's id, or its name.
        @param peer: as for L{token}.
        @raise BadRequest: there is no such account, or it has another secret.
        @raise Unavailable: too many secrets are being checked.
        """
        service = self._service(namespace, id, secret)
        if service is not None:
            return service.account
        kept = await self._matching(namespace, id, secret, peer)
        async with _Turn(self._turn):
            return (await self._unchanged(kept)).account

    async def end_session(self, refresh_token: str) -> None:
        """Let a refresh token, and those which replaced it, buy nothing any more; one which does not is no error."""
        shown = self._seal.read(refresh_token)
        if shown is None:
            return
        async with _Turn(self._turn):
            kept = await self._accounts.by_id(shown.namespace, shown.id)
            rest = None if kept is None else ended(kept, shown)
            if rest is not None:
                await self._accounts.keep(rest)

    def issue(self, account: Account, lifetime: float) -> str:
        """A credential for a service which the platform starts: good only to be exchanged for access tokens."""
        expires = int(self._clock.seconds() + lifetime)
        return self._mint.sign(Claims(account, "credential", self.generation(account), expires))

    async def revoke(self, namespace: str, id: str) -> None:
        """Make void at once whatever was issued to an account."""
        async with _Turn(self._turn):
            generation = self._generations.get((namespace, id), 0) + 1
            kept = await self._accounts.by_id(namespace, id)
            if kept is None:
                await self._accounts.revoked(namespace, id, generation)
            else:
                await self._accounts.keep(replace(kept, sessions=()), generation)
            self._void(namespace, id, generation)

    def generation(self, account: Account) -> int:
        """How often whatever was issued to an account has become void."""
        return self._generations.get((account.issuer, account.id), 0)

    def on_revoked(self, tell: Callable[[str, str], None]) -> None:
        """Have C{tell(namespace, id)} called whenever whatever was issued to an account has become void.

        Calls which end soon need not care; those which go on for ever are ended by it. It must not raise.
        """
        self._told.append(tell)

    def on_ruled(self, tell: Callable[[str], None]) -> None:
        """Have C{tell(namespace)} called whenever the rules of a namespace have changed. It must not raise."""
        self._told_of_rules.append(tell)

    # -- accounts

    async def generate(
        self, namespace: str, draft: Draft, asking: Account = PLATFORM_ACCOUNT
    ) -> tuple[Account, str]:
        """Make an account.

        @return: the account and its secret, which is not to be had again.
        @raise BadRequest: there can be no such account, or there is one.
        @raise Unauthorized: whoever asks was deleted or revoked meanwhile.
        """
        unrevoked = self.generation(asking)
        account = rules.account_from(draft, namespace, self._clock.seconds())
        secret = rules.require_secret(draft.secret) or str(uuid.uuid4())
        await self._require_new(account)
        hashed = await self._hasher.hash(secret, known(asking))
        async with _Turn(self._turn):
            self._require_unrevoked(asking, unrevoked)
            await self._require_new(account)
            await self._accounts.keep(Enrolment(account, hashed))
        return account, secret

    async def accounts(self, namespace: str) -> Sequence[Account]:
        """Every account of a namespace, by id."""
        return [kept.account for kept in await self._accounts.all(namespace)]

    async def delete(self, namespace: str, id: str, asking: Account) -> None:
        """Delete an account; whatever was issued to it is void at once.

        @raise BadRequest: it is not there, or it is one's own, or the last one that administers the platform.
        @raise Unauthorized: whoever asks was deleted or revoked meanwhile.
        """
        if not id:
            raise BadRequest("Missing ID")
        unrevoked = self.generation(asking)
        async with _Turn(self._turn):
            self._require_unrevoked(asking, unrevoked)
            kept = await self._accounts.find(namespace, id)
            if kept is None:
                raise UnknownAccount
            if (kept.account.issuer, kept.account.id) == (asking.issuer, asking.id):
                raise BadRequest("Can't delete your own account")
            if rules.administers_platform(kept.account):
                rules.require_another_admin(kept.account, await self.accounts(namespace))
            generation = self.generation(kept.account) + 1
            await self._accounts.forget(kept, generation)
            self._void(namespace, kept.account.id, generation)
        self._first.secret_void(kept.account)

    async def change_secret(self, namespace: str, id: str, old: str, new: str, asking: Account) -> None:
        """Give an account another secret; whatever was issued to it before is void at once."""
        if not new:
            raise BadRequest("New secret should not be blank")
        unrevoked = self.generation(asking)
        kept = await self._accounts.find(namespace, id)
        if kept is None:
            raise UnknownAccount
        skip = rules.may_skip_old_secret(asking, namespace)
        rules.require_secret(new)
        if not skip and not await self._hasher.matches(rules.require_secret(old), kept.hashed, known(asking)):
            raise WrongSecret
        hashed = await self._hasher.hash(new, known(asking))
        async with _Turn(self._turn):
            await self._unchanged(kept)
            self._require_unrevoked(asking, unrevoked)
            await self._replace(Enrolment(kept.account, hashed))
        self._first.secret_void(kept.account)

    async def reinstate(self, account: Account, secret: str) -> None:
        """Keep an account as C{account} says from now on, with this secret; whatever was issued to it before is void.

        Its name must be what it was, or new.
        """
        hashed = await self._hasher.hash(rules.require_secret(secret))
        async with _Turn(self._turn):
            await self._replace(Enrolment(account, hashed))

    # -- may they?

    def authorize(self, account: Account | None, namespace: str, resource: Resource) -> None:
        """May they? Waits for nothing; L{microd.kernel.rules} says how it is decided.

        @raise Unauthorized: not without an account.
        @raise Forbidden: not with this one; the rule that says so is named.
        """
        verdict = self._rulebook.verdict(account, namespace, resource)
        if not verdict.granted:
            raise refusal(verdict, account, namespace, resource)

    def rules(self, namespace: str) -> Sequence[Rule]:
        """The rules of a namespace, the one that is asked first in front."""
        return self._rulebook.of(namespace)

    async def create_rule(self, namespace: str, rule: Rule) -> None:
        """Add a rule; from then on it holds at every door.

        @raise BadRequest: there can be no such rule, or there is one.
        """
        async with _Turn(self._turn):
            await self._rulebook.create(namespace, rule)
            self._ruled(namespace)

    async def delete_rule(self, namespace: str, id: str) -> None:
        """Take a rule away; from then on it holds no more.

        @raise UnknownRule: there is none.
        """
        async with _Turn(self._turn):
            await self._rulebook.delete(namespace, id)
            self._ruled(namespace)

    # -- the rest

    def _read(self, token: str, now: float) -> Claims | None:
        claims = self._mint.read(token, now)
        if claims is None or claims.generation != self.generation(claims.account):
            return None
        return claims

    def _credential(self, namespace: str, token: str) -> _Proof | None:
        claims = self._read(token, self._clock.seconds())
        if claims is None or claims.use != "credential" or namespace not in ("", claims.account.issuer):
            return None
        return _Proof(claims.account, claims.generation, token)

    async def _logged_in(self, namespace: str, id: str, secret: str, peer: str) -> _Proof:
        service = self._service(namespace, id, secret)
        if service is not None:
            return service
        kept = await self._matching(namespace, id, secret, peer)
        name = os.urandom(NAME)
        async with _Turn(self._turn):
            kept = await self._unchanged(kept)
            generation, now = self.generation(kept.account), self._clock.seconds()
            await self._accounts.keep(begun(kept, name, now))
        if crowded(kept, now):
            self._crowded.tell(kept.account, now)
        return _Proof(kept.account, generation, self._seal.token(Shown(namespace, kept.account.id, name, 0)))

    def _service(self, namespace: str, id: str, secret: str) -> _Proof | None:
        """What the credential of a service proves; None where the secret is none."""
        service = self._credential(namespace, secret)
        if service is not None and id not in (service.account.id, service.account.name):
            raise WrongSecret
        return service

    async def _matching(self, namespace: str, id: str, secret: str, peer: str) -> Enrolment:
        """Whose secret it was when it was looked at."""
        kept = await self._accounts.find(namespace, id)
        if kept is None:
            raise InvalidToken if secret.count(".") == 2 else UnknownAccount
        asker = guessing(kept.account, peer)
        if not await self._hasher.matches(rules.require_secret(secret), kept.hashed, asker):
            raise WrongSecret
        return kept

    async def _refreshed(self, namespace: str, token: str) -> _Proof:
        service = self._credential(namespace, token)
        if service is not None:
            return service
        shown = self._seal.read(token)
        if shown is None or namespace not in ("", shown.namespace):
            raise InvalidToken
        async with _Turn(self._turn):
            kept = await self._accounts.by_id(shown.namespace, shown.id)
            if kept is None:
                raise InvalidToken
            generation = self.generation(kept.account)
            step = used(kept, shown, self._clock.seconds())
            if step.kept is not None:
                await self._accounts.keep(step.kept)
        if step.turn is None:
            if step.kept is not None:
                self.log.warn(
                    "a refresh token of {id} of {namespace} was used twice: whoever holds it must log in again",
                    id=shown.id,
                    namespace=shown.namespace,
                )
            raise InvalidToken
        return _Proof(kept.account, generation, self._seal.token(shown._replace(turn=step.turn)))

    async def _replace(self, enrolment: Enrolment) -> None:
        account = enrolment.account
        generation = self.generation(account) + 1
        await self._accounts.keep(enrolment, generation)
        self._void(account.issuer, account.id, generation)

    def _require_unrevoked(self, asking: Account, generation: int) -> None:
        """Whoever waited for a turn may have been revoked, or deleted, before it came."""
        if self.generation(asking) != generation:
            raise Unauthorized(f"the account {asking.id} was revoked: log in again")

    async def _require_new(self, account: Account) -> None:
        if await self._accounts.by_id(account.issuer, account.id) is not None:
            raise BadRequest("Account with this ID already exists")
        if await self._accounts.by_name(account.issuer, account.name) is not None:
            raise BadRequest("Account with this Name already exists")

    async def _unchanged(self, seen: Enrolment) -> Enrolment:
        """The enrolment as it is now; its secret must not have changed while it was being checked."""
        kept = await self._accounts.by_id(seen.account.issuer, seen.account.id)
        if kept is None:
            raise UnknownAccount
        if kept.hashed != seen.hashed:
            raise WrongSecret
        return kept

    def _void(self, namespace: str, id: str, generation: int) -> None:
        self._generations[namespace, id] = generation
        self._remembered.forget(namespace, id)
        self._changes += 1
        for tell in self._told:
            tell(namespace, id)

    def _ruled(self, namespace: str) -> None:
        self._changes += 1
        for tell in self._told_of_rules:
            tell(namespace)


@dataclass(frozen=True, slots=True)
class _Proof:
    """Somebody has shown who they are.

    @ivar generation: how often the account had been revoked at that moment.
    @ivar refresh: what gets them the next token.
    """

    account: Account
    generation: int
    refresh: str


class _Turn:
    """Waits for a turn, and gives it back, whatever happens meanwhile."""

    def __init__(self, lock: DeferredLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
