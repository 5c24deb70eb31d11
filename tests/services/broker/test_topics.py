"""Who gets a message: the tree, what it remembers, and what it forgets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microd.services.broker import topics as module
from microd.services.broker.model import Message
from microd.services.broker.topics import Topics


class Ear:
    """Somebody who listens.

    @ivar waiting: what it has not read.
    """

    def __init__(self, subjects_only: bool = True) -> None:
        self.subjects_only = subjects_only
        self.waiting = 0

    def deliver(self, topic: str, message: Message) -> None:
        """Not asked for here."""


def means(pattern: list[str], subject: list[str]) -> bool:
    """What a pattern means, as the documentation of NATS says it."""
    if pattern[-1] == ">":
        return len(subject) >= len(pattern) and means([*pattern[:-1], "*"], subject[: len(pattern)])
    return len(pattern) == len(subject) and all(p in ("*", s) for p, s in zip(pattern, subject, strict=True))


tokens = st.sampled_from(["a", "b", "c"])
subjects = st.lists(tokens, min_size=1, max_size=4)
patterns = st.builds(
    lambda body, rest: [*body, ">"] if rest else body,
    st.lists(st.sampled_from(["a", "b", "c", "*"]), min_size=1, max_size=4),
    st.booleans(),
)


def joined(tokens: list[str]) -> bytes:
    return ".".join(tokens).encode()


@given(st.lists(st.tuples(patterns, st.booleans()), max_size=12), st.lists(subjects, max_size=6))
def test_matches(wanted: list[tuple[list[str], bool]], said: list[list[str]]) -> None:
    """An audience is that of all patterns which mean the subject, whatever came, went and was asked in between."""
    topics = Topics()
    ears: list[tuple[list[str], Ear]] = []
    for pattern, stays in wanted:
        ear = Ear()
        topics.add(joined(pattern), "", ear)
        for subject in said:
            topics.audience(joined(subject))
        if stays:
            ears.append((pattern, ear))
        else:
            topics.remove(joined(pattern), "", ear)
        for subject in said:
            found = topics.audience(joined(subject)).all
            assert Counter(found) == Counter(each for p, each in ears if means(p, subject))
    for pattern, ear in ears:
        topics.remove(joined(pattern), "", ear)
    assert topics.count == 0
    assert all(not topics.audience(joined(subject)).all for subject in said)


def test_nothing_stays() -> None:
    """Once nobody listens, nothing is left of the patterns."""
    topics = Topics()
    ears = [Ear() for _ in range(6)]
    names = [b"a", b"a", b"a.*.c", b"a.>", b"a.*.c", b">"]
    for name, ear in zip(names, ears, strict=True):
        topics.add(name, "", ear)
        topics.add(name, "q", ear)
    for name, ear in zip(names, ears, strict=True):
        topics.remove(name, "", ear)
        topics.remove(name, "q", ear)
    assert topics.count == 0
    assert topics._literal == {}
    assert topics._tree.children is None


def test_queues_of_several_patterns() -> None:
    """Queues of one name are one, by whatever patterns their members came."""
    topics = Topics()
    ears = [Ear() for _ in range(4)]
    for name, ear in zip([b"a.b", b"a.*", b"a.>", b"a.>"], ears, strict=True):
        topics.add(name, "q", ear)
    got = Counter(each for _ in range(400) for each in topics.audience(b"a.b").chosen())
    assert sum(got.values()) == 400
    assert all(90 <= got[ear] <= 110 for ear in ears)


def test_least_burdened() -> None:
    """Of a queue, who has something to read is passed by while others have nothing."""
    topics = Topics()
    ears = [Ear() for _ in range(3)]
    for ear in ears:
        topics.add(b"a", "q", ear)
    ears[1].waiting = 10
    got = Counter(each for _ in range(30) for each in topics.audience(b"a").chosen())
    assert got[ears[1]] == 0
    ears[0].waiting = ears[2].waiting = 20
    assert topics.audience(b"a").chosen() == (ears[1],)


def test_topics_that_are_no_subjects() -> None:
    """They reach only those who take any topic, by their name or by a pattern."""
    topics = Topics()
    client, stream, rest, shared = Ear(), Ear(False), Ear(False), Ear()
    for name, queue, ear in (
        (b"a b", "", stream),
        (b"a b", "q", shared),
        (b">", "", client),
        (b">", "", rest),
    ):
        topics.add(name, queue, ear)
    assert set(topics.audience(b"a b").chosen()) == {stream, rest}
    assert set(topics.audience(b"*").chosen()) == {rest}
    assert set(topics.audience(b"a").chosen()) == {client, rest}


def test_forgets_only_what_changed() -> None:
    """What is remembered of a subject outlives whatever does not concern it."""
    topics = Topics()
    topics.add(b"orders.*", "", Ear())
    found = topics.audience(b"orders.1")
    topics.remember(found, b"line", "plan", 1)
    other = Ear()
    for name in (b"orders.2", b"_INBOX.x.*", b"payments.>"):
        topics.add(name, "", other)
    assert topics.audience(b"orders.1") is found
    assert topics.memo == {b"line": "plan"}
    topics.remove(b"_INBOX.x.*", "", other)
    assert topics.audience(b"orders.1") is found
    topics.add(b"orders.1", "", other)
    assert topics.memo == {}
    assert other in topics.audience(b"orders.1").all


@pytest.mark.parametrize("name", [b"a.1", b"a.*", b"a.>", b"*.1", b">"])
def test_memo_goes(name: bytes) -> None:
    """What a door remembers goes with a subscription that concerns it, when that comes and when it leaves."""
    topics = Topics()
    ear = Ear()
    for change in (topics.add, topics.remove):
        audience = topics.audience(b"a.1")
        topics.make(audience, "heads", 1)
        topics.remember(audience, b"line", "plan", 1)
        change(name, "", ear)
        assert topics.memo == {}
        assert audience.made is None
        topics.remember(audience, b"line", "late", 1)
        assert topics.memo == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is remembered than there is room for; what is in use comes back in time, and answers stay right."""
    monkeypatch.setattr(module, "_REFERENCES", 2000)
    topics = Topics()
    ear = Ear()
    topics.add(b">", "", ear)
    for number in range(10_000):
        name = b"s%d" % (number % 5000)
        audience = topics.audience(name)
        assert audience.all == (ear,)
        topics.remember(audience, b"PUB " + name, "plan", 5)
        assert len(topics.found) <= 50
        assert len(topics.memo) <= 400
    for _ in range(1000):
        topics.audience(b"new")
    assert b"new" in topics.found


def test_long_subjects_are_not_kept() -> None:
    """Subjects of hundreds of bytes are looked up anew."""
    topics = Topics()
    topics.add(b">", "", Ear())
    assert topics.audience(b"a." * 2000 + b"a").all
    assert topics.found == {}
