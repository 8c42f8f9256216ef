"""A window is compared with the plainest count of the same calls, and with a strict provider."""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.quota import Rate
from ratesync.rules.credit import CREDIT, SLACK, TRUSTED_AFTER, TRUSTED_ROUND_TRIPS
from ratesync.rules.window import SUB_WINDOWS, Window, open_window

START = 1_700_000_000.0


def trust(window: Window) -> None:
    """As if enough round trips, all of them endless, had been seen over enough windows."""
    window.credit.trusted = TRUSTED_ROUND_TRIPS


def used_up(permits: int, *, per: float, lasting: float = 0.0, trusted: bool = False) -> Window:
    """A window whose permits were all taken at START, by one call each, that ended after ``lasting`` seconds."""
    window = open_window(Rate(permits, per=per))
    if trusted:
        trust(window)
    assert all(window.take(1, START) for _ in range(permits))
    for _ in range(permits):
        window.settle(1, 1, START, START + lasting)
    return window


def test_permits_are_free_until_the_limit() -> None:
    window = open_window(Rate(3, per=10))
    assert window.take(2, START)
    assert not window.take(2, START)
    assert window.take(1, START)
    assert not window.take(1, START)
    assert window.used(START) == 3


def test_a_call_under_way_is_counted_however_long_it_takes() -> None:
    window = open_window(Rate(1, per=10))
    window.take(1, START)
    assert not window.take(1, START + 1_000)
    assert window.free_at(1, START + 1_000) == math.inf


def test_a_call_is_counted_until_its_window_has_passed_since_it_ended() -> None:
    window = used_up(1, per=10, lasting=4)
    assert not window.take(1, START + 13.999)
    assert window.take(1, START + 14)


def test_a_refund_is_free_at_once() -> None:
    window = open_window(Rate(2, per=10))
    window.take(2, START)
    window.refund(2)
    assert window.used(START) == 0
    assert window.take(2, START)


def test_the_wait_of_a_big_cost_ends_when_enough_calls_have_left() -> None:
    window = open_window(Rate(4, per=10))
    for second in range(4):
        window.take(1, START + second)
        window.settle(1, 1, START + second, START + second)
    assert [window.free_at(cost, START + 4) for cost in (1, 2, 4)] == [START + 10, START + 11, START + 13]


def test_the_wait_for_what_is_free_is_none() -> None:
    assert open_window(Rate(2, per=10)).free_at(2, START) == START


def test_only_calls_that_have_ended_surely_keep_others_waiting() -> None:
    window = open_window(Rate(3, per=10))
    window.take(3, START)
    assert window.earliest_at(3, START) == START
    window.settle(2, 2, START, START)
    assert [window.earliest_at(cost, START) for cost in (1, 2)] == [START, START + 10]


def test_a_window_is_idle_once_nothing_is_counted() -> None:
    window = open_window(Rate(1, per=10))
    assert window.is_idle(START)
    window.take(1, START)
    assert not window.is_idle(START)
    window.settle(1, 1, START, START + 1)
    assert not window.is_idle(START + 10.999)
    assert window.is_idle(START + 11)


def test_the_way_of_the_shortest_round_trip_is_credited_once_enough_were_seen() -> None:
    permits = 2 * TRUSTED_ROUND_TRIPS
    window = open_window(Rate(permits, per=10))
    window.take(permits, START)
    for call in range(TRUSTED_ROUND_TRIPS):
        window.settle(1, 1, START, START + 0.1 + call / 100)
    warm = START + 0.1 + TRUSTED_AFTER
    for call in range(TRUSTED_ROUND_TRIPS):
        assert window.counted_for == 10, "so far too few calls began with connections that were there"
        window.settle(1, 1, warm, warm + 0.2 + call / 100)
    credit = CREDIT * 0.1 - SLACK
    assert window.counted_for == pytest.approx(10 - credit)
    assert window.free_at(1, warm + 2) == pytest.approx(START + 0.1 + 10 - credit)


def test_round_trips_shorter_than_the_slack_earn_no_credit() -> None:
    window = open_window(Rate(1, per=1))
    trust(window)
    window.take(1, START)
    window.settle(1, 1, START, START + SLACK / 2)
    assert window.counted_for == 1


def test_a_shorter_round_trip_takes_credit_back_from_calls_that_ended_before() -> None:
    window = used_up(TRUSTED_ROUND_TRIPS, per=10, lasting=1, trusted=True)
    assert window.free_at(1, START + 2) == pytest.approx(START + 11 - CREDIT + SLACK)
    window.limit += 1
    window.take(1, START + 2)
    window.settle(1, 1, START + 2, START + 2)
    assert window.free_at(1, START + 2) == START + 11


def test_calls_slower_than_the_window_are_counted_to_their_end() -> None:
    window = used_up(TRUSTED_ROUND_TRIPS, per=1, lasting=5, trusted=True)
    assert window.is_idle(START + 5)


def test_a_large_window_keeps_few_entries() -> None:
    window = open_window(Rate(1_000_000, per=64))
    for tick in range(6_400):
        now = START + tick / 10
        assert window.take(100, now)
        window.settle(100, 100, now, now)
    assert window.used(START + 640) >= 64_000
    assert len(window.ends) <= SUB_WINDOWS + 1


def test_ends_in_one_sub_window_are_free_together_when_the_last_one_is() -> None:
    window = open_window(Rate(6_400, per=64))
    for now in (START, START + 0.5, START + 1, START + 1.01):
        window.take(1_600, now)
        window.settle(1_600, 1_600, now, now)
    assert [window.free_at(cost, START + 2) for cost in (1, 4_800, 4_801)] == [START + 65, START + 65, START + 65.01]


def test_a_window_that_was_emptied_starts_a_new_sub_window() -> None:
    window = open_window(Rate(6_400, per=64))
    window.settle(0, 0, START - 100, START)  # slower than the window itself
    window.credit.trusted = TRUSTED_ROUND_TRIPS
    assert window.used(START) == 0
    window.take(1, START)
    window.settle(1, 1, START, START + 0.5)
    assert window.used(START + 0.5) == 1


@define
class PlainCount:
    """The same count, by going through all calls; those that have ended are counted ``late`` seconds longer."""

    permits: int
    per: float
    trusted: bool
    late: float = 0.0
    trips: list[float] = field(factory=list[float])
    first_at: float = math.inf
    warm_trips: int = 0
    credit: float = 0.0
    ended: list[tuple[float, int]] = field(factory=list[tuple[float, int]])
    under_way: list[tuple[float, int]] = field(factory=list[tuple[float, int]])

    def settle(self, number: int, now: float) -> tuple[float, int]:
        started_at, cost = self.under_way.pop(number % len(self.under_way))
        self.first_at = min(self.first_at, now)
        self.trips.append(now - started_at)
        self.warm_trips += now - self.trips[-1] >= self.first_at + TRUSTED_AFTER
        if self.trusted or self.warm_trips >= TRUSTED_ROUND_TRIPS:
            self.credit = max(0.0, CREDIT * min(self.trips) - SLACK)
        self.ended.append((now, cost))
        return started_at, cost

    def refund(self, number: int) -> int:
        return self.under_way.pop(number % len(self.under_way))[1]

    def left(self, now: float) -> list[tuple[float, int]]:
        counted_for = self.per - self.credit
        return [(ended_at, cost) for ended_at, cost in self.ended if ended_at + counted_for + self.late > now]

    def used(self, now: float) -> int:
        return sum(cost for _, cost in self.left(now) + self.under_way)


STEP = st.tuples(
    st.sampled_from(["take", "take", "settle", "refund", "wait"]),
    st.integers(0, 40),
    st.integers(1, 5),
)


def run(window: Window, plains: list[PlainCount], steps: list[tuple[str, int, int]]) -> Iterator[float]:
    """Take the steps on all of them; yields each instant."""
    now = START
    for step, number, cost in steps:
        if step == "wait":
            now += number / 8
        elif step == "take" and window.take(cost, now):
            for plain in plains:
                plain.under_way.append((now, cost))
        elif step == "refund" and plains[0].under_way:
            refunded = [plain.refund(number) for plain in plains]
            window.refund(refunded[0])
        elif step == "settle" and plains[0].under_way:
            settled = [plain.settle(number, now) for plain in plains]
            started_at, taken = settled[0]
            window.settle(taken, taken, started_at, now)
        for plain in plains:
            plain.ended = plain.left(now)  # what has left does not come back when the credit shrinks
        yield now


PER = st.integers(1, 40).map(lambda ticks: ticks / 8)


@given(st.integers(1, 8), PER, st.booleans(), st.lists(STEP, max_size=120))
def test_an_exact_window_counts_as_going_through_all_calls_does(
    permits: int, per: float, trusted: bool, steps: list[tuple[str, int, int]]
) -> None:
    window, plain = open_window(Rate(permits, per=per)), PlainCount(permits, per, trusted)
    if trusted:
        trust(window)
    for now in run(window, [plain], [(step, number, min(cost, permits)) for step, number, cost in steps]):
        assert window.used(now) == plain.used(now) <= permits
        for cost in range(1, permits + 1):
            free_at = window.free_at(cost, now)
            if free_at == math.inf:
                assert sum(taken for _, taken in plain.under_way) + cost > permits
            else:
                assert plain.used(free_at) + cost <= permits
                assert free_at == now or plain.used(math.nextafter(free_at, 0)) + cost > permits


@given(PER, st.booleans(), st.lists(STEP, max_size=120))
def test_a_large_window_never_counts_less_and_hardly_longer(
    per: float, trusted: bool, steps: list[tuple[str, int, int]]
) -> None:
    permits, grain = 3_000, per / SUB_WINDOWS
    window = open_window(Rate(permits, per=per))
    if trusted:
        trust(window)
    least, most = PlainCount(permits, per, trusted), PlainCount(permits, per, trusted, late=grain)
    for now in run(window, [least, most], [(step, number, 500 * cost) for step, number, cost in steps]):
        assert least.used(now) <= window.used(now) <= most.used(now)
        assert len(window.ends) <= SUB_WINDOWS + 1


@given(st.integers(1, 8), st.lists(STEP, max_size=60))
def test_what_is_refused_does_not_fit(permits: int, steps: list[tuple[str, int, int]]) -> None:
    window, plain = open_window(Rate(permits, per=1)), PlainCount(permits, 1, trusted=False)
    for now in run(window, [plain], steps):
        fits = plain.used(now) + 1 <= permits
        assert window.take(1, now) == fits
        if fits:
            window.refund(1)


@define
class StrictProvider:
    """Counts each call at its own moment and refuses to see more than ``permits`` in any window."""

    permits: int
    per: float
    counted: list[tuple[float, int]] = field(factory=list[tuple[float, int]])

    def check(self) -> None:
        self.counted.sort()
        for position, (first_at, _) in enumerate(self.counted):
            inside = [cost for at, cost in self.counted[position:] if at - first_at < self.per - 1e-6]
            assert sum(inside) <= self.permits


MOMENT = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@given(
    st.integers(1, 10),
    st.floats(0.5, 20),
    st.floats(0, 0.5),
    st.lists(st.tuples(st.integers(1, 10), st.floats(0, 2), MOMENT), min_size=40, max_size=100),
)
def test_no_strict_provider_counts_more_than_is_allowed(
    permits: int, per: float, way: float, calls: list[tuple[int, float, float]]
) -> None:
    """Calls start as soon as the window lets them, take ``way`` seconds or more, and are counted at any moment.

    Any, that is, but the time that they need for the way there and back: ``way`` in all, seen by the first call.
    """
    window, provider = open_window(Rate(permits, per=per)), StrictProvider(permits, per)
    ends: list[tuple[float, int, float, int]] = []
    numbers = count()
    now = START
    for cost, jitter, moment in [(1, 0.0, 0.0), *calls]:
        wanted = min(cost, permits)
        while not window.take(wanted, now):
            free_at = window.free_at(wanted, now)
            if ends and ends[0][0] <= free_at:
                now, _, started_at, taken = heappop(ends)
                window.settle(taken, taken, started_at, now)
            else:
                now = free_at
        provider.counted.append((now + way / 2 + jitter * moment, wanted))
        heappush(ends, (now + way + jitter, next(numbers), now, wanted))
    provider.check()


def test_first_calls_that_build_their_connections_earn_no_credit() -> None:
    """Ten calls need half a second for their connections, later ones need next to nothing."""
    window, provider = open_window(Rate(10, per=1)), StrictProvider(10, 1)
    window.take(10, START)
    for _ in range(10):
        provider.counted.append((START + 0.5, 1))
        window.settle(1, 1, START, START + 0.5)
    now = window.free_at(10, START + 0.5)
    assert window.take(10, now)
    provider.counted.append((now, 10))
    provider.check()
