"""A window of unknown limit against simulated providers: what share of the limit is used, and how often they refuse."""

from __future__ import annotations

import pytest

from tests.rules.unknown_limit import LAN, WAN, Provider, simulate

SEEDS = (1, 2)

STEPS = ((0.0, 100), (60.0, 40), (120.0, 150))
"""Instants from which a limit is in force."""


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
    simulate(provider, 360, WAN, seed=seed)
    assert provider.share(120, 360, limit) >= least
    assert provider.refusals(120, 360) < 10


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
    simulate(provider, 300, WAN, seed=seed)
    assert provider.share(150, 300, 100) >= 0.6
    assert provider.refusals(150, 300) < 3


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
