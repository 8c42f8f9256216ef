"""Settling leases: telling the queue what became of them, and everybody who waits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice

import anyio
from attrs import define, field

from ratesync.clock import MINIMUM_DELAY, Clock
from ratesync.codec import decode_outcome, encode_outcome
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.ticket import TicketDesk
from ratesync.engine.work import Task
from ratesync.errors import InvalidPayload, QueueError
from ratesync.model.batch import Capabilities
from ratesync.model.event import BackendFailed, LeaseRefused, OperationDied, Settled
from ratesync.model.lane import Lane
from ratesync.model.operation import Operation, OperationState
from ratesync.model.outcome import Applied, Outcome, Unknown
from ratesync.model.settings import Settings
from ratesync.model.work import Finished, LeasedItem, Settlement
from ratesync.protocols import QueueBackend
from ratesync.rules.retry import backoff
from ratesync.rules.verdict import Again, Finish, Hold, Stop, Verdict, is_throttled, judge

_MEASURING = 2
_MEASURED = 0.1
"""Where the limiter finds the limit out by itself, the lane is held for this share of the usual time only, at so many
refusals in a row: a few of them tell the limiter all it needs."""


@define
class Ledger:
    """What is to be settled for one call's leases, and what it means for their lane."""

    lane: Lane
    affordable: bool = True
    """Whether the lane's retry budget can pay for sending the call's operations again."""
    is_measured: bool = False
    """Whether the limiter finds the lane's limit out by itself."""
    settlements: list[Settlement] = field(factory=list[Settlement])
    hold: Hold | None = None
    """For how long, and why, the provider must be left alone, if it must."""
    stop_reason: str | None = None
    """Why the lane must be paused, if it must."""


@define
class Settler:
    """Turns outcomes into settlements and hands them to the queue."""

    queue: QueueBackend
    worker: str
    health: HealthBoard
    tickets: TicketDesk
    settings: Settings
    clock: Clock
    random: random.Random
    notify: Notifier
    pause: float
    """Seconds at most between two tries while the backend fails."""
    closes_at: float | None = None
    """Instant after which nothing is settled any more; set when the engine is left."""

    def judge(
        self, task: Task, operation: Operation, outcome: Outcome, capabilities: Capabilities, ledger: Ledger
    ) -> None:
        """Decide what an outcome means and note it in the ledger."""
        if isinstance(outcome, Applied):  # the common case needs no decision
            ledger.settlements.append(self.finish(task, OperationState.COMPLETED, outcome))
            return
        throttles = self.health.throttles(ledger.lane) if is_throttled(outcome) else 0
        fraction = self.random.random()
        if ledger.is_measured and 0 < throttles <= _MEASURING:
            fraction *= _MEASURED
        item = task.items[0]
        verdict = judge(
            outcome,
            operation,
            capabilities,
            self.settings.retry,
            # A lane that is throttled again and again waits longer and longer, whichever operation meets it.
            attempts=throttles - 1 if throttles else item.attempts,
            sent_before=item.sent_as != 0,
            circuit_closed=self.health.is_closed(ledger.lane),
            affordable=ledger.affordable,
            fraction=fraction,
        )
        ledger.settlements.append(self._settlement(task, verdict, ledger))

    def _settlement(self, task: Task, verdict: Verdict, ledger: Ledger) -> Settlement:
        match verdict:
            case Finish(state, outcome):
                return self.finish(task, state, outcome)
            case Again(delay, counted, sent):
                ids = tuple(item.id for item in task.items)
                resume_at = self.clock.now() + max(delay, MINIMUM_DELAY)
                return Settlement(task.lease, attempted=ids, counted=counted, sent=sent, resume_at=resume_at)
            case Hold(delay, alarm):
                known = ledger.hold or verdict
                ledger.hold = Hold(max(delay, known.delay), known.alarm or alarm)
            case Stop(reason):
                ledger.stop_reason = reason
        return Settlement(task.lease)

    def finish(self, task: Task, state: OperationState, outcome: Outcome) -> Settlement:
        """The settlement of a task whose items are done with."""
        try:
            result = encode_outcome(outcome)
        except InvalidPayload:
            state = OperationState.DEAD
            result = encode_outcome(Unknown("the provider answered, but its record is not JSON: check the adapter"))
        return Settlement(task.lease, tuple([Finished(item.id, state, result) for item in task.items]))

    def finish_some(self, task: Task, culprits: Sequence[tuple[LeasedItem, Outcome]]) -> Settlement:
        """The settlement of a task of which some items are dead, each for its own reason; the others go back."""
        return Settlement(
            task.lease,
            tuple(Finished(item.id, OperationState.DEAD, encode_outcome(outcome)) for item, outcome in culprits),
        )

    async def settle(self, calls: Sequence[tuple[Lane, Sequence[Settlement]]]) -> None:
        """Hand the settlements of calls, each of one lane, to the queue in one piece.

        Again and again while the backend fails, until the engine is left: leases live as long as their worker, so what
        was given up would stay leased. Where they have ended all the same, the queue refuses.
        """
        settlements = [settlement for _, settled in calls for settlement in settled]
        if not settlements:
            return
        accepted = await self._try_to_settle(settlements)
        if accepted is None:
            accepted = await self._settle_again(settlements)
        if accepted is None:
            return  # the worker ends now: its leases lapse, and the work comes back by itself
        answers = iter(accepted)
        for lane, settled in calls:
            self._announce(lane, settled, list(islice(answers, len(settled))))

    async def _settle_again(self, settlements: Sequence[Settlement]) -> Sequence[bool] | None:
        attempt = 0
        while True:
            attempt += 1
            delay = min(self.pause, backoff(self.settings.retry, attempt, self.random.random()))
            delay = max(MINIMUM_DELAY, delay)
            if self.closes_at is not None and self.clock.now() + delay > self.closes_at:
                return None
            await anyio.sleep(delay)
            accepted = await self._try_to_settle(settlements)
            if accepted is not None:
                return accepted

    async def _try_to_settle(self, settlements: Sequence[Settlement]) -> Sequence[bool] | None:
        try:
            return await self.queue.settle(self.worker, settlements)
        except QueueError as error:
            self.notify(BackendFailed(self.clock.now(), type(error).__name__, 0.0))
            return None

    def _announce(self, lane: Lane, settlements: Sequence[Settlement], accepted: Sequence[bool]) -> None:
        for settlement, held in zip(settlements, accepted, strict=True):
            if held:
                for done in settlement.finished:
                    self.tickets.resolve(done.id, done.result)
            elif self.notify.active:
                self.notify(LeaseRefused(self.clock.now(), lane, settlement.lease.key))
        if self.notify.active:
            self._report(lane, [settlement for settlement, held in zip(settlements, accepted, strict=True) if held])

    def _report(self, lane: Lane, settled: Sequence[Settlement]) -> None:
        now = self.clock.now()
        finished = [done for settlement in settled for done in settlement.finished]
        dead = [done for done in finished if done.state is OperationState.DEAD]
        retried = sum(len(settlement.attempted) for settlement in settled)
        self.notify(Settled(now, lane, len(finished) - len(dead), retried, len(dead)))
        for done in dead:
            outcome = decode_outcome(done.result)
            self.notify(OperationDied(now, lane, done.id, "" if isinstance(outcome, Applied) else outcome.reason))
