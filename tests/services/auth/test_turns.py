"""Whose secret is hashed next, with a worker that finishes when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from microd.kernel.caller import Account
from microd.services.auth.model import Draft, Token, WrongSecret
from microd.services.auth.scrypt import LONG, Cost, ScryptHasher
from microd.services.auth.turns import Asker, TooManySecrets, Turns, guessing, host_of, known

ADMIN = Account("admin", "user", "micro", "admin", ("admin",))
ADA = Account("ada", "user", "micro", "ada")


def _kind(failure: Failure) -> str:
    return failure.type.__name__ if failure.type else ""


class Worker:
    """What runs, in the order of its begin, until it is finished.

    @ivar begun: the names of all that began.
    """

    def __init__(self, most: int = 1) -> None:
        self.turns: Turns[str] = Turns(most)
        self.begun: list[str] = []
        self._running: list[tuple[str, Deferred[str]]] = []

    def ask(self, name: str, asker: Asker) -> Deferred[str]:
        """Ask for a turn."""

        def start() -> Deferred[str]:
            self.begun.append(name)
            done: Deferred[str] = Deferred()
            self._running.append((name, done))
            return done

        answer = self.turns.run(asker, start)
        return answer.addErrback(_kind)

    def finish(self) -> None:
        """Finish what has run longest."""
        name, done = self._running.pop(0)
        done.callback(name)

    def finish_all(self) -> list[str]:
        """Finish everything; what began, in order."""
        while self._running:
            self.finish()
        return self.begun


def peer(number: int, host: str = "127.0.0.1") -> str:
    """A connection."""
    return f"{host}:{40000 + number}"


def refused(answer: Deferred[str]) -> bool:
    """Whether somebody was told to come back later."""
    return answer.called and answer.result == "TooManySecrets"


def test_accounts_in_turn() -> None:
    """However many guess at one account, another account's login is next but one."""
    worker = Worker()
    for number in range(60):
        worker.ask(f"guess {number}", guessing(ADMIN, peer(number)))
    answer = worker.ask("ada", guessing(ADA, peer(99)))
    worker.finish()
    worker.finish()
    assert worker.begun == ["guess 0", "guess 1", "ada"]
    worker.finish()
    assert answer.result == "ada"


def test_hosts_in_turn() -> None:
    """Whoever guesses from one host does not keep the right secret out that comes from another."""
    worker = Worker()
    for number in range(60):
        worker.ask(f"guess {number}", guessing(ADMIN, peer(number, "203.0.113.7")))
    worker.ask("admin", guessing(ADMIN, peer(99)))
    worker.finish()
    worker.finish()
    assert worker.begun == ["guess 0", "guess 1", "admin"]


def test_connections_in_turn() -> None:
    """Whoever guesses on one connection does not keep the right secret out that comes from the same host on another."""
    worker = Worker()
    guesses = [worker.ask(f"guess {number}", guessing(ADMIN, peer(0))) for number in range(60)]
    admin = worker.ask("admin", guessing(ADMIN, peer(99)))
    assert not refused(admin)
    assert [number for number, guess in enumerate(guesses) if not refused(guess)] == [0, 1, 2, 3]
    assert worker.finish_all() == ["guess 0", "guess 1", "admin", "guess 2", "guess 3"]


def test_in_order() -> None:
    """On one connection it is first come, first served."""
    worker = Worker()
    for number in range(5):
        worker.ask(str(number), guessing(ADMIN, peer(0)))
    assert worker.finish_all() == list("01234")


@pytest.mark.parametrize(
    ("asker", "most"),
    [
        (lambda number: guessing(ADMIN, peer(number)), 4),
        (lambda number: guessing(Account(str(number), "user", "micro"), peer(number, "203.0.113.7")), 8),
        (lambda number: guessing(ADMIN, peer(0, f"203.0.113.{number}")), 16),
        (lambda number: known(ADMIN), 16),
        (lambda number: guessing(Account(str(number), "user", "micro"), peer(number)), 64),
    ],
    ids=["account and host", "host", "account", "logged in", "all"],
)
def test_refused_at_once(asker: Callable[[int], Asker], most: int) -> None:
    """Those for whom there is no room are refused at once, and never begin; there is room again once one had its turn."""
    worker = Worker(2)
    answers = [worker.ask(str(number), asker(number)) for number in range(100)]
    assert [refused(answer) for answer in answers] == [False] * (most + 2) + [True] * (98 - most)
    assert worker.turns.waiting == most
    worker.finish()
    assert not refused(worker.ask("late", asker(101)))
    assert len(worker.finish_all()) == most + 3
    assert not worker.turns._served


def test_full_of_one() -> None:
    """Where all room is taken by many hosts' guesses at many accounts, another account's login still finds some."""
    worker = Worker()
    for number in range(100):
        account = Account(f"victim{number % 5}", "user", "micro")
        worker.ask(f"guess {number}", guessing(account, peer(0, f"203.0.113.{number}")))
    assert worker.turns.waiting == 64
    assert not refused(worker.ask("ada", guessing(ADA, peer(99))))
    assert worker.turns.waiting == 64
    for _ in range(7):
        worker.finish()
    assert "ada" in worker.begun


def test_logged_in_apart() -> None:
    """Guesses at an account take nothing from whoever is logged in as it."""
    worker = Worker()
    for number in range(60):
        worker.ask("guess", guessing(ADMIN, peer(number)))
    worker.ask("admin", known(ADMIN))
    assert worker.finish_all()[2] == "admin"


def test_gone_before_their_turn() -> None:
    """Whoever has gone before their turn is not hashed for, and takes no room."""
    worker = Worker()
    first = worker.ask("first", guessing(ADMIN, peer(0)))
    waiting = [worker.ask("gone", guessing(ADMIN, peer(1))) for _ in range(4)]
    for answer in waiting:
        answer.cancel()
        assert answer.result == CancelledError.__name__
    assert worker.turns.waiting == 0
    worker.ask("ada", guessing(ADA, peer(2)))
    assert worker.finish_all() == ["first", "ada"]
    assert first.result == "first"


def test_gone_meanwhile() -> None:
    """What runs for somebody who has gone counts until it is done, so that leaving begins no more at once."""
    worker = Worker(2)
    answers = [worker.ask(str(number), guessing(ADMIN, peer(number))) for number in range(4)]
    for answer in answers[:2]:
        answer.cancel()
    assert worker.begun == ["0", "1"]
    worker.finish()
    assert worker.begun == ["0", "1", "2"]
    assert worker.finish_all() == ["0", "1", "2", "3"]
    assert [answer.result for answer in answers] == ["CancelledError", "CancelledError", "2", "3"]


def test_failure() -> None:
    """What fails fails for who asked for it, and the next one begins."""
    turns: Turns[str] = Turns(1)
    work: list[Deferred[str]] = []

    def start() -> Deferred[str]:
        work.append(Deferred())
        return work[-1]

    answers = [turns.run(known(ADA), start) for _ in range(2)]
    work[0].errback(OSError("no memory"))
    assert len(work) == 2
    answers[0].addErrback(lambda failure: failure.type)
    assert answers[0].result is OSError


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("127.0.0.1:1", "127.0.0.2:2", True),
        ("127.0.0.1:1", "::1:2", True),
        ("127.0.0.1:1", "unix", True),
        ("127.0.0.1:1", "::ffff:127.0.0.1:2", True),
        ("127.0.0.1:1", "192.0.2.1:1", False),
        ("192.0.2.1:1", "::ffff:192.0.2.1:2", True),
        ("192.0.2.1:1", "192.0.2.2:1", False),
        ("2001:db8:0:1::1:1", "2001:db8:0:1:ffff::2:2", True),
        ("2001:db8:0:1::1:1", "2001:db8:0:2::1:1", False),
        ("fe80::1%eth0:1", "fe80::2%eth0:1", True),
    ],
)
def test_hosts(first: str, second: str, same: bool) -> None:
    """A host is an IPv4 address, a /64 of IPv6, or this machine."""
    assert (host_of(first) == host_of(second)) is same


class Hand:
    """Makes hashes when it is told to."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[], bytes], Deferred[bytes]]] = []
        self.made = 0

    def __call__(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        self.begun.append((work, Deferred()))
        return self.begun[-1][1]

    def make(self) -> None:
        """Make what has waited longest."""
        work, answer = self.begun.pop(0)
        self.made += 1
        answer.callback(work())

    def make_all(self) -> None:
        """Make them all."""
        while self.begun:
            self.make()


@pytest.fixture
def hand(scene: Any) -> Hand:
    """Hashes of the scene, from now on made by hand."""
    hand = Hand()
    scene.enrol("ada")
    scene.auth._hasher = ScryptHasher(hand, Cost(n=2, r=1, p=1))
    return hand


def login(scene: Any, id: str, secret: str, peer: str) -> Any:
    """Log in; the outcome, or the kind of error."""
    coroutine = scene.auth.token("micro", id=id, secret=secret, peer=peer)
    return Deferred.fromCoroutine(coroutine).addErrback(lambda failure: failure.type)


def test_flood_of_logins(scene: Any, hand: Hand) -> None:
    """Sixty wrong guesses at the admin, and then logins of others and of the admin: those get their tokens soon."""
    guesses = [login(scene, "admin", f"wrong {number}", peer(0)) for number in range(60)]
    others = [login(scene, "ada", "s3cret", peer(1)), login(scene, "admin", "first-secret", peer(2))]
    assert sum(each.called and each.result is TooManySecrets for each in guesses) == 55
    for _ in range(5):
        hand.make()
    assert all(scene.auth.inspect_cached(each.result.access) for each in others)
    hand.make_all()
    assert sum(each.result is WrongSecret for each in guesses) == 5


def test_known_waits_for_nobody(scene: Any, hand: Hand) -> None:
    """A long secret that was found right before is good at once, though guesses fill all room there is."""
    secret = "l" * LONG
    made = Deferred.fromCoroutine(scene.auth.generate("micro", Draft("zoe", secret=secret)))
    hand.make_all()
    assert made.called
    for number in range(60):
        login(scene, "zoe", f"wrong {number}", peer(number))
    assert scene.auth.inspect_cached(login(scene, "zoe", secret, peer(0)).result.access).id == "zoe"
    hand.make_all()


@pytest.mark.parametrize(("secret", "outcome"), [("s3cret", Token), ("wrong", WrongSecret)])
def test_same_question(scene: Any, hand: Hand, secret: str, outcome: type) -> None:
    """Many who log in at the same moment with the same secret, as a farm of services, share one hash; none is refused."""
    waiting = [login(scene, "ada", secret, peer(number)) for number in range(40)]
    hand.make_all()
    assert hand.made == 1
    assert all(each.result is outcome or isinstance(each.result, outcome) for each in waiting)
    assert not scene.auth._hasher._asked


def test_same_question_is_bounded(scene: Any, hand: Hand) -> None:
    """However many ask the same, those beyond some hundreds are refused at once."""
    waiting = [login(scene, "ada", "s3cret", peer(number)) for number in range(300)]
    assert [each.called for each in waiting] == [False] * 257 + [True] * 43
    assert waiting[-1].result is TooManySecrets
    hand.make_all()


def test_first_one_left(scene: Any, hand: Hand) -> None:
    """Where the first of those who ask the same has left before its turn, the others are answered all the same."""
    for number in range(2):
        login(scene, "admin", f"wrong {number}", peer(0))
    first, *others = [login(scene, "ada", "s3cret", peer(number)) for number in range(4)]
    first.cancel()
    others[0].cancel()
    hand.make_all()
    assert hand.made == 3
    assert [type(each.result) for each in others[1:]] == [Token, Token]


def test_caller_gone(scene: Any, hand: Hand) -> None:
    """No hash is made for a login whose caller has gone."""
    waiting = [login(scene, "admin", f"wrong {number}", peer(number)) for number in range(6)]
    for each in waiting[2:]:
        each.cancel()
    hand.make_all()
    assert hand.made == 2
