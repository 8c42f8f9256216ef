"""Laws of the exact limiter, for random quotas and callers in virtual time, checked against a plain count."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import anyio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ratesync.model.quota import Concurrency, Demand, Observation, Permit, Rate, Refusal, Scope
from ratesync.testing.virtual_time import Backend, run_virtual
from tests.memory.limiter_world import CALLER, SCOPES, TICK, Caller, Visit, World, most_of

RESERVE = st.sampled_from([0.0, 0.0, 0.25, 0.5])
QUOTA = st.one_of(
    st.builds(Rate, st.integers(1, 4), per=st.sampled_from([4, 8, 16, 40]).map(lambda it: it * TICK), reserve=RESERVE),
    st.builds(Concurrency, st.integers(1, 3), reserve=RESERVE),
)
HOLD = 8 * TICK


@define(eq=False)
class PlainCount:
    """All calls, and what fits beside them. No credit for the way, as some calls take no time at all."""

    under_way: list[tuple[int, Demand]] = field(factory=list[tuple[int, Demand]])
    """With the number of the permit."""
    ended: list[tuple[float, Demand]] = field(factory=list[tuple[float, Demand]])
    held_until: dict[Scope, float] = field(factory=dict[Scope, float])

    def free_at(self, visit: Visit, now: float, *, refunded: bool = False, priority: int | None = None) -> float:
        priority = visit.priority if priority is None else priority
        instants = {now, *self.held_until.values()}
        instants.update(at + demand.quota.per for at, demand in self.ended if isinstance(demand.quota, Rate))
        later = (at for at in sorted(instants) if at >= now)
        return next((at for at in later if self.fits(visit, at, priority, refunded=refunded)), math.inf)

    def fits(self, visit: Visit, at: float, priority: int, *, refunded: bool = False) -> bool:
        connections = [Scope(demand.scope.provider, demand.scope.connection) for demand in visit.demands]
        held = any(self.held_until.get(connection, 0) > at for connection in connections)
        return not held and self.has_room(visit, at, priority, refunded=refunded)

    def has_room(
        self, visit: Visit, at: float, priority: int, *, refunded: bool = False, before: float = math.inf
    ) -> bool:
        """Whether the visit's permits fit beside those in use, or those of them that were granted before a permit."""
        first = -math.inf if refunded else before
        return all(self.used(it, at, first) + it.cost <= most_of(it.quota, priority) for it in visit.demands)

    def used(self, wanted: Demand, at: float, before: float) -> int:
        counted = [demand for number, demand in self.under_way if number < before]
        if isinstance(wanted.quota, Rate):
            counted += [demand for ended_at, demand in self.ended if ended_at + wanted.quota.per > at]
        return sum(demand.cost for demand in counted if (demand.scope, demand.quota) == (wanted.scope, wanted.quota))


class ExactWorld(World):
    """Everything is compared with the plain count."""

    def __init__(self, demands: Sequence[Demand], callers: Sequence[Caller]) -> None:
        super().__init__(demands, callers)
        self.plain = PlainCount()

    async def run(self) -> None:
        for demand in self.demands:  # the shortest round trip takes no time
            self.limiter.done(await self.limiter.acquire([demand], priority=1), Observation())
            self.plain.ended.append((self.clock.now(), demand))
            self.provider.count([demand], self.clock.now())
        await anyio.sleep(TICK)
        await self.call_all()
        assert self.provider.overfull == []
        self.check_order()
        await self.check_the_end(100 * TICK)

    @override
    def fits(self, visit: Visit, now: float, priority: int) -> bool:
        return self.plain.fits(visit, now, priority)

    @override
    def answered(self, visit: Visit, answer: Permit | Refusal) -> None:
        now, fits = visit.came_at, self.plain.fits(visit, visit.came_at, visit.priority)
        in_line = [it for it in self.visits if it.left_at > now and it.rivals(visit)]
        if isinstance(answer, Permit):
            assert fits
            assert all(self.may_pass(visit, it, now) for it in in_line if self.is_first(it, in_line))
            return
        assert not fits or not all(self.may_pass(visit, it, now) for it in in_line)
        with self.line_served(now):
            is_sooner = self.plain.free_at(visit, now, priority=1) != self.plain.free_at(visit, now)
        assert answer.is_reserved == (visit.priority <= 0 and is_sooner)
        if not in_line:
            retry_at = math.inf if answer.retry_after is None else now + answer.retry_after
            assert retry_at == self.plain.free_at(visit, now)

    @contextmanager
    def line_served(self, now: float) -> Generator[None]:
        """Count what those have got who were served at this very instant, and whose tasks have yet to run."""
        before, waiting = list(self.plain.under_way), list[Visit]()
        for visit in sorted((it for it in self.visits if it.left_at > now), key=lambda it: it.place):
            ahead = (it for it in waiting if it.rivals(visit))
            if self.fits(visit, now, visit.priority) and all(self.may_pass(visit, it, now) for it in ahead):
                self.plain.under_way += [(-1, demand) for demand in visit.demands]
            else:
                waiting.append(visit)
        yield
        self.plain.under_way = before

    @staticmethod
    def is_first(visit: Visit, in_line: Sequence[Visit]) -> bool:
        return all(visit.place <= other.place or not visit.rivals(other) for other in in_line)

    @override
    def took(self, visit: Visit) -> None:
        assert visit.permit is not None
        # A hold may have come since.
        permit = visit.permit
        assert self.plain.has_room(visit, permit.granted_at, visit.priority, before=permit.id)
        self.plain.under_way += [(permit.id, demand) for demand in visit.demands]

    @override
    def timed_out(self, visit: Visit, deadline: float) -> None:
        now = self.clock.now()
        assert now >= deadline or self.plain.free_at(visit, now, refunded=True) > deadline

    @override
    def arrived(self, visit: Visit, caller: Caller) -> Observation:
        self.provider.count(visit.demands, self.clock.now())
        return Observation(throttled=caller.ends == "throttled", retry_after=HOLD)

    @override
    def end(self, visit: Visit, permit: Permit, caller: Caller, told: Observation) -> None:
        now = self.clock.now()
        for demand in visit.demands:
            self.plain.under_way.remove((permit.id, demand))
        if caller.ends == "refund":
            self.limiter.refund(permit)
            return
        self.plain.ended += [(now, demand) for demand in visit.demands]
        for demand in visit.demands if told.throttled else ():
            if demand.scope.connection:
                connection = Scope(demand.scope.provider, demand.scope.connection)
                self.plain.held_until[connection] = max(self.plain.held_until.get(connection, 0), now + HOLD)
        self.limiter.done(permit, told)


@given(
    st.lists(st.builds(Demand, st.sampled_from(SCOPES), QUOTA, st.just(1)), min_size=2, max_size=3, unique=True),
    st.lists(CALLER, min_size=10, max_size=40),
    st.sampled_from(["asyncio", "trio"]),
    st.integers(0, 3),
)
def test_windows_are_kept_in_order_and_without_loss_or_idling(
    demands: list[Demand], callers: list[Caller], backend: Backend, seed: int
) -> None:
    run_virtual(ExactWorld(demands, callers).run, backend=backend, seed=seed)
