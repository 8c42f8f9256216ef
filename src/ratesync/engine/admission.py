"""May a call be made now? Asks the circuit and the limiter, and sees to it that refused lanes come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import NamedTuple

from attrs import frozen

from ratesync.clock import Clock
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.outage import Outage
from ratesync.engine.places import Places
from ratesync.engine.quotas import QuotaTable
from ratesync.errors import CostAboveLimit, LimiterError, PermitTimeout, QueueError
from ratesync.model.event import BackendFailed, LaneParked
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.quota import Adaptive, Demand, Observation, Permit, QuotaScope, Refusal
from ratesync.protocols import Limiter, QueueBackend
from ratesync.rules.circuit import Wait

_RESERVED_REST = 0.25
"""Seconds for which a mailbox rests that lacks only permits kept for higher priorities, where nobody knows when calls
under way will give others back. The lane stays open for those priorities."""

_LOOK_AGAIN = 5.0
"""Seconds after which a lane that waits for somebody's call to end is tried again, should the wake-up be elsewhere."""

_WAIT_ELSEWHERE = 1.0
"""Seconds for which a call waits for permits that other processes hold. Their lane stays open: who has them goes on."""


class Entry(NamedTuple):
    """Who wants to make a call."""

    lane: Lane
    resource: str
    kind: Kind | Inquiry
    size: int
    """Operations in the call."""
    priority: int
    """The highest priority among them."""


class Pass(NamedTuple):
    """The right to make one call now. End it with exactly one of ``close`` and ``hand_back``."""

    lane: Lane
    permit: Permit
    probe: bool
    admitted_at: float
    size: int
    """Most operations in the call; fewer than asked for where no quota lets so many through at once."""

    @property
    def is_measured(self) -> bool:
        """Whether the limiter finds the limit out by itself."""
        return any(isinstance(demand.quota, Adaptive) for demand in self.permit.demands)


@frozen
class Refused:
    """No call now. ``mailboxes_until`` is set if only these mailboxes must wait; else the whole lane was parked."""

    mailboxes_until: float | None = None


def waits_elsewhere(refusal: Refusal) -> bool:
    """Whether permits come when other processes return some, at an instant that nobody knows."""
    return refusal.is_elsewhere and refusal.retry_after is None and not refusal.is_reserved


class Admission:
    """The gate in front of the providers."""

    def __init__(
        self,
        *,
        queue: QueueBackend,
        limiter: Limiter,
        quotas: QuotaTable,
        health: HealthBoard,
        outage: Outage,
        clock: Clock,
        notify: Notifier,
    ) -> None:
        self._queue = queue
        self._limiter = limiter
        self._quotas = quotas
        self._health = health
        self._outage = outage
        self._clock = clock
        self._notify = notify
        self._blocked: dict[Hashable, deque[Lane]] = {}
        self._places = Places()

    async def enter(self, entry: Entry) -> Pass | Refused:
        """Ask for one call. When refused, the lane is parked until it makes sense to ask again.

        :raises CostAboveLimit: not even one operation could ever be let through.
        """
        lane = entry.lane
        held_until = self._health.held_until(lane)
        if held_until > self._clock.now():
            await self.park(lane, held_until, "throttled")
            return Refused()
        if self._outage.until > self._clock.now():
            await self.park(lane, self._outage.until, "limiter")
            return Refused()
        admitted = self._health.admit(lane)
        if isinstance(admitted, Wait):
            await self._park(lane, admitted.until, "circuit", lane)
            return Refused()
        entered = False
        try:
            size, answer = await self._reserve(entry)
            entered = isinstance(answer, Permit)
        finally:
            if not entered:
                self._health.abandon(lane, probe=admitted.probe)
        if answer is None:
            await self.park(lane, self._outage.until, "limiter")
            return Refused()
        if isinstance(answer, Permit):
            return Pass(lane, answer, admitted.probe, self._clock.now(), size)
        return await self._refuse(lane, answer)

    async def _reserve(self, entry: Entry) -> tuple[int, Permit | Refusal | None]:
        """Ask for permits, for fewer operations if so many are never let through at once; how many it is about.

        None: the limiter failed.
        """
        lane, resource, kind = entry.lane, entry.resource, entry.kind
        size = self._quotas.fitting(lane, resource, kind, entry.size)
        while True:
            demands = self._quotas.demands(lane, resource, kind, size)
            try:
                answer = await self._limiter.reserve(demands, priority=entry.priority)
                if isinstance(answer, Refusal) and waits_elsewhere(answer):
                    answer = await self._wait_elsewhere(demands, entry.priority, answer)
            except CostAboveLimit:  # the provider allows less than was declared
                if size == 1:
                    raise
                size //= 2
            except LimiterError as error:
                now = self._clock.now()
                self._notify(BackendFailed(now, type(error).__name__, self._outage.begin(now)))
                return size, None
            else:
                self._outage.end()
                return size, answer

    async def _wait_elsewhere(self, demands: Sequence[Demand], priority: int, refusal: Refusal) -> Permit | Refusal:
        """Other processes return what they do not use to one who waits in the limiter's line."""
        try:
            deadline = self._clock.now() + _WAIT_ELSEWHERE
            return await self._limiter.acquire(demands, priority=priority, deadline=deadline)
        except PermitTimeout:
            return refusal

    async def _refuse(self, lane: Lane, refusal: Refusal) -> Refused:
        demand, retry_after = refusal.demand, refusal.retry_after
        now = self._clock.now()
        quota = demand.quota
        if waits_elsewhere(refusal):
            return Refused(now + _WAIT_ELSEWHERE)
        if retry_after is None and refusal.is_reserved:
            return Refused(now + _RESERVED_REST)
        if retry_after is None:
            await self._park(lane, None, "quota", demand.scope)
            return Refused()
        one_resource = quota.resource is not None or quota.scope is QuotaScope.ENDPOINT
        if one_resource or refusal.is_reserved:
            # The lane's other resources, or priorities, may still be called: only these mailboxes wait.
            return Refused(self._places.take(demand, now, now + retry_after))
        if demand.scope.connection:
            await self._park(lane, now + retry_after, "quota", demand.scope)
        else:
            # Many lanes share this quota: each comes back for a place of its own, or all would come for one permit.
            await self._park(lane, self._places.take_for(lane, demand, now, now + retry_after), "quota", demand.scope)
        return Refused()

    async def _park(self, lane: Lane, until: float | None, reason: str, waits_for: Hashable) -> None:
        if until is not None:
            await self.park(lane, until, reason)
            return
        line = self._blocked.setdefault(waits_for, deque())
        if lane not in line:
            line.append(lane)
        await self.park(lane, self._clock.now() + _LOOK_AGAIN, reason)
        if lane not in self._blocked.get(waits_for, ()):  # a call ended while we parked
            await self._queue.park(lane, 0.0)

    async def hold(self, lane: Lane, delay: float) -> None:
        """The provider asked to be left alone for ``delay`` seconds."""
        until = self._clock.now() + delay
        self._health.hold(lane, until)
        await self.park(lane, until, "throttled")

    async def park(self, lane: Lane, until: float, reason: str) -> None:
        """Leave the lane alone until an instant."""
        await self._queue.park(lane, until)
        if self._notify.active:
            self._notify(LaneParked(self._clock.now(), lane, until, reason))

    async def close(self, entered: Pass, observation: Observation, *, ok: bool, duration: float) -> None:
        """The call was made; ``ok`` and ``duration`` (seconds) go to the circuit, the observation to the limiter."""
        self._limiter.done(entered.permit, observation)
        self._health.record(entered.lane, ok=ok, duration=duration, probe=entered.probe)
        await self._reopen(entered)

    async def hand_back(self, entered: Pass, *, sent: bool) -> None:
        """Nothing was learnt: the call was not made, or (``sent``) it was broken off."""
        if sent:
            self._limiter.done(entered.permit, Observation())
        else:
            self._limiter.refund(entered.permit)
        self._health.abandon(entered.lane, probe=entered.probe)
        await self._reopen(entered)

    async def _reopen(self, entered: Pass) -> None:
        # One lane for each thing that this call held: what it freed serves one call.
        if not self._blocked:
            return
        for waits_for in (entered.lane, *(demand.scope for demand in entered.permit.demands)):
            line = self._blocked.get(waits_for)
            if line is None:
                continue
            lane = line.popleft()
            if not line:
                del self._blocked[waits_for]
            # Where the backend fails here, the lane reopens by itself at _LOOK_AGAIN.
            with suppress(QueueError):
                await self._queue.park(lane, 0.0)
