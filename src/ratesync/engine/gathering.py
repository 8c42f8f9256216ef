"""Calls that wait for more operations to share them, or for their turn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import inf

from attrs import define, field

from ratesync.engine.call import Call
from ratesync.engine.work import Task, label, most_in_call
from ratesync.model.batch import Capabilities
from ratesync.model.lane import Lane
from ratesync.rules.batching import Waiting, depart, lane_bound

_PACE = 0.1
"""Share of the linger from one claim to the next: what comes in meanwhile is claimed soon enough for those who wait."""


@define
class _Open:
    """A call that can take more, or waits to be begun."""

    label: Hashable
    most: int
    """Operations that it has room for."""
    call: Call
    since: float
    begun_before: int
    """Calls that had been begun when it was opened."""
    priority: int
    """The highest of its operations, if it was full from the beginning."""

    @property
    def lacks(self) -> int:
        """Operations that it could still take."""
        return self.most - self.call.size


@define
class _Line:
    """The calls of one lane that wait."""

    more_follows: bool
    """There was more of the lane when it was claimed from last."""
    calls: list[_Open] = field(factory=list[_Open])


@define
class Gathering:
    """Keeps calls that are not full until :func:`~ratesync.rules.batching.depart` lets them go.

    They hold their leases as calls under way do, so a crash or a shutdown gives their operations back like any others.
    """

    capabilities: Mapping[str, Capabilities]
    linger: float
    next_at: float = field(default=inf, init=False)
    """Instant at which a call goes for its age."""
    begun: int = field(default=0, init=False)
    """Calls that were begun so far, of all lanes."""
    _count: int = field(default=0, init=False)
    _lines: dict[Lane, _Line] = field(factory=dict[Lane, _Line], init=False)
    _met: dict[str, int] = field(factory=dict[str, int], init=False)
    """Of providers whose kinds differ: most operations in a call of the kinds that were claimed last."""

    def __len__(self) -> int:
        return self._count

    def note_claimed(self, lane: Lane, mailboxes: int) -> None:
        """So many mailboxes of the lane came at once."""
        if self._lines and (line := self._lines.get(lane)) is not None:
            line.more_follows = self._is_full(lane, mailboxes)

    def note_sizes(self, lane: Lane, groups: Sequence[list[Task]]) -> None:
        """The calls that were made of those mailboxes. The next claim is as large as calls of these kinds can be."""
        if self.capabilities[lane.provider].is_mixed:
            self._met[lane.provider] = max(self._most(lane, tasks) for tasks in groups)

    def is_wanted(self, lane: Lane, groups: Sequence[list[Task]], tasks: list[Task], mailboxes: int) -> bool:
        """Tell whether a call should wait: with these tasks, one of ``groups`` of mailboxes that came at once.

        A full one, where more came than the provider may take at once, as its kinds differ in how many go in a call.
        Another one, for more; but not if one of its operations is more urgent than others that came with it: it would
        let them go first.
        """
        if not tasks[0].is_shareable:
            return False
        if len(tasks) >= self._most(lane, tasks):
            return self.capabilities[lane.provider].is_mixed
        if self._is_full(lane, mailboxes):
            return len(groups) == 1 or _priority(tasks, max) <= min(_priority(others, min) for others in groups)
        return self.linger > 0 or lane in self._lines

    def _most(self, lane: Lane, tasks: Sequence[Task]) -> int:
        return most_in_call(self.capabilities[lane.provider], tasks[0].operation)

    def _is_full(self, lane: Lane, mailboxes: int) -> bool:
        # If as many mailboxes came as could come, there are probably more.
        return mailboxes >= self._size(lane.provider)

    def _size(self, provider: str) -> int:
        able = self.capabilities[provider]
        return self._met.get(provider, 1) if able.is_mixed else able.largest

    def add(
        self,
        lane: Lane,
        tasks: list[Task],
        mailboxes: int,
        now: float,
        make: Callable[[list[Task]], Call],
    ) -> None:
        """Put tasks into the call that waits for such, and into a new one what does not fit."""
        most = self._most(lane, tasks)
        line = self._lines.get(lane)
        if line is None:
            line = self._lines[lane] = _Line(self._is_full(lane, mailboxes))
        calls, kind = line.calls, label(tasks[0])
        for each in calls if len(tasks) < most else ():
            if each.label == kind and each.lacks > 0 and not each.call.is_lost:
                room = each.lacks
                each.call.add(tasks[:room])
                tasks = tasks[room:]
        if tasks:
            priority = _priority(tasks, max) if len(tasks) >= most else 0
            calls.append(_Open(kind, most, make(tasks), now - self._waited(tasks, now), self.begun, priority))
            self._count += 1

    def drop_full(self, lane: Lane) -> list[Call]:
        """Calls of the lane that wait for nothing but their turn; they no longer wait."""
        line = self._lines.get(lane)
        if line is None:
            return []
        full = [each.call for each in line.calls if each.lacks <= 0]
        line.calls = [each for each in line.calls if each.lacks > 0]
        if not line.calls:
            del self._lines[lane]
        self._count -= len(full)
        self._met[lane.provider] = 1
        return full

    @property
    def is_mixed(self) -> bool:
        """There is a provider whose kinds differ in how many operations go in a call."""
        return any(able.is_mixed for able in self.capabilities.values())

    @property
    def pace(self) -> float:
        """Seconds between claims while calls wait."""
        return self.linger * _PACE

    def _waited(self, tasks: list[Task], now: float) -> float:
        # The wait for a claim is part of the linger. The queue's clock may be another one, so no more is believed.
        return min(self.pace, max(0.0, now - min(task.items[0].enqueued_at for task in tasks)))

    def let_go(self, now: float, *, all_claimed: bool, there: Callable[[Lane], int], places: int) -> list[Call]:
        """The calls that go now.

        :param all_claimed: the queue has no more at once, of any lane.
        :param there: tells how many calls of a lane there are, those that wait here among them.
        :param places: calls of all lanes that may be begun. It bounds lanes with more calls than may be under way.
        """
        going: list[Call] = []
        in_line = sum(each.lacks > 0 for line in self._lines.values() for each in line.calls)
        self.next_at = inf
        for lane, line in list(self._lines.items()):
            line.more_follows = line.more_follows and not all_claimed
            room = self._room(lane, there(lane) - len(line.calls), places - len(going))
            going += self._of_lane(lane, line, now, room, in_line)
        self.begun += len(going)
        self._count -= len(going)
        return going

    def _room(self, lane: Lane, begun: int, places: int) -> float:
        """How many more calls of a lane may be begun."""
        able = self.capabilities[lane.provider]
        room = inf if able.concurrency is None else able.concurrency - begun
        return min(room, places) if able.is_mixed else room

    def _of_lane(self, lane: Lane, line: _Line, now: float, room: float, in_line: int) -> list[Call]:
        calls = line.calls
        decided = depart(
            [Waiting(each.lacks, each.since, self.begun - each.begun_before, each.priority) for each in calls],
            room=room,
            linger=self.linger,
            more_follows=line.more_follows,
            in_line=in_line,
            now=now,
        )
        self.next_at = min(self.next_at, decided.next_at)
        line.calls = [each for place, each in enumerate(calls) if place not in decided.go]
        if not line.calls:
            del self._lines[lane]
        return [calls[place].call for place in decided.go]

    def bounds(self) -> dict[str, int]:
        """Most mailboxes of a lane to lease at a time, for each provider that bounds its concurrency."""
        waiting: dict[str, int] = {}
        for lane, line in self._lines.items():
            count = sum(each.call.size for each in line.calls if each.lacks > 0)
            waiting[lane.provider] = max(waiting.get(lane.provider, 0), count)
        return {
            name: lane_bound(able.concurrency, self._size(name), waiting.get(name, 0))
            for name, able in self.capabilities.items()
            if able.concurrency is not None
        }

    def empty(self) -> list[Call]:
        """All calls that wait; from now on none does."""
        calls = [each.call for line in self._lines.values() for each in line.calls]
        self._lines.clear()
        self._count = 0
        self.next_at = inf
        return calls


def _priority(tasks: Sequence[Task], choose: Callable[[Iterable[int]], int]) -> int:
    return choose(0 if task.operation is None else task.operation.priority for task in tasks)
