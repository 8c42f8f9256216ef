"""One call to a provider, from the leases to what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import anyio
from attrs import frozen

from ratesync.clock import MINIMUM_DELAY, Clock, timeout_at
from ratesync.engine.admission import Admission, Entry, Pass, Refused
from ratesync.engine.blame import find_culprits
from ratesync.engine.execution import Executor
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.settlement import Ledger, Settler
from ratesync.engine.work import Action, Task
from ratesync.errors import CostAboveLimit, LimiterError, QueueError
from ratesync.model.batch import Reply
from ratesync.model.event import BackendFailed, CallFinished, LaneParked, LanePaused, LeaseRefused
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import Kind, Operation, OperationState
from ratesync.model.outcome import Applied, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.quota import Observation
from ratesync.model.work import Lease, Settlement
from ratesync.protocols import QueueBackend
from ratesync.rules.verdict import Hold, is_failure, is_throttled, rest_before_repeat

_GIVE_BACK_WITHIN = 2.0
"""Seconds that giving back may take a call that was broken off; then its leases lapse."""
_SCHEMA_REST = 60.0
"""Seconds for which a mailbox rests whose resource waits for its schema to be accepted."""
_AFTER_FAILURE = 1.0
"""Seconds before work is offered again that the queue or the limiter failed on, so that a failure does not spin."""


_NOTHING_LEARNT = Observation()


@frozen
class Desk:
    """What every call needs."""

    queue: QueueBackend
    admission: Admission
    executor: Executor
    settler: Settler
    health: HealthBoard
    clock: Clock
    notify: Notifier


class Call:
    """Carries one group of tasks through admission and provider, and decides what its leases come to.

    Whatever happens to it, its leases are settled: normally by whom :meth:`run` is awaited, as judged; else by
    :meth:`give_back`, where the items are marked as possibly sent if the provider may have been reached.
    """

    def __init__(self, desk: Desk, lane: Lane, tasks: Sequence[Task]) -> None:
        self.lane = lane
        self.size = len(tasks)
        """How many leases it is about."""
        self.is_given_back = tasks[0].action is Action.LEAVE
        self.is_suspect = tasks[0].is_suspect
        self.is_settled = False
        """Set when the queue has been told, or it was given up to tell it."""
        self._desk = desk
        self._tasks = tasks
        self._sending: frozenset[str] = frozenset()
        self._pass: Pass | None = None
        self._resume_at: float | None = None
        self._known: Sequence[Settlement] = ()
        self._admitted_at = 0.0
        self._limit: anyio.CancelScope | None = None
        self.is_lost = False
        """All its leases were lost before it came to an end."""
        self.is_turned_away = False
        """It was refused as no call of its lane may be made now."""

    def add(self, tasks: Sequence[Task]) -> None:
        """Take more tasks along, of the same lane, resource and kind. Only before it is run."""
        self._tasks = [*self._tasks, *tasks]
        self.size = len(self._tasks)

    async def run(self) -> None:
        """Make the call; then ``settlements`` are final. Failures of queue and limiter are reported, not raised.

        A call that is broken off gives everything back before the exception goes on.
        """
        try:
            await self._carry_out()
        except (QueueError, LimiterError) as error:
            now = self._desk.clock.now()
            self._resume_at = now + _AFTER_FAILURE
            self._desk.notify(BackendFailed(now, type(error).__name__, _AFTER_FAILURE))
            await self._hand_back()
        except BaseException:
            await self.give_back()
            raise

    async def _carry_out(self) -> None:
        match self._tasks[0].action:
            case Action.SEND:
                await self._send()
            case Action.LOOKUP:
                await self._lookup(self._tasks[0])
            case _:
                self._known = [self._without_call(task) for task in self._tasks]

    @property
    def leases(self) -> list[Lease]:
        """The leases that it is about."""
        return [task.lease for task in self._tasks]

    def lose(self) -> None:
        """All its leases are lost: break it off, with nothing to settle. Another worker may be at it by now.

        Once it is known what to settle, that is left to the queue, which refuses it.
        """
        if self._known or self.is_lost:
            return
        self.is_lost = True
        if self._limit is not None:
            self._limit.cancel()
        for lease in self.leases:
            self._desk.notify(LeaseRefused(self._desk.clock.now(), self.lane, lease.key))

    @property
    def settlements(self) -> Sequence[Settlement]:
        """What its leases come to as far as is known by now; what is not known goes back to the queue."""
        if self.is_lost:
            return ()
        return self._known or [self._returned(task) for task in self._tasks]

    async def give_back(self) -> None:
        """Let go of everything; for a call that was broken off or never began. Harmless when all is settled."""
        if self.is_settled:
            return
        desk = self._desk
        closes_at = desk.settler.closes_at or desk.clock.now() + _GIVE_BACK_WITHIN
        with anyio.CancelScope(shield=True), timeout_at(desk.clock, closes_at):
            await self._hand_back()
            await desk.settler.settle([(self.lane, self.settlements)])
            self.is_settled = True

    async def _hand_back(self) -> None:
        if self._pass is not None:
            entered, self._pass = self._pass, None
            await self._desk.admission.hand_back(entered, sent=bool(self._sending))

    def _returned(self, task: Task) -> Settlement:
        if task.items[0].id not in self._sending:
            return Settlement(task.lease, resume_at=self._resume_at)
        resume_at = self._resume_at
        if task.operation is not None:
            able = self._desk.executor.providers[self.lane.provider].capabilities
            rest = rest_before_repeat(task.operation, able)
            resume_at = max(self._desk.clock.now() + rest, resume_at or 0.0) if rest else resume_at
        return Settlement(
            task.lease, attempted=tuple(item.id for item in task.items), counted=False, resume_at=resume_at
        )

    def _without_call(self, task: Task) -> Settlement:
        if task.action is Action.LEAVE:
            return Settlement(task.lease, resume_at=self._desk.clock.now() + task.leave_for)
        if task.outcome is None:
            return self._desk.settler.finish(task, OperationState.COMPLETED, Applied())
        return self._desk.settler.finish(task, OperationState.DEAD, task.outcome)

    async def _enter(self, first: Operation, kind: Kind | Inquiry) -> Pass | None:
        """Ask for admission; when refused, the leases are given back."""
        priority = max(task.operation.priority for task in self._tasks if task.operation is not None)
        entry = Entry(self.lane, first.resource, kind, len(self._tasks), priority)
        try:
            answer = await self._desk.admission.enter(entry)
        except CostAboveLimit as error:
            refusal = Rejected(str(error), code="cost")
            self._known = [self._desk.settler.finish(task, OperationState.DEAD, refusal) for task in self._tasks]
            return None
        if isinstance(answer, Refused):
            self.is_turned_away = answer.mailboxes_until is None
            self._known = [Settlement(task.lease, resume_at=answer.mailboxes_until) for task in self._tasks]
            return None
        self._pass = answer
        self._admitted_at = answer.admitted_at
        if self.is_lost:
            await self._hand_back()
            return None
        return answer

    async def _lookup(self, task: Task) -> None:
        operation = task.operation
        if operation is None or await self._enter(operation, Inquiry.LOOKUP) is None:
            return
        self._sending = frozenset({operation.id or ""})
        self._limit = self._desk.executor.limit()
        outcome = await self._desk.executor.lookup(self.lane, operation, self._limit)
        if self.is_lost:
            await self._hand_back()
        elif outcome is None:
            # Surely not applied. The next claim sends it: this call's permit is used up.
            self._known = [Settlement(task.lease, unsent=tuple(item.id for item in task.items))]
            await self._leave([Applied()], [], operation)
        else:
            await self._conclude([(task, operation, outcome)], [outcome])

    async def _send(self) -> None:
        desk = self._desk
        operations = [task.operation for task in self._tasks if task.operation is not None]
        if desk.executor.schemas.stops(self.lane, operations[0].resource):
            resume_at = desk.clock.now() + _SCHEMA_REST
            self._known = [Settlement(task.lease, resume_at=resume_at) for task in self._tasks]
            return
        entered = await self._enter(operations[0], operations[0].kind)
        if entered is None:
            return
        del operations[entered.size :]  # the rest of the leases goes back
        ready = desk.executor.transform(operations)
        sendable = [operation for operation in ready if isinstance(operation, Operation)]
        answers = Reply({})
        if sendable:
            self._sending = frozenset(operation.id or "" for operation in sendable)
            self._limit = desk.executor.limit()
            answers = await desk.executor.execute(self.lane, sendable, self._limit)
            if self.is_lost:
                await self._hand_back()
                return
        judged = [
            (task, operation, result if isinstance(result, Rejected) else answers[operation.id or ""])
            for task, operation, result in zip(self._tasks[: entered.size], operations, ready, strict=True)
        ]
        parted = {
            task.lease.key: desk.settler.finish_some(task, culprits)
            for task, result in zip(self._tasks, ready, strict=False)
            if isinstance(result, Rejected) and (culprits := find_culprits(task, desk.executor))
        }
        await self._conclude(judged, list(answers.values()), answers.feedback, parted)

    async def _conclude(
        self,
        judged: Sequence[tuple[Task, Operation, Outcome]],
        answers: Sequence[Outcome],
        feedback: Feedback = NO_FEEDBACK,
        parted: Mapping[str, Settlement] = MappingProxyType({}),
    ) -> None:
        """Judge what was answered, and hold or stop the lane if the provider said so.

        What the outcomes mean is decided before the first await, so that a cancellation cannot lose it. ``parted`` are
        settlements, by mailbox, that are decided already.
        """
        desk = self._desk
        # The budget is counted in calls, as a batch is sent again as a batch.
        if any(task.items[0].attempts == 0 for task, _, _ in judged):
            desk.health.earn_retry(self.lane)
        troubles = [answer for answer in answers if not isinstance(answer, Applied)]
        in_doubt = any(isinstance(answer, Unknown) for answer in troubles)
        ledger = Ledger(
            self.lane,
            affordable=not in_doubt or desk.health.afford_retry(self.lane),
            is_measured=bool(troubles) and self._pass is not None and self._pass.is_measured,
        )
        capabilities = desk.executor.providers[self.lane.provider].capabilities
        desk.health.note_throttling(
            self.lane, throttled=any(map(is_throttled, troubles)), admitted_at=self._admitted_at
        )
        for task, operation, outcome in judged:
            if task.lease.key in parted:
                ledger.settlements.append(parted[task.lease.key])
            else:
                desk.settler.judge(task, operation, outcome, capabilities, ledger)
        self._known = [*ledger.settlements, *(Settlement(task.lease) for task in self._tasks[len(judged) :])]
        await self._leave(answers, troubles, judged[0][1], feedback)
        try:
            if ledger.stop_reason is not None:
                await desk.queue.pause(Selector(*self.lane))
                desk.notify(LanePaused(desk.clock.now(), self.lane, ledger.stop_reason))
            elif ledger.hold is not None:
                await self._hold(ledger.hold)
        except QueueError as error:
            # The lane stays open: its next call will meet the same answer and try again to close it.
            desk.notify(BackendFailed(desk.clock.now(), type(error).__name__, 0.0))

    async def _hold(self, hold: Hold) -> None:
        desk = self._desk
        delay = max(hold.delay, MINIMUM_DELAY)
        if hold.alarm is None:
            await desk.admission.hold(self.lane, delay)
            return
        now = desk.clock.now()
        desk.health.hold(self.lane, now + delay)
        desk.notify(LaneParked(now, self.lane, now + delay, "untrusted", hold.alarm))
        await desk.queue.park(self.lane, now + delay)

    async def _leave(
        self,
        answers: Sequence[Outcome],
        troubles: Sequence[Outcome],
        first: Operation,
        feedback: Feedback = NO_FEEDBACK,
    ) -> None:
        """The provider answered, or did not, or was not asked: tell circuit and limiter.

        ``troubles`` are the answers that are not ``Applied``.
        """
        desk = self._desk
        entered, self._pass = self._pass, None
        if entered is None:
            return
        if not answers:
            await desk.admission.hand_back(entered, sent=False)
            return
        throttled = [answer for answer in troubles if isinstance(answer, RetryLater) and is_throttled(answer)]
        waits = [answer.retry_after for answer in throttled if answer.retry_after is not None]
        now = self._desk.clock.now()
        duration = now - entered.admitted_at
        # One bad record must not open the circuit for its neighbours: a batch failed if all of it failed.
        ok = len(troubles) < len(answers) or not all(map(is_failure, troubles))
        if self._desk.notify.active:
            counts = Counter(type(answer).__name__ for answer in answers)
            self._desk.notify(
                CallFinished(
                    now, self.lane, first.resource, first.kind, len(answers), duration, counts, bool(throttled)
                )
            )
        observation = _NOTHING_LEARNT
        if throttled or feedback is not NO_FEEDBACK:
            wait = min(max(waits), desk.settler.settings.retry.max_delay) if waits else None
            observation = Observation(bool(throttled), wait, feedback)
        await self._desk.admission.close(entered, observation, ok=ok, duration=duration)
