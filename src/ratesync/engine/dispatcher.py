"""Claiming work while there is room for calls, and starting the calls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

import anyio

from ratesync.clock import MINIMUM_DELAY, sleep_until
from ratesync.engine.call import Call, Desk
from ratesync.engine.crew import Crew
from ratesync.engine.gathering import Gathering
from ratesync.engine.outbox import Outbox
from ratesync.engine.work import Action, Planner, Task
from ratesync.errors import QueueError
from ratesync.model.event import BackendFailed
from ratesync.model.lane import Lane
from ratesync.model.settings import Settings
from ratesync.model.work import Claim, ClaimRequest, Lease
from ratesync.rules.retry import backoff

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_SUSPECT_DELAYS = 0.05, 1.0
"""Least and most seconds before a suspect is offered again that had to let another one go first. In between: as long
as that one has been under way, so that many which a dead worker held come through soon, and a slow one is not asked
after all the time."""
_GATHER = 0.001
"""Least seconds from one claim to the next while calls are under way and all that was there has been claimed. What
comes in meanwhile shares the cost of a claim, and of a call where the adapter takes batches."""
_FEW = 8
"""If less than this part of all places is free, a claim waits a little until more are."""
_MAILBOXES_PER_CLAIM = 128
"""About how many mailboxes one claim takes, judged by how many there were for each call the last time. The first calls
may end before more is claimed, so less is held at a time: measured, 6,400 at once cost 1.5 times the CPU with 100,000
queued, as they outlive the young garbage collections."""


class Dispatcher:
    """The loop of a working engine: claim, sort into calls, start them; sleep when there is nothing to do.

    Nothing is claimed that is not being worked on, at most ``max_calls`` calls' worth; but for what fills calls up that
    are not full (:mod:`ratesync.rules.batching`).
    """

    def __init__(self, *, desk: Desk, planner: Planner, worker: str, settings: Settings, source: random.Random) -> None:
        self._desk = desk
        self._planner = planner
        self._worker = worker
        self._settings = settings
        self._random = source
        self._sizes = {name: able.largest for name, able in planner.capabilities.items()}
        self._calls_per_claim = max(1, _MAILBOXES_PER_CLAIM // max(self._sizes.values(), default=1))
        self._gathering = Gathering(planner.capabilities, settings.linger)
        self._least_lane_max = self._lane_max = self._gathering.bounds()
        self._is_mixed = self._gathering.is_mixed
        self._nap: anyio.CancelScope | None = None
        self._calls: dict[Call, float] = {}
        self._outbox = Outbox(desk.settler, self._end)
        self._changed = anyio.Event()
        self._waiting = 0
        self._started = anyio.Event()
        self.busy_since: float | None = None
        """Instant since which calls are under way without a break; None if none is."""

    async def run(self, tasks: TaskGroup) -> None:
        """Claim until cancelled; what is claimed is carried out and settled by tasks of the group ``tasks``."""
        crew = Crew(tasks, self._serve, self._desk.clock)
        tasks.start_soon(self._outbox.run, name="ratesync outbox")
        failures = 0
        while True:
            free = self._places()
            if free <= 0:
                await self._wait_for_places()
                continue
            try:
                claimed_at = self._desk.clock.now()
                claim = await self._claim(min(free, self._calls_per_claim), crew)
                if claim.next_at is None or claim.next_at > self._desk.clock.now():  # there was no more to be had
                    if self._gathering:
                        self._let_go(crew, all_claimed=True)
                    if self._may_claim_more():
                        continue
                    await self._rest(claim)
                    await self._gather(claimed_at)
                elif self._gathering:
                    self._let_go(crew, all_claimed=False)
                failures = 0
            except QueueError as error:
                failures += 1
                self._let_go(crew, all_claimed=True)
                await self._recover(error, failures)

    async def _claim(self, most: int, crew: Crew) -> Claim:
        claim = await self._desk.queue.claim(ClaimRequest(self._worker, most, self._sizes, self._lane_max))
        for leases in claim.batches:
            self._start(leases, crew)
        if claim.batches:
            mailboxes = sum(map(len, claim.batches))
            self._calls_per_claim = max(1, _MAILBOXES_PER_CLAIM * len(claim.batches) // mailboxes)
        return claim

    def _may_claim_more(self) -> bool:
        """Set how much of a lane is leased at most; tell whether it is more than before."""
        before = self._lane_max
        if not self._gathering and before is self._least_lane_max and not self._is_mixed:
            return False
        self._lane_max = self._gathering.bounds() if self._gathering or self._is_mixed else self._least_lane_max
        return any(bound > before[name] for name, bound in self._lane_max.items())

    async def _rest(self, claim: Claim) -> None:
        """Wait for more to claim, or until a call that waits for more is to go without it."""
        queue = self._desk.queue
        if not self._gathering:
            await queue.wait(claim.marker, claim.next_at)
            return
        next_at = min(self._gathering.next_at, inf if claim.next_at is None else claim.next_at)
        try:
            with anyio.CancelScope() as self._nap:
                await queue.wait(claim.marker, None if next_at == inf else next_at)
        finally:
            self._nap = None

    async def _gather(self, claimed_at: float) -> None:
        """Let a little more come in before the next claim, if the last one was just now and calls are under way."""
        if not self._calls:
            return
        claim_at = claimed_at + _GATHER
        if self._gathering:
            claim_at = max(claim_at, min(claimed_at + self._gathering.pace, self._gathering.next_at))
        if claim_at > self._desk.clock.now():
            await sleep_until(self._desk.clock, claim_at)

    def _let_go(self, crew: Crew, *, all_claimed: bool) -> None:
        """Begin the calls that wait for more no longer."""
        now = self._desk.clock.now()
        places = self._places()
        for call in self._gathering.let_go(now, all_claimed=all_claimed, there=self._count_of, places=places):
            crew.give(call)

    def _count_of(self, lane: Lane) -> int:
        """Calls of a lane, begun or not."""
        return sum(call.lane == lane for call in self._calls)

    async def _recover(self, error: QueueError, failures: int) -> None:
        delay = max(MINIMUM_DELAY, backoff(self._settings.retry, failures, self._random.random()))
        self._desk.notify(BackendFailed(self._desk.clock.now(), type(error).__name__, delay))
        await anyio.sleep(delay)

    def _start(self, leases: Sequence[Lease], crew: Crew) -> None:
        lane = leases[0].lane
        now = self._desk.clock.now()
        gathering = self._gathering
        gathering.note_claimed(lane, len(leases))
        groups = self._planner.plan(leases, now)
        for tasks in groups:
            if tasks[0].is_suspect:
                tasks = self._one_suspect_at_a_time(tasks, now)  # noqa: PLW2901
            if gathering.is_wanted(lane, groups, tasks, len(leases)):
                gathering.add(lane, tasks, len(leases), now, partial(self._open, lane, now))
            else:
                gathering.begun += 1
                crew.give(self._open(lane, now, tasks))
        gathering.note_sizes(lane, groups)
        if self.busy_since is None:
            self.busy_since = now
        self._started.set()

    def _open(self, lane: Lane, now: float, tasks: Sequence[Task]) -> Call:
        call = Call(self._desk, lane, tasks)
        self._calls[call] = now
        return call

    def _one_suspect_at_a_time(self, tasks: list[Task], now: float) -> list[Task]:
        # Of several that may have brought a worker down, only the one under way can be to blame for the next time.
        since = next((started_at for call, started_at in self._calls.items() if call.is_suspect), None)
        if since is None:
            return tasks
        least, most = _SUSPECT_DELAYS
        delay = min(max(now - since, least), most)
        return [Task(task.lease, task.items, Action.LEAVE, leave_for=delay) for task in tasks]

    async def _serve(self, call: Call) -> None:
        # What else may have brought a worker down must be out of the way before a suspect is tried.
        while call.is_suspect and any(other.is_given_back for other in self._calls):
            await self._wait_for_change()
        await call.run()
        if call.is_turned_away:  # the lane is closed: others of it that only wait for their turn would be, one by one
            for waiting in self._gathering.drop_full(call.lane):
                self._outbox.put(waiting)
        self._outbox.put(call)

    def _end(self, call: Call) -> None:
        """Forget a call that is settled."""
        del self._calls[call]
        if self._waiting:
            self._changed.set()
            self._changed = anyio.Event()
        if not self._calls:
            self.busy_since = None
        if self._nap is not None:  # a call that waits may be begun now
            self._nap.cancel()

    def _places(self) -> int:
        """How many more calls may be under way."""
        return self._settings.max_calls - len(self._calls) + len(self._gathering)

    async def _wait_for_places(self) -> None:
        """Wait until another call may be begun, and where most are under way a little more: for a few to be claimed."""
        await self._wait_for_change()
        if self._places() < self._settings.max_calls // _FEW:
            await anyio.sleep(_GATHER)

    async def _wait_for_change(self) -> None:
        self._waiting += 1
        try:
            await self._changed.wait()
        finally:
            self._waiting -= 1

    def under_way_since(self, instant: float) -> list[Call]:
        """The calls whose leases were claimed by that instant, and that are not settled yet."""
        return [call for call, _ in takewhile(lambda entry: entry[1] <= instant, self._calls.items())]

    async def busy(self) -> None:
        """Wait until calls are under way. For one who waits at a time."""
        if not self._calls:
            self._started = anyio.Event()
            await self._started.wait()

    async def idle(self) -> None:
        """Wait until no call is under way."""
        while self._calls:
            await self._wait_for_change()

    async def give_back_waiting(self) -> None:
        """Give back the leases of calls that wait for more. Call it when no more is claimed."""
        for call in self._gathering.empty():
            await call.give_back()
            self._end(call)

    async def give_back(self) -> None:
        """Give back the leases of calls that were broken off before they began, or before they were settled."""
        for call in list(self._calls):
            await call.give_back()
        self._calls.clear()
