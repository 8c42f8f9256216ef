"""Claiming work while there is room for calls, and starting the calls."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import anyio

from ratesync.clock import MINIMUM_DELAY, sleep_until
from ratesync.engine.call import Call, Desk
from ratesync.engine.crew import Crew
from ratesync.engine.outbox import Outbox
from ratesync.engine.work import Action, Planner, Task
from ratesync.errors import QueueError
from ratesync.model.batch import Capabilities
from ratesync.model.event import BackendFailed
from ratesync.model.settings import Settings
from ratesync.model.work import ClaimRequest, Lease
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
_MAILBOXES_PER_CLAIM = 128
"""About how many mailboxes one claim takes, judged by how many there were for each call the last time. The first calls
may end before more is claimed, so less is held at a time: measured, 6,400 at once cost 1.5 times the CPU with 100,000
queued, as they outlive the young garbage collections."""


class Dispatcher:
    """The loop of a working engine: claim, sort into calls, start them; sleep when there is nothing to do.

    Nothing is claimed that is not being worked on: at most ``max_calls`` calls' worth.
    """

    def __init__(self, *, desk: Desk, planner: Planner, worker: str, settings: Settings, source: random.Random) -> None:
        self._desk = desk
        self._planner = planner
        self._worker = worker
        self._settings = settings
        self._random = source
        self._sizes = {name: able.batch_max for name, able in planner.capabilities.items()}
        self._calls_per_claim = max(1, _MAILBOXES_PER_CLAIM // max(self._sizes.values(), default=1))
        self._lane_max = _lane_max(planner.capabilities)
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
            free = self._settings.max_calls - len(self._calls)
            if free <= 0:
                await self._wait_for_change()
                continue
            try:
                claimed_at = self._desk.clock.now()
                most = min(free, self._calls_per_claim)
                claim = await self._desk.queue.claim(ClaimRequest(self._worker, most, self._sizes, self._lane_max))
                for leases in claim.batches:
                    self._start(leases, crew)
                if claim.batches:
                    mailboxes = sum(map(len, claim.batches))
                    self._calls_per_claim = max(1, _MAILBOXES_PER_CLAIM * len(claim.batches) // mailboxes)
                if claim.next_at is None or claim.next_at > self._desk.clock.now():  # there was no more to be had
                    await self._desk.queue.wait(claim.marker, claim.next_at)
                    await self._gather(claimed_at)
                failures = 0
            except QueueError as error:
                failures += 1
                await self._recover(error, failures)

    async def _gather(self, claimed_at: float) -> None:
        """Let a little more come in before the next claim, if the last one was just now and calls are under way."""
        claim_at = claimed_at + _GATHER
        if self._calls and claim_at > self._desk.clock.now():
            await sleep_until(self._desk.clock, claim_at)

    async def _recover(self, error: QueueError, failures: int) -> None:
        delay = max(MINIMUM_DELAY, backoff(self._settings.retry, failures, self._random.random()))
        self._desk.notify(BackendFailed(self._desk.clock.now(), type(error).__name__, delay))
        await anyio.sleep(delay)

    def _start(self, leases: Sequence[Lease], crew: Crew) -> None:
        lane = leases[0].lane
        now = self._desk.clock.now()
        for tasks in self._planner.plan(leases, now):
            call = Call(self._desk, lane, self._one_suspect_at_a_time(tasks, now))
            self._calls[call] = now
            crew.give(call)
        if self.busy_since is None:
            self.busy_since = now
        self._started.set()

    def _one_suspect_at_a_time(self, tasks: list[Task], now: float) -> list[Task]:
        # Of several that may have brought a worker down, only the one under way can be to blame for the next time.
        if not tasks[0].is_suspect:
            return tasks
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
        self._outbox.put(call)

    def _end(self, call: Call) -> None:
        """Forget a call that is settled."""
        del self._calls[call]
        if self._waiting:
            self._changed.set()
            self._changed = anyio.Event()
        if not self._calls:
            self.busy_since = None

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

    async def give_back(self) -> None:
        """Give back the leases of calls that were broken off before they began, or before they were settled."""
        for call in list(self._calls):
            await call.give_back()
        self._calls.clear()


def _lane_max(capabilities: Mapping[str, Capabilities]) -> dict[str, int]:
    # What could not be called anyway is not claimed: it would only be given back.
    return {
        name: able.concurrency * able.batch_max for name, able in capabilities.items() if able.concurrency is not None
    }
