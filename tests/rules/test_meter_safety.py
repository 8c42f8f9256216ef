"""Meters against strict providers of the same kind: what we send is never too much as they count it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.model.quota import FixedWindow, LeakyBucket, Quota, Rate
from ratesync.rules.meter import Meter, open_meter
from ratesync.testing.limiter_callers import Count, strict_count
from tests.rules.meter_course import Call, MeterCourse

EXAMPLES = 40
"""Of each law for each kind of quota."""

START = 1_700_000_000.3

PERMITS = st.integers(1, 10)
PER = st.floats(0.5, 20) | st.sampled_from([1.0, 10.0, 60.0])
QUOTAS: dict[str, st.SearchStrategy[Rate | FixedWindow | LeakyBucket]] = {
    "rate": st.builds(Rate, PERMITS, per=PER),
    "fixed window": st.builds(FixedWindow, PERMITS, per=PER),
    "bucket": st.builds(LeakyBucket, PERMITS, restore=st.floats(0.05, 20)),
}
every_kind = pytest.mark.parametrize("kind", QUOTAS)

JITTER = st.sampled_from([0.0, 0.0, 1.0]) | st.floats(0, 2)
WAY = st.floats(0, 0.5)
AHEAD = st.sampled_from([-0.999, 0.0, 0.999]) | st.floats(-0.999, 0.999)
"""How far the provider's clock is ahead, as a share of the guard."""

CALLS = st.lists(
    st.builds(Call, cost=st.sampled_from([1, 1, 1, 2, 10]), gap=JITTER, there=JITTER, back=JITTER),
    min_size=20,
    max_size=80,
)


def opened(quota: Quota, ahead: float) -> tuple[Meter, Count]:
    """A meter of which nothing is used, and its provider."""
    meter = open_meter(quota, START, -math.inf)
    provider = strict_count(quota, ahead=ahead * getattr(meter, "guard", 0.0))
    assert provider is not None
    return meter, provider


def begun(quota: Rate | FixedWindow | LeakyBucket, way: float, ahead: float, *, tells: bool = False) -> MeterCourse:
    """The first call has been made, in the shortest time there is."""
    meter, provider = opened(quota, ahead)
    it = MeterCourse(meter, provider, quota.permits, START, tells=tells)
    it.start(Call(1, 0.0, way, way))
    it.finish()
    return it


def others_come(it: MeterCourse, instant: float, cost: int) -> None:
    """Let somebody else make a call then, if the provider lets it."""

    def come() -> None:
        it.provider.count(cost, it.now)

    it.at(instant, come)


def on_its_way(call: Call, way: float) -> Call:
    """The call, with the shortest time that each way takes."""
    return Call(call.cost, call.gap, way + call.there, way + call.back)


@every_kind
@settings(max_examples=EXAMPLES)
@given(st.data(), WAY, AHEAD, st.booleans(), CALLS)
def test_alone_no_call_is_ever_refused(  # noqa: PLR0917  Hypothesis passes by name
    kind: str, data: st.DataObject, way: float, ahead: float, tells: bool, calls: list[Call]
) -> None:
    it = begun(data.draw(QUOTAS[kind]), way, ahead, tells=tells)
    for call in calls:
        it.start(on_its_way(call, way))
    it.finish()
    assert it.refused == 0


@every_kind
@settings(max_examples=EXAMPLES)
@given(st.data(), WAY, AHEAD, CALLS, st.lists(st.tuples(st.floats(0, 30), st.integers(1, 10)), max_size=4))
def test_one_call_at_a_time_is_refused_at_most_once_for_each_time_that_others_come(  # noqa: PLR0917  Hypothesis passes by name
    kind: str, data: st.DataObject, way: float, ahead: float, calls: list[Call], others: list[tuple[float, int]]
) -> None:
    it = begun(data.draw(QUOTAS[kind]), way, ahead, tells=True)
    it.most = 1
    for after, cost in others:
        others_come(it, it.now + after, cost)
    for call in calls:
        # Round trips shorter than a window: else an answer is as old as what it tells of.
        it.start(on_its_way(Call(call.cost, call.gap, call.there / 10, call.back / 10), way))
    it.finish()
    assert it.refused <= len(others)


@every_kind
@settings(max_examples=EXAMPLES)
@given(st.data(), WAY, st.integers(2, 8), CALLS, st.floats(0, 30), st.integers(1, 10))
def test_many_calls_are_refused_at_most_as_far_as_they_were_under_way_when_others_came(  # noqa: PLR0917  Hypothesis passes by name
    kind: str, data: st.DataObject, way: float, most: int, calls: list[Call], after: float, cost: int
) -> None:
    """Those under way when the others came, and as many that started before an answer told of them."""
    it = begun(data.draw(QUOTAS[kind]), way, 0.0, tells=True)
    it.most = most
    others_come(it, it.now + after, cost)
    for call in calls:
        it.start(Call(1, call.gap, way + 0.01 * call.there, way + 0.01 * call.back))
    it.finish()
    assert it.refused <= 2 * most


@every_kind
@settings(max_examples=EXAMPLES)
@given(st.data(), WAY, AHEAD, st.booleans(), CALLS, CALLS, JITTER)
def test_after_a_restart_at_most_one_call_is_refused(  # noqa: PLR0917  Hypothesis passes by name
    kind: str,
    data: st.DataObject,
    way: float,
    ahead: float,
    tells: bool,
    before: list[Call],
    after: list[Call],
    pause: float,
) -> None:
    """What the process that died had sent has arrived when the next one starts."""
    quota = data.draw(QUOTAS[kind])
    it = begun(quota, way, ahead, tells=tells)
    for call in before:
        it.start(on_its_way(call, way))
    it.go_to(max(it.now, it.arrives_by) + pause)
    it.restart(open_meter(quota, it.now, it.now))
    it.start(Call(1, 0.0, way, way))  # as before: it tells how long a way takes
    for call in after:
        it.start(on_its_way(call, way))
    it.finish()
    assert it.refused <= (0 if isinstance(quota, LeakyBucket) else 1)
