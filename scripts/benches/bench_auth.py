"""What it costs a door to know who asks and whether they may, beside the signature's check that nobody can do without.

Warm: the token was shown before, as with all calls of a service but the first. Cold: it is new, so its signature is
checked. The peer is C{cryptography} alone, which checks the signatures of the same tokens, and nothing else. All three in
this process, on one thread, in turn; a namespace has twenty rules besides the one that decides.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.internet.task import Clock

from benches.alternation import Report, alternate, pairs_from, ratio
from microd.gateways.gate import Gate
from microd.kernel.caller import Account
from microd.services.auth.admin import FirstAdmin
from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.keys import load_or_make
from microd.services.auth.model import Resource, Rule
from microd.services.auth.scrypt import Cost, ScryptHasher
from microd.services.auth.service import Auth
from microd.services.auth.tokens import Claims, Mint
from microd.testing.outcome import done

WARM, COLD, RSA = "warm door", "cold door", "RSA-2048 alone"
#: Microseconds which a warm door must stay under, and how many signature checks a cold one may cost.
WARM_BAR, COLD_BAR = 5, 2
TOKENS, CALLS = 500, 100_000


class WallClock(Clock):  # type: ignore[misc]
    """Tells the time as the reactor does."""

    def seconds(self) -> float:
        """Unix time."""
        return time.time()


async def _at_once(work: Callable[[], bytes]) -> bytes:
    return work()


def microseconds(work: Callable[[], object], times: int) -> float:
    """How long one of C{times} takes, when C{work} does them all."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / times * 1e6


def gate_of(key: RSAPrivateKey, data: Path) -> Gate:
    """A door's gate which has seen nobody yet."""
    hasher = ScryptHasher(_at_once, Cost(2, 1, 1))
    auth = Auth(WallClock(), MemoryVault(), hasher, lambda: key, FirstAdmin(data / "admin-secret", "s"))
    done(auth.startService())
    for number in range(20):
        resource = Resource("service", f"service-{number}", "*")
        done(
            auth.create_rule("foo", Rule(f"rule-{number}", "admin", resource, granted=False, priority=number))
        )
    return Gate(auth)


class Bench:
    """Accounts of a namespace with their tokens, and what is done with those."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._key = load_or_make(data)
        mint, end = Mint(self._key), int(time.time()) + 3600
        self._tokens = [
            mint.sign(Claims(self._account(number), "access", 0, end)) for number in range(TOKENS)
        ]
        self._headers = [
            {"authorization": f"Bearer {token}", "micro-namespace": "foo"} for token in self._tokens
        ]
        self._signed = [self._taken_apart(token) for token in self._tokens]

    def warm(self) -> float:
        """The same caller, again and again."""
        gate, headers = gate_of(self._key, self._data), self._headers[0]
        self._check(gate, [headers])

        def work() -> None:
            for _ in range(CALLS):
                gate.check(headers, "greeter", "Greeter.Hello")

        return microseconds(work, CALLS)

    def cold(self) -> float:
        """Callers whom nobody has seen before."""
        gate = gate_of(self._key, self._data)
        return microseconds(lambda: self._check(gate, self._headers), TOKENS)

    def rsa(self) -> float:
        """Their signatures."""
        public, padding, algorithm = self._key.public_key(), PKCS1v15(), SHA256()

        def work() -> None:
            for signature, signed in self._signed:
                public.verify(signature, signed, padding, algorithm)

        return microseconds(work, TOKENS)

    def _check(self, gate: Gate, all_headers: Sequence[dict[str, str]]) -> None:
        for headers in all_headers:
            account, namespace = gate.check(headers, "greeter", "Greeter.Hello")
            assert account is not None
            assert namespace == "foo"

    def _account(self, number: int) -> Account:
        metadata = {"created": "1795164370"}
        return Account(f"user-{number}", "user", "foo", f"user-{number}", ("reader",), metadata)

    def _taken_apart(self, token: str) -> tuple[bytes, bytes]:
        signed, _, signature = token.rpartition(".")
        return base64.urlsafe_b64decode(signature + "=="), signed.encode()


def main() -> None:
    """Measure, compare, report."""
    pairs = pairs_from(sys.argv[1:], least=15)
    report = Report("auth")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        rounds = alternate(pairs, {WARM: bench.warm, COLD: bench.cold, RSA: bench.rsa})
    report.figures("microseconds", rounds)
    report.below("warm_us", median(rounds[WARM]), WARM_BAR)
    report.below("cold_to_rsa", ratio(rounds, COLD, RSA), COLD_BAR)
    report.finish()


if __name__ == "__main__":
    main()
