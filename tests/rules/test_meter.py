"""Which meter a quota opens, and the laws that hold for every meter."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import cast

import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.model.feedback import Reading
from ratesync.model.quota import Adaptive, Budget, Concurrency, FixedWindow, LeakyBucket, Penalty, Period, Quota, Rate
from ratesync.rules.concurrency import Occupancy
from ratesync.rules.fixed_window import CountedWindow
from ratesync.rules.leaky_bucket import Bucket
from ratesync.rules.meter import LONGEST_DOUBT, Meter, open_meter
from ratesync.rules.penalty import PenaltyBox
from ratesync.rules.window import Window

EXAMPLES = 30
"""Of each law for each kind of quota."""

START = 1_700_000_000.0
FAR = 40 * 86_400.0
"""Seconds after which nothing is counted any more, whatever the quota."""

ROUNDING = 3e-6
"""Seconds by which a bucket may be late."""

QUOTAS: dict[str, Quota] = {
    "rate": Rate(6, per=2),
    "large rate": Rate(2_001, per=64),
    "fixed window": FixedWindow(6, per=2),
    "long fixed window": FixedWindow(6, per=3_600, zone="Asia/Kolkata"),
    "day": Budget(6),
    "month": Budget(6, every=Period.MONTH, zone="Europe/Berlin", resets_at=3_600),
    "bucket": LeakyBucket(6, restore=1.5),
    "concurrency": Concurrency(6),
    "penalty": Penalty(3),
}


@pytest.mark.parametrize(
    ("quota", "kind"),
    [
        (Rate(5, per=1), Window),
        (FixedWindow(5, per=1), CountedWindow),
        (Budget(5), CountedWindow),
        (LeakyBucket(5, restore=1), Bucket),
        (Concurrency(5), Occupancy),
    ],
)
def test_each_kind_of_quota_opens_its_meter(quota: Quota, kind: type[Meter]) -> None:
    meter = open_meter(quota, START, -math.inf)
    assert isinstance(meter, kind)
    assert (meter.limit, meter.used(START)) == (5, 0)
    assert meter.take(5, START)


@pytest.mark.parametrize("quota", [Penalty(5), Adaptive()])
def test_quotas_without_permits_hold_nothing_back_at_first(quota: Quota) -> None:
    meter = open_meter(quota, START, START)
    assert meter.limit is None
    assert all(meter.take(1_000, START) for _ in range(10))


def test_the_penalty_lasts_as_long_as_was_declared() -> None:
    meter = open_meter(Penalty(5), START, START)
    assert isinstance(meter, PenaltyBox)
    assert meter.seconds == 5


@pytest.mark.parametrize(
    "quota", [Rate(5, per=2), FixedWindow(5, per=2), Rate(5, per=3_600), FixedWindow(5, per=3_600)]
)
def test_while_it_is_not_known_what_was_used_calls_go_one_at_a_time(quota: Rate | FixedWindow) -> None:
    opened_at = (START // 3_600) * 3_600 + 0.5
    meter = open_meter(quota, opened_at, opened_at)
    assert meter.take(1, opened_at)
    assert not meter.take(1, opened_at + 1)
    assert meter.take(1, opened_at + min(quota.per, LONGEST_DOUBT))


def test_a_bucket_that_others_may_have_emptied_fills_since_then() -> None:
    meter = open_meter(LeakyBucket(10, restore=1), START, START - 3)
    assert meter.used(START) == 7


def test_a_budget_and_a_concurrency_start_unused() -> None:
    for quota in (Budget(3), Concurrency(3)):
        meter = open_meter(quota, START, START)
        assert all(meter.take(1, START) for _ in range(3))


@frozen
class Step:
    """What happens to a meter."""

    does: str
    wait: float
    """Seconds before it."""
    number: int
    """Which call, or how many."""
    cost: int
    kept: int
    reading: Reading
    is_sure: bool


WAIT = st.sampled_from([0.0, 0.0, 0.125, 0.5, 1.0, 2.0, 1e-3]) | st.floats(0, 70)
READING = st.builds(
    Reading,
    limit=st.none() | st.integers(0, 9),
    remaining=st.none() | st.integers(0, 9),
    reset_after=st.none() | st.floats(0, 5) | st.integers(0, 4_000).map(float),
)
STEP = st.builds(
    Step,
    does=st.sampled_from(["take", "take", "take", "settle", "settle", "refund", "learn", "refuse", "wait"]),
    wait=WAIT,
    number=st.integers(0, 10),
    cost=st.integers(1, 6),
    kept=st.sampled_from([0, 0, 1, 3]),
    reading=READING,
    is_sure=st.booleans(),
)
STEPS = st.lists(STEP, max_size=15)
ALONE_SINCE = st.sampled_from([-math.inf, -100.0, -1.0, 0.0]).map(lambda seconds: START + seconds)


@define(eq=False)
class Course:
    """A meter and the calls that are under way."""

    meter: Meter
    now: float = START
    calls: list[tuple[float, int]] = field(factory=list[tuple[float, int]])
    """When they were granted, and their cost."""

    def take(self, step: Step) -> None:
        if self.meter.take(step.cost, self.now, step.kept):
            self.calls.append((self.now, step.cost))

    def end(self, step: Step) -> None:
        granted_at, cost = self.calls.pop(step.number % len(self.calls))
        if step.does == "refund":
            self.meter.refund(cost)
            return
        self.meter.settle(cost, min(cost, step.number), granted_at, self.now)
        if step.does == "learn":
            self.meter.learn(step.reading, granted_at, self.now)
        elif step.does == "refuse":
            self.meter.refuse(self.now, self.now, is_sure=step.is_sure)

    def go(self, step: Step) -> None:
        self.now += step.wait
        if step.does == "take":
            self.take(step)
        elif step.does != "wait" and self.calls:
            self.end(step)

    def wishes(self, step: Step) -> Iterator[tuple[int, int]]:
        """Costs and how many permits are kept, as far as they can ever be granted."""
        for kept in {0, step.kept}:
            most = 6 if self.meter.limit is None else self.meter.limit - kept
            yield from ((cost, kept) for cost in sorted({1, 2, step.cost, most}) if 0 < cost <= most)

    def refunded(self) -> Meter:
        """The meter, had all calls under way been refunded now."""
        meter = copy.deepcopy(self.meter)
        for _, cost in self.calls:
            meter.refund(cost)
        return meter


def takes(meter: Meter, cost: int, now: float, kept: int) -> bool:
    """Whether it would grant that."""
    return copy.deepcopy(meter).take(cost, now, kept)


def course(kind: str, alone_since: float, steps: list[Step]) -> Iterator[tuple[Course, Step]]:
    """The meter after each step."""
    it = Course(open_meter(QUOTAS[kind], START, alone_since))
    for step in steps:
        it.go(step)
        yield it, step


every_meter = pytest.mark.parametrize("kind", QUOTAS)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS, st.floats(0, 1))
def test_free_at_is_the_first_instant_at_which_permits_can_be_taken(
    kind: str, alone_since: float, steps: list[Step], part: float
) -> None:
    for it, step in course(kind, alone_since, steps):
        for cost, kept in it.wishes(step):
            free_at = it.meter.free_at(cost, it.now, kept)
            assert free_at >= it.now
            if free_at == math.inf:
                assert not takes(it.meter, cost, it.now + FAR, kept)
                continue
            assert takes(it.meter, cost, free_at, kept)
            late = ROUNDING if kind == "bucket" else 0.0
            if free_at > it.now + late:
                just_before = math.nextafter(free_at - late, 0)
                assert not takes(it.meter, cost, just_before, kept)
                assert not takes(it.meter, cost, it.now + part * (just_before - it.now), kept)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_nothing_is_free_before_earliest_at_even_if_all_calls_are_refunded(
    kind: str, alone_since: float, steps: list[Step]
) -> None:
    for it, step in course(kind, alone_since, steps):
        for cost, kept in it.wishes(step):
            earliest_at = it.meter.earliest_at(cost, it.now, kept)
            assert it.now <= earliest_at <= it.meter.free_at(cost, it.now, kept)
            assert earliest_at <= it.refunded().free_at(cost, it.now, kept)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_a_refund_undoes_a_take(kind: str, alone_since: float, steps: list[Step]) -> None:
    for it, step in course(kind, alone_since, steps):
        before = copy.deepcopy(it.meter)
        if it.meter.take(step.cost, it.now, step.kept):
            it.meter.refund(step.cost)
        assert it.meter.used(it.now) == before.used(it.now)
        for cost, kept in it.wishes(step):
            assert it.meter.free_at(cost, it.now, kept) == before.free_at(cost, it.now, kept)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_what_is_taken_is_used(kind: str, alone_since: float, steps: list[Step]) -> None:
    for it, step in course(kind, alone_since, steps):
        used = it.meter.used(it.now)
        assert used >= 0
        assert it.meter.is_idle(it.now) <= (used == 0)
        if it.meter.limit is not None:
            assert used >= sum(cost for _, cost in it.calls)
            if it.meter.take(step.cost, it.now, step.kept):
                assert it.meter.used(it.now) == used + step.cost <= it.meter.limit - step.kept
                it.meter.refund(step.cost)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_after_a_long_rest_nothing_is_used(kind: str, alone_since: float, steps: list[Step]) -> None:
    it = Course(open_meter(QUOTAS[kind], START, alone_since))
    for step in steps:
        it.go(step)
    for granted_at, cost in it.calls:
        it.meter.settle(cost, cost, granted_at, it.now)
    assert it.meter.is_idle(it.now + FAR)
    assert it.meter.used(it.now + FAR) == 0
    most = it.meter.limit or 1
    assert it.meter.free_at(most, it.now + FAR) == it.now + FAR
    assert it.meter.take(most, it.now + FAR)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_permits_that_are_kept_lower_what_is_granted(kind: str, alone_since: float, steps: list[Step]) -> None:
    for it, step in course(kind, alone_since, steps):
        for kept in range(3):
            assert takes(it.meter, step.cost, it.now, kept + 1) <= takes(it.meter, step.cost, it.now, kept)
        for cost, kept in it.wishes(step):
            assert it.meter.free_at(cost, it.now, kept) >= it.meter.free_at(cost, it.now)
            assert it.meter.earliest_at(cost, it.now, kept) >= it.meter.earliest_at(cost, it.now)


@every_meter
@settings(max_examples=EXAMPLES)
@given(ALONE_SINCE, STEPS)
def test_equal_steps_give_equal_meters(kind: str, alone_since: float, steps: list[Step]) -> None:
    one, other = [Course(open_meter(QUOTAS[kind], START, alone_since)) for _ in range(2)]
    for step in steps:
        one.go(step)
        other.go(step)
        for cost, kept in one.wishes(step):
            assert one.meter.free_at(cost, one.now, kept) == other.meter.free_at(cost, one.now, kept)
        assert state(one.meter) == state(other.meter)


def state(meter: Meter) -> dict[str, object]:
    """All that a meter remembers, but for the rule that tells where windows begin."""
    names = cast("tuple[str, ...]", type(meter).__slots__)  # type: ignore[attr-defined]
    return {name: getattr(meter, name) for name in names if name not in {"next_start", "__weakref__"}}
