"""A window of unknown limit against simulated providers: how much of what they allow is used, and how often they refuse.

Callers always have work. Each call takes a random way there and back; the next in line is served when a call ends or
when the window says that permits are free. Nothing here reads a clock: a run takes as long as its calls are many.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random

import pytest
from attrs import define, field

from ratesync.rules.adaptive import AdaptiveWindow

LAN = (0.002, 0.005)
WAN = (0.03, 0.08)
START = 1_700_000_000.0
SEEDS = (1, 2, 3)

STEPS = ((0.0, 100), (60.0, 40), (120.0, 150))
"""Instants from which a limit is in force."""


@define
class Provider:
    """Refuses what does not fit into its window."""

    limits: tuple[tuple[float, int], ...]
    window: float = 1.0
    counts_refused: bool = False
    penalty: float = 0.0
    """Seconds for which everything is refused after a refusal."""
    prolongs: bool = False
    """A refusal during that time lets it begin again."""
    is_fixed: bool = False
    """Windows begin at multiples of their length, and do not slide."""
    held_until: float = -math.inf
    counted: deque[float] = field(factory=deque[float], init=False)
    accepted: list[float] = field(factory=list[float], init=False)
    refused: list[float] = field(factory=list[float], init=False)

    def answer(self, now: float) -> bool:
        since = now // self.window * self.window if self.is_fixed else now - self.window
        while self.counted and self.counted[0] <= since:
            self.counted.popleft()
        limit = next(limit for at, limit in reversed(self.limits) if at <= now)
        is_held = now < self.held_until
        is_accepted = not is_held and len(self.counted) < limit
        if is_accepted or self.counts_refused:
            self.counted.append(now)
        if not is_accepted and (self.prolongs or not is_held):
            self.held_until = now + self.penalty
        (self.accepted if is_accepted else self.refused).append(now)
        return is_accepted

    def share(self, since: float, until: float, limit: int) -> float:
        """Which share of the limit was used."""
        return self.between(self.accepted, since, until) / (limit * (until - since) / self.window)

    def refusals(self, since: float, until: float) -> float:
        """Refusals a minute."""
        return self.between(self.refused, since, until) * 60 / (until - since)

    def reached_after(self, since: float, until: float, limit: int) -> float:
        """Seconds until nine tenths of the limit were used over two seconds, or over a window if that is longer."""
        span, at = max(2.0, self.window), since
        while at + span <= until:
            if self.between(self.accepted, at, at + span) >= 0.9 * limit * span / self.window:
                return at - since
            at += 0.25
        return math.inf

    @staticmethod
    def between(instants: list[float], since: float, until: float) -> int:
        return bisect_left(instants, until) - bisect_left(instants, since)


def simulate(
    provider: Provider, until: float, way: tuple[float, float], *, seed: int, callers: int = 50, per: float = 1.0
) -> AdaptiveWindow:
    """Callers that always have work call the provider; its refusals are all that the window is told."""
    random, meter = Random(seed), AdaptiveWindow(per)
    events: list[tuple[float, int, str, float, bool]] = []
    numbers: Iterator[int] = iter(range(1 << 60))
    idle, alarm_at, now = callers, math.inf, 0.0
    while now < until:
        while idle and meter.take(1, START + now):
            idle -= 1
            heappush(events, (now + random.uniform(*way) / 2, next(numbers), "arrives", now, True))
        free_at = meter.free_at(1, START + now) - START if idle else math.inf
        if free_at < alarm_at or alarm_at <= now:
            alarm_at = free_at
            if free_at < math.inf:
                # An instant since 1970 has fewer digits than one since the start of the run.
                heappush(events, (max(free_at, now + 1e-6), next(numbers), "alarm", now, True))
        now, _, event, granted_at, is_accepted = heappop(events)
        if event == "arrives":
            is_accepted = provider.answer(now)
            heappush(events, (now + random.uniform(*way) / 2, next(numbers), "ends", granted_at, is_accepted))
        elif event == "ends":
            idle += 1
            meter.settle(1, 1, START + granted_at, START + now)
            if not is_accepted:
                meter.refuse(START + granted_at, START + now, is_sure=False)
    return meter


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", [LAN, WAN], ids=["lan", "wan"])
@pytest.mark.parametrize("callers", [50, 200], ids=["one", "four"])
def test_a_strict_provider_is_used_nearly_fully_whatever_it_allows(
    way: tuple[float, float], callers: int, seed: int
) -> None:
    """Four workers of 50 callers each share one window."""
    provider = Provider(STEPS)
    simulate(provider, 180, way, seed=seed, callers=callers)
    for since, until, limit, soon in ((0, 60, 100, 5), (60, 120, 40, 5), (120, 180, 150, 20)):
        assert provider.reached_after(since, until, limit) <= soon
        assert provider.share(since + 30, until, limit) >= 0.95
        assert provider.refusals(since + 30, until) < 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_provider_that_counts_refused_calls_too_is_used_nearly_fully(seed: int) -> None:
    """One refusal may bring another, as it takes the place of a call that was counted on."""
    provider = Provider(STEPS, counts_refused=True)
    simulate(provider, 180, WAN, seed=seed)
    for since, until, limit, soon in ((0, 60, 100, 5), (60, 120, 40, 5), (120, 180, 150, 20)):
        assert provider.reached_after(since, until, limit) <= soon
        assert provider.share(since + 30, until, limit) >= 0.93
        assert provider.refusals(since + 30, until) < 30


@pytest.mark.parametrize("raised_at", [40.0, 43.0, 46.0, 49.0])
@pytest.mark.parametrize("way", [LAN, WAN], ids=["lan", "wan"])
def test_a_raise_is_found_within_twenty_seconds_whenever_it_comes(way: tuple[float, float], raised_at: float) -> None:
    for seed in SEEDS:
        provider = Provider(((0.0, 40), (raised_at, 150)))
        simulate(provider, raised_at + 30, way, seed=seed)
        assert provider.reached_after(raised_at, raised_at + 30, 150) <= 20, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("limit", "window", "least"), [(100, 10, 0.75), (1_000, 60, 0.75), (60, 60, 0.8), (90, 3, 0.75)]
)
def test_a_window_longer_than_thought_is_used_without_many_refusals(
    limit: int, window: float, least: float, seed: int
) -> None:
    provider = Provider(((0.0, limit),), window=window)
    simulate(provider, 600, WAN, seed=seed)
    assert provider.share(60, 600, limit) >= least
    assert provider.refusals(60, 600) < 10


@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_shorter_than_thought_is_not_exceeded_and_used_as_thought(seed: int) -> None:
    provider = Provider(((0.0, 100),))
    simulate(provider, 120, LAN, seed=seed, per=10)
    assert provider.share(30, 120, 100) >= 0.099
    assert provider.refusals(30, 120) < 10


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("prolongs", [False, True])
def test_a_provider_that_locks_out_is_probed_seldom_and_used_fully(seed: int, *, prolongs: bool) -> None:
    provider = Provider(((0.0, 100),), penalty=30, prolongs=prolongs)
    simulate(provider, 400, WAN, seed=seed)
    assert provider.share(150, 400, 100) >= 0.8
    assert provider.refusals(150, 400) < 3


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outage_is_recovered_from(seed: int) -> None:
    provider = Provider(((0.0, 100), (30.0, 0), (70.0, 100)))
    simulate(provider, 180, WAN, seed=seed)
    assert provider.refusals(35, 70) < 15
    assert provider.reached_after(70, 180, 100) <= 60
    assert provider.share(140, 180, 100) >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", [LAN, WAN], ids=["lan", "wan"])
def test_fixed_windows_are_used_nearly_fully(way: tuple[float, float], seed: int) -> None:
    """Calls around the end of such a window are accepted although they are too many, which is learnt and unlearnt."""
    provider = Provider(STEPS, is_fixed=True)
    simulate(provider, 180, way, seed=seed)
    for since, until, limit in ((0, 60, 100), (60, 120, 40), (120, 180, 150)):
        assert provider.share(since + 30, until, limit) >= 0.95
        assert provider.refusals(since + 30, until) < 180


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limit_of_a_few_calls_is_used(seed: int) -> None:
    provider = Provider(((0.0, 2), (60.0, 1), (120.0, 5)))
    simulate(provider, 180, WAN, seed=seed)
    for since, until, limit in ((0, 60, 2), (60, 120, 1), (120, 180, 5)):
        assert provider.share(since + 30, until, limit) >= 0.9
        assert provider.refusals(since + 30, until) < 10


def test_a_run_can_be_repeated() -> None:
    runs = [simulate(Provider(STEPS), 90, WAN, seed=7) for _ in range(2)]
    assert runs[0].estimate == runs[1].estimate
