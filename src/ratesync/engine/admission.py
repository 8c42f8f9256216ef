"""May a call be made now? Asks the circuit and the limiter, and sees to it that refused lanes come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from contextlib import suppress

from attrs import frozen

from ratesync.clock import Clock
from ratesync.engine.health import HealthBoard
from ratesync.engine.notifier import Notifier
from ratesync.engine.quotas import QuotaTable
from ratesync.errors import QueueError
from ratesync.model.event import LaneParked
from ratesync.model.lane import Lane
from ratesync.model.quota import Demand, Observation, Permit, QuotaScope, Rate
from ratesync.protocols import Limiter, QueueBackend
from ratesync.rules.circuit import Wait

_LOOK_AGAIN = 5.0
"""Seconds after which a lane that waits for somebody's call to end is tried again, should the wake-up be elsewhere."""

_MOST_PLACES = 1000
"""Quotas of single resources whose latest place is remembered before the outdated ones are forgotten."""


@frozen
class Pass:
    """The right to make one call now. End it with exactly one of ``close`` and ``hand_back``."""

    lane: Lane
    permit: Permit
    probe: bool
    admitted_at: float


@frozen
class Refused:
    """No call now. ``mailboxes_until`` is set if only these mailboxes must wait; else the whole lane was parked."""

    mailboxes_until: float | None = None


class Admission:
    """The gate in front of the providers."""

    def __init__(
        self,
        *,
        queue: QueueBackend,
        limiter: Limiter,
        quotas: QuotaTable,
        health: HealthBoard,
        clock: Clock,
        notify: Notifier,
    ) -> None:
        self._queue = queue
        self._limiter = limiter
        self._quotas = quotas
        self._health = health
        self._clock = clock
        self._notify = notify
        self._blocked: dict[Hashable, deque[Lane]] = {}
        self._places: dict[Demand, float] = {}

    async def enter(self, lane: Lane, resource: str) -> Pass | Refused:
        """Ask for one call. When refused, the lane is parked until it makes sense to ask again."""
        held_until = self._health.held_until(lane)
        if held_until > self._clock.now():
            await self.park(lane, held_until, "throttled")
            return Refused()
        admitted = self._health.admit(lane)
        if isinstance(admitted, Wait):
            await self._park(lane, admitted.until, "circuit", lane)
            return Refused()
        entered = False
        try:
            answer = await self._limiter.reserve(self._quotas.demands(lane, resource))
            entered = isinstance(answer, Permit)
        finally:
            if not entered:
                self._health.abandon(lane, probe=admitted.probe)
        if isinstance(answer, Permit):
            return Pass(lane, answer, admitted.probe, self._clock.now())
        return await self._refuse(lane, answer.demand, answer.retry_after)

    async def _refuse(self, lane: Lane, demand: Demand, retry_after: float | None) -> Refused:
        now = self._clock.now()
        quota = demand.quota
        one_resource = quota.resource is not None or quota.scope is QuotaScope.ENDPOINT
        if one_resource and isinstance(quota, Rate) and retry_after is not None:
            # Other resources of the lane may still be called: only these mailboxes wait, each for a place of its own.
            return Refused(self._place(demand, now, now + retry_after))
        await self._park(lane, None if retry_after is None else now + retry_after, "quota", demand.scope)
        return Refused()

    def _place(self, demand: Demand, now: float, free_at: float) -> float:
        """The instant at which one more call will fit, behind all those that were sent away before."""
        quota = demand.quota
        spacing = quota.per / quota.permits if isinstance(quota, Rate) else 0.0
        if len(self._places) > _MOST_PLACES:
            self._places = {other: at for other, at in self._places.items() if at > now}
        place = max(free_at, self._places.get(demand, 0.0) + spacing)
        self._places[demand] = place
        return place

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
