"""Calls that wait for more operations to share them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from math import inf

from attrs import define, field

from ratesync.engine.call import Call
from ratesync.engine.work import Task, label
from ratesync.model.batch import Capabilities
from ratesync.model.lane import Lane
from ratesync.rules.batching import Waiting, depart, lane_bound

_PACE = 0.1
"""Share of the linger from one claim to the next: what comes in meanwhile is claimed soon enough for those who wait."""


@define
class _Open:
    """A call that can take more, or waits to be begun."""

    label: Hashable
    call: Call
    since: float
    begun_before: int
    """Calls that had been begun when it was opened."""


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

    def __len__(self) -> int:
        return self._count

    def note_claimed(self, lane: Lane, mailboxes: int) -> None:
        """So many mailboxes of the lane came at once."""
        if self._lines and (line := self._lines.get(lane)) is not None:
            line.more_follows = self._is_full(lane, mailboxes)

    def is_wanted(self, lane: Lane, groups: Sequence[list[Task]], tasks: list[Task], mailboxes: int) -> bool:
        """Tell whether a call should wait for more: with these tasks, one of ``groups`` of mailboxes that came at once.

        Not if one of its operations is more urgent than others that came with it: it would let them go first.
        """
        if self._is_full(lane, len(tasks)) or not tasks[0].is_shareable:
            return False
        if self._is_full(lane, mailboxes):
            return len(groups) == 1 or _priority(tasks, max) <= min(_priority(others, min) for others in groups)
        return self.linger > 0 or lane in self._lines

    def _is_full(self, lane: Lane, count: int) -> bool:
        # If as many mailboxes came as could come, there are probably more.
        return count >= self.capabilities[lane.provider].batch_max

    def add(
        self,
        lane: Lane,
        tasks: list[Task],
        mailboxes: int,
        now: float,
        make: Callable[[list[Task]], Call],
    ) -> None:
        """Put tasks into the call that waits for such, and into a new one what does not fit."""
        size = self.capabilities[lane.provider].batch_max
        line = self._lines.get(lane)
        if line is None:
            line = self._lines[lane] = _Line(self._is_full(lane, mailboxes))
        calls, kind = line.calls, label(tasks[0])
        for each in calls:
            if each.label == kind and each.call.size < size and not each.call.is_lost:
                room = size - each.call.size
                each.call.add(tasks[:room])
                tasks = tasks[room:]
        if tasks:
            calls.append(_Open(kind, make(tasks), now - self._waited(tasks, now), self.begun))
            self._count += 1

    @property
    def pace(self) -> float:
        """Seconds between claims while calls wait."""
        return self.linger * _PACE

    def _waited(self, tasks: list[Task], now: float) -> float:
        # The wait for a claim is part of the linger. The queue's clock may be another one, so no more is believed.
        return min(self.pace, max(0.0, now - min(task.items[0].enqueued_at for task in tasks)))

    def let_go(self, now: float, *, all_claimed: bool, there: Callable[[Lane], int]) -> list[Call]:
        """The calls that go now.

        :param all_claimed: the queue has no more at once, of any lane.
        :param there: tells how many calls of a lane there are, those that wait here among them.
        """
        going: list[Call] = []
        self.next_at = inf
        for lane, line in list(self._lines.items()):
            line.more_follows = line.more_follows and not all_claimed
            going += self._of_lane(lane, line, now, there(lane))
        self.begun += len(going)
        self._count -= len(going)
        return going

    def _of_lane(self, lane: Lane, line: _Line, now: float, there: int) -> list[Call]:
        calls = line.calls
        able = self.capabilities[lane.provider]
        decided = depart(
            [Waiting(each.call.size, each.since, self.begun - each.begun_before) for each in calls],
            size=able.batch_max,
            room=inf if able.concurrency is None else able.concurrency - (there - len(calls)),
            linger=self.linger,
            more_follows=line.more_follows,
            in_line=self._count,
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
            size = self.capabilities[lane.provider].batch_max
            count = sum(each.call.size for each in line.calls if each.call.size < size)
            waiting[lane.provider] = max(waiting.get(lane.provider, 0), count)
        return {
            name: lane_bound(able.concurrency, able.batch_max, waiting.get(name, 0))
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
