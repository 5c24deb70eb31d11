"""Who listens to what, in one namespace. Pure: nothing here waits.

Patterns without wildcards are keys of a dictionary; those with wildcards are paths in a tree of tokens. What was found for a
subject is remembered until a subscription that concerns it comes or goes. Who remembers more about an audience (a door: whole lines of its
protocol) puts it into C{memo}, from where it goes together with the audience.

Finding the audience of a remembered subject costs a look into a dictionary; of another, 1 us and more: a few lookups for
each token. A subscription comes or goes in time that does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from microd.services.broker.interface import Receiver
from microd.services.broker.subjects import is_pattern, is_subject, is_wild

#: Members of a queue which are weighed for a message.
_WEIGHED = 8
#: Subjects longer than this are not remembered; of the others as many as keep so many references, all together.
_LONGEST = 255
_REFERENCES = 2_000_000


class Queue:
    """Those who share the messages of a pattern: each goes to one of them."""

    __slots__ = ("_members", "_order", "turn")

    def __init__(self, members: Iterable[Receiver] = ()) -> None:
        self._members = dict.fromkeys(members)
        self._order: tuple[Receiver, ...] | None = None
        self.turn = 0

    @property
    def members(self) -> tuple[Receiver, ...]:
        """All of them."""
        if self._order is None:
            self._order = tuple(self._members)
        return self._order

    def add(self, receiver: Receiver) -> None:
        """One more."""
        self._members[receiver] = None
        self._order = None

    def remove(self, receiver: Receiver) -> bool:
        """One less; whether any are left."""
        del self._members[receiver]
        self._order = None
        return bool(self._members)

    def choose(self) -> Receiver:
        """The next in turn, unless another has less to read."""
        members = self._order or self.members
        count = len(members)
        self.turn = turn = (self.turn + 1) % count
        best = members[turn]
        least = best.waiting
        if least:
            for step in range(1, min(count, _WEIGHED)):
                other = members[(turn + step) % count]
                if other.waiting < least:
                    best, least = other, other.waiting
                    if not least:
                        break
        return best


class Joined:
    """Queues of one name under several patterns: to a subject which all of them mean they are one."""

    __slots__ = ("_queues", "_turn")

    def __init__(self, queues: list[Queue]) -> None:
        self._queues = tuple(queues)
        self._turn = 0

    def choose(self) -> Receiver:
        """Each queue's next, as often as it has members, unless another queue's has less to read."""
        queues = self._queues
        sizes = [len(queue.members) for queue in queues]
        self._turn = turn = (self._turn + 1) % sum(sizes)
        first = 0
        while turn >= sizes[first]:
            turn -= sizes[first]
            first += 1
        best = queues[first].choose()
        least = best.waiting
        for step in range(1, min(len(queues), _WEIGHED)):
            if not least:
                break
            other = queues[(first + step) % len(queues)].choose()
            if other.waiting < least:
                best, least = other, other.waiting
        return best


class _Node:
    """A place in the tree of tokens, or a pattern without wildcards."""

    __slots__ = ("all", "children", "queues")

    def __init__(self) -> None:
        self.all: dict[Receiver, None] = {}
        self.queues: dict[str, Queue] | None = None
        self.children: dict[bytes, _Node] | None = None

    @property
    def idle(self) -> bool:
        """Whether it can be forgotten."""
        return not (self.all or self.queues or self.children)


class Audience:
    """Who gets the messages of a subject, as long as that stays as it is; never changed.

    @ivar all: they get each message.
    @ivar queues: one of each gets it. Queues of the same name under different patterns are one.
    @ivar made: a place for what a door made of it.
    @ivar weight: references that it keeps, roughly, and what was made of it.
    """

    __slots__ = ("all", "made", "memos", "queues", "weight")

    def __init__(self, all: tuple[Receiver, ...], queues: tuple[Queue | Joined, ...]) -> None:
        self.all = all
        self.queues = queues
        self.made: object = None
        self.memos: list[bytes] | None = None
        self.weight = 40 + len(all) + len(queues)

    def __len__(self) -> int:
        return len(self.all) + len(self.queues)

    def chosen(self) -> tuple[Receiver, ...]:
        """Who gets the next message."""
        if not self.queues:
            return self.all
        return (*self.all, *[queue.choose() for queue in self.queues])


class Topics:
    """Finds those who get a message.

    Every protocol of the broker adds its own receivers here: this is the one place which knows what a topic is.

    @ivar count: subscriptions.
    @ivar effort: places in the tree that were looked at since somebody set it to 0.
    @ivar found: the audiences which are remembered, by subject.
    @ivar memo: what doors remember; only L{remember} puts something in.
    """

    def __init__(self) -> None:
        # Most patterns have one subscription, and most of those share no queue: a place for each would cost as much again.
        self._literal: dict[bytes, _Node | Receiver] = {}
        self._tree = _Node()
        self._wild = 0
        self.found: dict[bytes, Audience] = {}
        self._references = self._turned_away = 0
        self.effort = 0
        self._by_first: dict[bytes, set[bytes]] = {}
        self.memo: dict[bytes, object] = {}
        self.count = 0

    def add(self, pattern: bytes, queue: str, receiver: Receiver) -> None:
        """Let C{receiver} listen; with a queue, share it. What is no pattern of NATS is taken literally."""
        wild = _means_more(pattern)
        if not (wild or queue or pattern in self._literal):
            self._literal[pattern] = receiver
        else:
            node = self._planted(pattern) if wild else self._room(pattern)
            if queue:
                if node.queues is None:
                    node.queues = {}
                node.queues.setdefault(queue, Queue()).add(receiver)
            else:
                node.all[receiver] = None
        self.count += 1
        self._wild += wild
        self.changed(pattern)

    def remove(self, pattern: bytes, queue: str, receiver: Receiver) -> None:
        """Forget one which was added so."""
        wild = _means_more(pattern)
        if not wild and self._literal[pattern] is receiver:
            del self._literal[pattern]
        else:
            path = self._path(pattern) if wild else [self._room(pattern)]
            node = path[-1]
            if queue:
                assert node.queues is not None
                if not node.queues[queue].remove(receiver):
                    del node.queues[queue]
            else:
                del node.all[receiver]
            if wild:
                self._prune(pattern, path)
            elif node.idle:
                del self._literal[pattern]
        self.count -= 1
        self._wild -= wild
        self.changed(pattern)

    def audience(self, subject: bytes) -> Audience:
        """Who gets the messages of a subject."""
        found = self.found.get(subject)
        return self._find(subject) if found is None else found

    def remember(self, audience: Audience, key: bytes, value: object, weight: int) -> None:
        """Keep something in C{memo} for as long as an audience stays as it is, or until there is no room.

        @param weight: references that it keeps, roughly.
        """
        if audience.memos is None:
            return
        if self._references + weight > _REFERENCES:
            return
        audience.memos.append(key)
        self.memo[key] = value
        self._burden(audience, weight)

    def make(self, audience: Audience, made: object, weight: int) -> None:
        """Note what a door made of an audience, where that is remembered."""
        if audience.memos is not None:
            audience.made = made
            self._burden(audience, weight)

    def _burden(self, audience: Audience, weight: int) -> None:
        audience.weight += weight
        self._references += weight

    def _room(self, literal: bytes) -> _Node:
        """The place of a pattern without wildcards, made where there is none."""
        found = self._literal.get(literal)
        if isinstance(found, _Node):
            return found
        node = self._literal[literal] = _Node()
        if found is not None:
            node.all[found] = None
        return node

    def _planted(self, pattern: bytes) -> _Node:
        node = self._tree
        for token in pattern.split(b"."):
            if node.children is None:
                node.children = {}
            below = node.children.get(token)
            if below is None:
                below = node.children[token] = _Node()
            node = below
        return node

    def _path(self, pattern: bytes) -> list[_Node]:
        path = [self._tree]
        for token in pattern.split(b"."):
            children = path[-1].children
            assert children is not None
            path.append(children[token])
        return path

    @staticmethod
    def _prune(pattern: bytes, path: list[_Node]) -> None:
        tokens = pattern.split(b".")
        while len(path) > 1 and path[-1].idle:
            path.pop()
            children = path[-1].children
            assert children is not None
            del children[tokens[len(path) - 1]]
            if not children:
                path[-1].children = None

    def _find(self, subject: bytes) -> Audience:
        nodes = self._matching(subject.split(b".")) if self._wild else []
        everybody: list[Receiver] = []
        literal = self._literal.get(subject)
        if isinstance(literal, _Node):
            nodes.append(literal)
        elif literal is not None:
            everybody.append(literal)
        audience = self._joined(everybody, nodes, is_subject(subject))
        if len(subject) <= _LONGEST:
            self._keep(subject, audience)
        return audience

    def _matching(self, tokens: list[bytes]) -> list[_Node]:
        """The places in the tree whose patterns mean a subject: those of each level at a time, each at most once."""
        found: list[_Node] = []
        level = [self._tree]
        for token in tokens:
            below: list[_Node] = []
            for node in level:
                children = node.children
                if children is None:
                    continue
                rest = children.get(b">")
                if rest is not None:
                    found.append(rest)
                one = children.get(b"*")
                if one is not None:
                    below.append(one)
                if token != b"*" and token != b">":
                    same = children.get(token)
                    if same is not None:
                        below.append(same)
            level = below
            self.effort += len(level)
            if not level:
                return found
        return found + level

    @staticmethod
    def _joined(everybody: list[Receiver], nodes: Iterable[_Node], subject: bool) -> Audience:
        """All of them together; where it is no subject, only those who take any topic."""
        queues: dict[str, list[Queue]] = {}
        for node in nodes:
            everybody += node.all
            for name, queue in (node.queues or {}).items():
                queues.setdefault(name, []).append(queue)
        if not subject:
            everybody = [each for each in everybody if not each.subjects_only]
        if not subject:
            queues = {name: _takers(same) for name, same in queues.items()}
        shared = [same[0] if len(same) == 1 else Joined(same) for same in queues.values() if same]
        return Audience(tuple(everybody), tuple(shared))

    def _keep(self, subject: bytes, audience: Audience) -> None:
        if self._references + audience.weight > _REFERENCES:
            # It may be that there are more subjects than fit, all in use: keep those that are there for a while.
            self._turned_away += 1
            if self._turned_away < 4 * len(self.found) or audience.weight > _REFERENCES:
                return
            self._forget_all()
        audience.memos = []
        self.found[subject] = audience
        self._references += audience.weight
        self._by_first.setdefault(subject.partition(b".")[0], set()).add(subject)

    def changed(self, pattern: bytes) -> None:
        """Forget what was found for the subjects that a pattern means: who subscribed to it has changed."""
        first = pattern.partition(b".")[0]
        if not _means_more(pattern):
            if pattern in self.found:
                same = self._by_first[first]
                same.discard(pattern)
                if not same:
                    del self._by_first[first]
                self._forget(pattern)
        elif first in (b"*", b">"):
            self._forget_all()
        else:
            for subject in self._by_first.pop(first, ()):
                self._forget(subject)

    def _forget(self, subject: bytes) -> None:
        audience = self.found.pop(subject)
        self._references -= audience.weight
        for key in audience.memos or ():
            self.memo.pop(key, None)
        audience.memos = audience.made = None

    def _forget_all(self) -> None:
        for audience in self.found.values():
            audience.memos = audience.made = None
        self.found.clear()
        self._by_first.clear()
        self.memo.clear()
        self._references = self._turned_away = 0


def _means_more(pattern: bytes) -> bool:
    return is_wild(pattern) and is_pattern(pattern)


def _takers(queues: list[Queue]) -> list[Queue]:
    """Those in the queues who take any topic, in a queue of their own; none where there are none."""
    takers = [each for queue in queues for each in queue.members if not each.subjects_only]
    return [Queue(takers)] if takers else []
