"""A group against a naive model, in any order of whatever can happen: nothing is lost, nothing comes twice unmarked, windows hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from microd.services.events.groups.group import AHEAD, NEVER, Group, Member, Pending
from microd.services.events.groups.state import Damaged, State, decode, encode
from microd.services.events.model import Terms, Verdict

NUMBERS = st.integers(0, 1 << 20)


class Consumers(RuleBasedStateMachine):
    """A group, its state on disk, and a model which knows all that ever happened.

    The mark lies but a few events ahead here, so that it matters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.first, self.last = 1, 0
        self.members: list[Member] = []
        #: Everything that was ever given to anybody.
        self.given: set[int] = set()
        self.done: set[int] = set()
        self.missed: set[int] = set()
        self.dead: set[int] = set()
        #: When what waits may come again.
        self.waiting: dict[int, float] = {}
        self.was_disturbed = False
        self.disk: tuple[bytes, set[int], set[int], set[int]] = (b"", set(), set(), set())

    @initialize(window=st.integers(1, 12), events=st.integers(0, 30))
    def begin(self, window: int, events: int) -> None:
        self.window = window
        self.last = events
        self.group = Group(0, window, durable=0)
        self._write()

    # -- what is on disk

    def _write(self, *, is_heard: bool = True, without: tuple[int, ...] = ()) -> None:
        group = self.group
        mark = max(group.cursor + 5, group.durable, group.suspect)
        data, mark = encode(group, self.now, mark=mark, without=without)
        self.disk = (data, self.done | set(without), set(self.dead) | set(without), set(self.missed))
        if is_heard:
            group.durable = max(group.durable, mark)

    @rule(is_heard=st.booleans())
    def write(self, is_heard: bool) -> None:
        """It is written; a crash may come before anybody hears of it."""
        self._write(is_heard=is_heard)

    @rule(what=st.sampled_from(["crash", "stop", "seek", "retain", "nothing"]), number=NUMBERS)
    def disturb(self, what: str, number: int) -> None:
        """What happens now and then."""
        match what:
            case "crash":
                self.crash()
            case "stop":
                self.stop()
            case "seek":
                self.seek(number)
            case "retain":
                self.retain(1 + number % 6)

    def crash(self) -> None:
        """Nothing is left but what is on disk."""
        data, done, dead, missed = self.disk
        self.was_disturbed = True
        self._restore(data, self.last)
        self.done, self.dead, self.missed = set(done), set(dead), set(missed)
        self._now_waiting()

    def stop(self) -> None:
        """The daemon stops properly."""
        for member in self.members:
            self._leave(member, was_sent=True)
        data, _ = encode(self.group, self.now, mark=self.group.exact_mark)
        self.disk = (data, set(self.done), set(self.dead), set(self.missed))
        # What was kept no longer, and was still at a consumer, comes no more.
        waited = {offset: due for offset, due in self.waiting.items() if offset >= self.first}
        self._restore(data, self.last)
        assert set(waited) == set(self._waits())
        for offset, pending in self._waits().items():
            assert abs((pending.due or self.now) - max(waited[offset], self.now)) < 0.002
        self._now_waiting()

    def _restore(self, data: bytes, before: int) -> None:
        self.group = decode(data).restored(self.now, self.window, self.first, self.last, before)
        self.group.durable = decode(data).mark
        self.members = []
        gone = {each for each in range(1, self.first) if each not in self.done | self.dead}
        self.missed |= gone - self.given

    def _waits(self) -> dict[int, Pending]:
        return {
            offset: pending
            for offset, pending in self.group.pending.items()
            if pending.member is None and not pending.doomed
        }

    def _now_waiting(self) -> None:
        self.waiting = {offset: pending.due or self.now for offset, pending in self._waits().items()}

    # -- the log

    @rule(count=st.integers(1, 10))
    def publish(self, count: int) -> None:
        self.last += count

    def retain(self, count: int) -> None:
        """The oldest events are kept no longer."""
        self.first = min(self.first + count, self.last + 1)
        self.group.retained(self.first)
        for offset in list(self.waiting):
            if offset < self.first:
                del self.waiting[offset]

    # -- consumers

    @precondition(lambda self: len(self.members) < 4)
    @rule(
        most=st.integers(1, 5),
        wait=st.sampled_from([1.0, 5.0]),
        limit=st.sampled_from([-1, 0, 2]),
        auto=st.booleans(),
    )
    def join(self, most: int, wait: float, limit: int, auto: bool) -> None:
        member = Member(
            Terms("g", auto_ack=auto, max_in_flight=most, ack_wait=wait, retry_limit=limit, backoff=2.0)
        )
        self.members.append(member)
        self.group.join(member)

    @rule(number=NUMBERS)
    def leave(self, number: int) -> None:
        if self.members:
            member = self.members.pop(number % len(self.members))
            self._leave(member, was_sent=False)

    def _leave(self, member: Member, *, was_sent: bool) -> None:
        held = list(member.held)
        self.group.leave(member, was_sent=was_sent)
        for offset in held:
            if offset not in self.group.doomed:
                self.waiting[offset] = self.now

    @rule(number=NUMBERS, times=st.integers(1, 8))
    def take(self, number: int, times: int) -> None:
        """Somebody asks for more."""
        if not self.members:
            return
        member = self.members[number % len(self.members)]
        for _ in range(times):
            if member.has_room:
                self._take(member)

    def _take(self, member: Member) -> bool:
        group = self.group
        offset = group.next(self.now)
        if not offset or offset > self.last:
            # Nobody who could be given something is left without it.
            if not any(due <= self.now for due in self.waiting.values()) and not self.waiting:
                is_full = len(group.pending) >= self.window
                assert is_full or group.cursor >= group.durable or group.cursor >= self.last
            else:
                assert all(due > self.now for due in self.waiting.values())
            return False
        if offset < self.first:
            group.retained(self.first)
            self.waiting = {each: due for each, due in self.waiting.items() if each >= self.first}
            return True
        assert offset not in self.done | self.dead
        if offset in self.waiting:
            assert self.waiting[offset] <= self.now
            assert offset == min(each for each, due in self.waiting.items() if due <= self.now)
            del self.waiting[offset]
        else:
            assert not self.waiting
            assert offset == group.cursor + 1
            assert offset <= group.durable
            assert offset <= decode(self.disk[0]).mark
        before = group.pending[offset].attempts if offset in group.pending else 0
        attempt, again = group.take(offset, member, self.now, 7)
        assert attempt == before + 1
        assert again or offset not in self.given
        assert not again or offset in self.given or self.was_disturbed
        self.given.add(offset)
        return True

    @rule(
        number=NUMBERS,
        which=NUMBERS,
        verdicts=st.lists(st.sampled_from(Verdict), min_size=1, max_size=3),
        dice=st.floats(0, 1),
    )
    def work(self, number: int, which: int, verdicts: list[Verdict], dice: float) -> None:
        """Somebody takes some, says something about a few, and takes more."""
        self.take(number, 3)
        for verdict in verdicts:
            self.say(number, which, verdict, dice)
        self.take(number, 2)

    @rule(number=NUMBERS, which=NUMBERS, verdict=st.sampled_from(Verdict), dice=st.floats(0, 1))
    def say(self, number: int, which: int, verdict: Verdict, dice: float) -> None:
        """Somebody says something about an event, be it his or not."""
        if not self.members or not self.last:
            return
        member = self.members[number % len(self.members)]
        held = sorted(member.held)
        # Mostly about what he holds.
        offset = held[which % len(held)] if held and which % 5 else 1 + which % self.last
        pending = self.group.pending.get(offset)
        was_held = pending is not None and pending.member is member
        known = self.group.settle(offset, verdict, self.now, dice, member=member)
        if verdict is Verdict.DONE:
            assert known == (pending is not None)
            if known:
                self.waiting.pop(offset, None)
                self.done.add(offset)
            return
        assert known == was_held
        if known and verdict is Verdict.UNTRIED:
            self.waiting[offset] = self.now
        elif known and verdict is Verdict.AGAIN and offset not in self.group.doomed:
            assert pending is not None
            wait = min(60.0, 2.0 * 2.0 ** (pending.failures - 1))
            assert self.now + wait / 2 <= pending.due <= self.now + wait
            self.waiting[offset] = pending.due

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 10.0]))
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        late = [
            pending.offset
            for member in self.members
            for pending in member.held.values()
            if pending.due <= self.now
        ]
        soonest = self.group.soonest
        assert all(self.group.pending[offset].due >= soonest for offset in late)
        assert self.group.expire(self.now) == bool(late)
        for offset in late:
            if offset not in self.group.doomed:
                self.waiting[offset] = self.now
        self.group.look()

    @rule(is_heard=st.booleans())
    def bury(self, is_heard: bool) -> None:
        """What is doomed is put with the dead letters, in one commit with the state."""
        doomed = tuple(each for each in self.group.doomed if each >= self.first)
        if doomed:
            self._write(is_heard=is_heard, without=doomed)
            if is_heard:
                for offset in doomed:
                    self.group.buried(offset)
                    self.dead.add(offset)
            else:
                self.crash()

    def seek(self, number: int) -> None:
        """It is to go on somewhere else."""
        cursor = self.first - 1 + number % (self.last - self.first + 2)
        self.group.seek(cursor)
        self.was_disturbed = True
        self.waiting.clear()
        everything = set(range(1, self.last + 1))
        self.done = {each for each in everything if each <= cursor}
        self.dead, self.missed = set(), set()
        self._write()

    # -- what always holds

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "group"):
            return
        group = self.group
        assert len(group.pending) <= self.window
        assert all(len(member.held) <= member.most for member in self.members)
        held = {offset for member in self.members for offset in member.held}
        assert held | set(group.doomed) | set(self.waiting) == set(group.pending)
        assert group.waiting == len(self.waiting)
        assert group.in_flight == len(held)
        assert list(group.pending) == sorted(group.pending)
        assert not set(group.pending) & (self.done | self.dead)
        assert group.floor == min(group.pending, default=group.cursor + 1) - 1
        for member in self.members:
            dues = [pending.due for pending in member.held.values()]
            assert dues == sorted(dues)
        self._same_when_read()

    def _same_when_read(self) -> None:
        """What is written down says the same when it is read."""
        group = self.group
        data, mark = encode(group, self.now)
        again = decode(data)
        assert (again.cursor, again.mark, again.missed) == (group.cursor, mark, group.missed)
        assert [(each.offset, each.attempts, each.failures, each.doomed) for each, _ in again.pending] == [
            (each.offset, each.attempts, each.failures, each.doomed) for each in group.pending.values()
        ]
        assert len(data) < 60 + self.window * 64

    def teardown(self) -> None:
        """In the end somebody takes all that is left, and then every event is accounted for."""
        if not hasattr(self, "group"):
            return
        for member in self.members:
            self._leave(member, was_sent=True)
        self.members = []
        last = Member(Terms("g", auto_ack=False, max_in_flight=100, retry_limit=-1))
        self.group.join(last)
        self.now += 1000
        for _ in range(4 * self.last + 100):
            self.bury(is_heard=True)
            if not self._take(last) and not last.held:
                if self.group.cursor >= self.last:
                    break
                self._write()
            for offset in list(last.held):
                assert self.group.done(offset)
                self.done.add(offset)
        for offset in list(self.group.doomed):
            # Those which are kept no longer.
            assert offset < self.first
            self.group.done(offset)
            self.missed.add(offset)
        assert self.group.lag(self.last) == 0
        lost = set(range(self.first, self.last + 1)) - self.done - self.dead
        assert not lost


TestConsumers = Consumers.TestCase
TestConsumers.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def live(dice: Random) -> None:
    """A long life: what is usual happens often."""
    machine = Consumers()
    machine.begin(dice.randint(1, 12), dice.randint(0, 30))

    def number() -> int:
        return dice.getrandbits(20)

    def verdicts(most: int) -> list[Verdict]:
        return dice.choices(list(Verdict), k=dice.randint(1, most))

    steps: list[tuple[int, Callable[[], object]]] = [
        (10, lambda: machine.publish(dice.randint(1, 10))),
        (30, lambda: machine.work(number(), number(), verdicts(3), dice.random())),
        (10, lambda: machine.say(number(), number(), verdicts(1)[0], dice.random())),
        (10, lambda: machine.take(number(), 8)),
        (10, lambda: machine.tick(dice.choice([0.5, 1.0, 3.0, 10.0]))),
        (10, lambda: machine.write(dice.random() < 0.7)),
        (5, lambda: machine.bury(dice.random() < 0.7)),
        (3, lambda: machine.leave(number())),
        (1, lambda: machine.disturb("retain", number())),
        (2, lambda: machine.disturb("crash", number())),
        (1, lambda: machine.disturb("stop", number())),
        (1, lambda: machine.disturb("seek", number())),
    ]
    weights, acts = zip(*steps, strict=True)
    for act in dice.choices(acts, weights, k=250):
        if len(machine.members) < 1 + dice.randint(0, 3):
            most, wait, limit = dice.randint(1, 5), dice.choice([1.0, 5.0]), dice.choice([-1, -1, 0, 2])
            machine.join(most, wait, limit, dice.random() < 0.2)
        act()
        machine.holds()
    machine.teardown()


def test_long_lives() -> None:
    """The same over long lives; a number says which one went wrong."""
    for seed in range(120):
        try:
            live(Random(seed))
        except AssertionError as problem:
            problem.add_note(f"seed {seed}")
            raise


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes) -> None:
    """Whatever lies on disk, reading it raises nothing but that it is damaged."""
    for each in (data, b"\x01" + data):
        try:
            found = decode(each)
        except Damaged:
            continue
        assert isinstance(found, State)
        found.restored(0.0, 10, 1, 100, 100)


def written(*offsets: int, **more: Any) -> bytes:
    """The state of a group which was given ten events, of which some wait."""
    group = Group(10, 10, durable=0)
    for offset in offsets:
        pending = Pending(offset)
        for name, value in more.items():
            setattr(pending, name, value)
        group.restore(pending, 0.0, 0.0)
    return encode(group, 5.0)[0]


def test_every_cut_is_seen() -> None:
    """A state that was cut, or has something behind it, is not read."""
    data = written(3, 4, 7, attempts=300, failures=2, doomed=True, error="why\N{SNOWMAN}")
    assert decode(data).pending[2][0].error == "why\N{SNOWMAN}"
    for length in range(len(data)):
        with pytest.raises(Damaged):
            decode(data[:length])
    with pytest.raises(Damaged):
        decode(data + b"\x00")
    with pytest.raises(Damaged):
        decode(b"\x02" + data[1:])


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x00\x05\x04\x00\x00",  # a mark below the cursor
        b"\x01\x00\x05\x09\x00\x01\x06\x00\x00\x00\x00\x00",  # beyond the cursor
        b"\x01\x00\x05\x09\x00\x01\x00\x00\x00\x00\x00\x00",  # twice the same
        b"\x01\x00\x05\x09\x00\xff\xff\xff\x7f",  # very many
        b"\x01\x00\x85\x00\x09\x00\x00",  # a number that is longer than need be
        b"\x01\x00" + b"\xff" * 9 + b"\x7f" + b"\x00" * 3,  # a number that is too large
    ],
)
def test_contradictions(data: bytes) -> None:
    """A state which contradicts itself is not read."""
    with pytest.raises(Damaged):
        decode(data)


def test_size() -> None:
    """The state of a full window is small."""
    group = Group(0, 1000)
    member = Member(Terms(auto_ack=False, max_in_flight=1000))
    group.join(member)
    for offset in range(1, 1001):
        group.take(group.next(0.0), member, 0.0)
        if offset % 2:
            group.done(offset)
    data, mark = encode(group, 1.8e9)
    assert len(data) < 4000
    assert mark >= 1000 + AHEAD


def test_late_words_leave_nothing_behind() -> None:
    """Words about events that still wait, however many, leave no entries behind."""
    group = Group(0, 10)
    member = Member(Terms(auto_ack=False, max_in_flight=10))
    group.join(member)
    for _ in range(5000):
        offset = group.next(0.0)
        group.take(offset, member, 0.0)
        group.settle(offset, Verdict.AGAIN, 0.0, 0.0, delay=86400.0)
        group.done(offset)
    assert len(group._due) < 100


def test_soonest() -> None:
    """It is known when something is due next, or that nothing is."""
    group = Group(0, 10)
    member = Member(Terms(auto_ack=False, ack_wait=5.0))
    group.join(member)
    assert group.look() == NEVER
    group.take(1, member, 100.0)
    assert group.soonest == group.look() == 105.0
    group.settle(1, Verdict.AGAIN, 101.0, 0.0, delay=2.0)
    assert group.soonest == group.look() == 103.0
    group.done(1)
    auto = Member(Terms())
    group.join(auto)
    group.take(2, auto, 102.0)
    assert group.expire(1e12) is False
    assert group.look() == NEVER
