"""The limiter of many processes, by way of a Redis."""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from itertools import count
from random import Random

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import LimiterError
from ratesync.model.quota import Demand, Observation, Permit, QuotaState, Refusal
from ratesync.protocols import Limiter
from ratesync.randomness import operation_id, system_random
from ratesync.redis.limiter.answer import refusal
from ratesync.redis.limiter.exchange import Membership
from ratesync.redis.limiter.home import Home
from ratesync.redis.limiter.lane import Lane, Waiter
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.limiter.pump import Pump
from ratesync.redis.limiter.question import Question
from ratesync.redis.limiter.root import QuotaRoot, too_late
from ratesync.redis.limiter.share import Share
from ratesync.redis.server.address import Address
from ratesync.redis.server.connect import MakeClient, by_client, connector
from ratesync.rules.priority import PRIORITY_STEP, score

BEATS = 15
"""Signs of life until a silent process is taken for dead."""


class RedisLimiter:
    """Grants permits to all processes that share a Redis or Valkey (6.2 or newer), and never more than there are.

    A process leases permits in blocks, about as many as are wanted soon and at most its part of a limit: a third, or
    less with more workers. Where several workers share a small limit it leases further ahead, up to half a window. So
    ten and more calls need one round trip, whether one process makes them or some; where workers also share a scarce
    ``Concurrency`` each call may need one to three. What is not wanted after all is returned. Who waits for permits
    that others hold hears when they are free: for that a process listens on a second connection while it holds permits
    of a ``Concurrency``. While somebody waits nobody keeps more of them than its part. Time is the server's: clocks of
    workers play no part. What a process holds that died counts as used when it has been silent for ``dead_after``.
    Nothing is sent while nothing is wanted or under way.

    While Redis does not answer, nothing is granted: ``reserve`` and ``snapshot`` raise
    :class:`~ratesync.errors.LimiterError` and ``acquire`` waits, until its deadline or until Redis is back. With a
    ``share``, calls are granted by that limiter then, under quotas divided by the last known number of workers, less a
    fifth; what they used is told when Redis is back. If only this process is cut off, the others do not know of them.

    A Redis that lost its data is noticed: all quotas stay closed for one window (at most a minute, at least two signs
    of life), while all workers tell again what they know.

    The estimate of an :class:`~ratesync.Adaptive` is shared: what one process is refused lowers it for all, and one
    probe at a time is made by all of them together.

    :param server: a URL, as :meth:`RedisServer.from_url` takes it, or a function that makes a client of coredis. Its
        own retries must be off.
    :param prefix: what all keys begin with.
    :param cold_start: somebody may have used the quotas before this Redis knew of them. Default True.
    :param dead_after: seconds of silence. Default 15.
    :param timeout: seconds for one exchange with the server. Default 1.
    :param share: a limiter of its own, such as a ``MemoryLimiter()``. Default: none.
    :param ssl_context: for TLS, with a URL. Default: one that trusts the system's authorities.
    """

    def __init__(
        self,
        server: str | MakeClient,
        *,
        prefix: str = "ratesync:",
        cold_start: bool = True,
        dead_after: float = 15.0,
        timeout: float = 1.0,
        share: Limiter | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if isinstance(server, str):
            address = Address.parse(server)
            connect = connector(address, timeout, ssl_context=ssl_context)
            connect_to_wait = connector(address, timeout, ssl_context=ssl_context, blocks=True)
        else:
            connect = connect_to_wait = by_client(server)
        self._prefix = prefix
        self._cold = cold_start
        self._dead_after = dead_after
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._name = operation_id(self._clock.now(), random or system_random())
        self._ids = count(1)
        self._arrivals = count()
        self._pumps: dict[str, Pump] = {}
        self._home = Home(connect, connect_to_wait)
        self._share = None if share is None else Share(share)
        self._users = 0

    async def open(self) -> None:
        """Get ready for use. Waits for nothing: a Redis that is not there yet is picked up when it comes."""
        self._users += 1
        if self._users == 1:
            self._home.open()

    async def close(self) -> None:
        """Return what is leased, and let go of the connection."""
        self._users -= 1
        if self._users == 0:
            await self._home.close()

    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        """Grant now or say how long to wait; see :meth:`ratesync.protocols.Limiter.reserve`.

        :raises LimiterError: Redis does not answer.
        """
        pump, lane, now = self._lane(demands, priority)
        root = pump.root
        permit = root.grant(lane, now)
        if permit is not None:
            return permit
        if pump.is_cut_off:
            return await self._reserve_share(pump, lane, priority)
        probe = self._waiter(lane, priority, now, math.inf)
        root.probes.append(probe)
        root.stir()
        try:
            await probe.alarm.wait()
        except BaseException:
            if probe in root.probes:
                root.probes.remove(probe)
            if probe.permit is not None:
                root.refund(probe.permit, self._clock.now())
            raise
        if probe.error is not None:
            raise probe.error
        return probe.permit or refusal(lane, probe.wait, self._clock.now())

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        """Wait for a permit; see :meth:`ratesync.protocols.Limiter.acquire`."""
        pump, lane, now = self._lane(demands, priority)
        root = pump.root
        if deadline is not None and deadline < now:
            raise too_late(lane, now)
        permit = root.grant(lane, now)
        if permit is None and pump.is_cut_off:
            permit = await self._acquire_share(pump, lane, priority, deadline)
        if permit is not None:
            return permit
        waiter = self._waiter(lane, priority, now, math.inf if deadline is None else deadline)
        root.line_up(waiter)
        try:
            with timeout_at(self._clock, deadline):
                await waiter.alarm.wait()
        except BaseException:
            if waiter.permit is not None:
                root.refund(waiter.permit, self._clock.now())
            elif waiter.error is None and not waiter.is_sent_away:
                self._leave(root, waiter)
            raise
        if waiter.error is not None:
            raise waiter.error
        if waiter.is_sent_away:
            return await self.acquire(demands, priority=priority, deadline=deadline)
        if waiter.permit is None:
            self._leave(root, waiter)
            raise too_late(lane, self._clock.now())
        return waiter.permit

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; see :meth:`ratesync.protocols.Limiter.done`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._root_of(permit).settle(permit, observation, self._clock.now())
        if self._share is not None:
            self._share.done(permit, observation)

    def refund(self, permit: Permit) -> None:
        """The call was not made; see :meth:`ratesync.protocols.Limiter.refund`.

        :raises LimiterError: the permit was given back before, or is another limiter's. Nothing changed.
        """
        self._root_of(permit).refund(permit, self._clock.now())
        if self._share is not None:
            self._share.refund(permit)

    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        """How each demand's quota stands now.

        :raises LimiterError: Redis does not answer.
        """
        states = list[QuotaState]()
        for demand in demands:
            pump = self._pump(demand.scope.provider)
            if pump.is_cut_off:
                raise pump.cut_off()
            lane = pump.root.book.lane((demand._replace(cost=1),), 1, self._clock.now())
            question = Question([demand], [lane])
            pump.root.questions.append(question)
            pump.root.stir()
            await question.alarm.wait()
            if question.error is not None:
                raise question.error
            states += question.states
        return states

    async def _reserve_share(self, pump: Pump, lane: Lane, priority: int) -> Permit | Refusal:
        if self._share is None or not pump.root.workers:
            raise pump.cut_off()
        answer = await self._share.reserve(lane.demands, priority, pump.root.workers)
        if answer is None:
            raise pump.cut_off()
        return self._shared(pump, lane, answer) if isinstance(answer, Permit) else answer

    async def _acquire_share(self, pump: Pump, lane: Lane, priority: int, deadline: float | None) -> Permit | None:
        if self._share is None or not pump.root.workers:
            return None
        inner = await self._share.acquire(lane.demands, priority, pump.root.workers, deadline)
        return None if inner is None else self._shared(pump, lane, inner)

    def _shared(self, pump: Pump, lane: Lane, inner: Permit) -> Permit:
        permit = pump.root.grant_anyway(lane, self._clock.now())
        if self._share is not None:
            self._share.keep(permit, inner)
        return permit

    def _pump(self, provider: str) -> Pump:
        pump = self._pumps.get(provider)
        if pump is None:
            member = Membership(
                holder=self._name, alive=self._dead_after, beat=self._dead_after / BEATS, cold=self._cold
            )
            root = QuotaRoot(KeyNames(self._prefix, provider), member, self._ids)
            pump = self._pumps[provider] = Pump(root, self._clock, self._timeout, self._share is not None)
            self._home.add(pump)
        return pump

    def _lane(self, demands: Sequence[Demand], priority: int) -> tuple[Pump, Lane, float]:
        providers = {demand.scope.provider for demand in demands}
        if len(providers) > 1:
            raise ValueError(f"demands at several providers ({', '.join(sorted(providers))}); ask for each by itself")
        pump = self._pump(providers.pop() if providers else "")
        now = self._clock.now()
        return pump, pump.root.book.lane(tuple(demands), priority, now), now

    def _waiter(self, lane: Lane, priority: int, now: float, deadline: float) -> Waiter:
        return Waiter(lane, priority, deadline, (score(now, priority, PRIORITY_STEP), next(self._arrivals)))

    def _leave(self, root: QuotaRoot, waiter: Waiter) -> None:
        root.leave(waiter)
        root.serve([bucket for bucket, _ in waiter.lane.calls], self._clock.now())

    def _root_of(self, permit: Permit) -> QuotaRoot:
        pump = self._pumps.get(permit.demands[0].scope.provider if permit.demands else "")
        if pump is None:
            raise LimiterError(
                f"Permit {permit.id} is not in use here. End each permit once, at the limiter that granted it."
            )
        return pump.root
