from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.failure_window import BUCKETS, Buckets, count, within

calls = st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=60)
windows = st.floats(0.5, 100)
starts = st.floats(0, 2e9)


def counted(instants: list[float], failed: list[bool], window: float) -> Buckets:
    buckets: Buckets = ()
    for at, is_failed in zip(instants, failed, strict=True):
        buckets = count(buckets, window, at, failed=is_failed)
    return buckets


@given(calls, windows, starts, st.floats(0, 50))
def test_the_window_has_what_is_young_and_nothing_that_is_old(
    drafts: list[tuple[float, bool]], window: float, start: float, later: float
) -> None:
    """Between nine tenths and all of the window is covered, as the newest tenth is only begun."""
    instants = list(accumulate((delay for delay, _ in drafts), initial=start))[1:]
    failed = [is_failed for _, is_failed in drafts]
    now = (instants[-1] if instants else start) + later
    buckets = within(counted(instants, failed, window), window, now)
    rounding = 1e-5
    young = [is_failed for at, is_failed in zip(instants, failed, strict=True) if now - at < window * 0.9 - rounding]
    not_old = [is_failed for at, is_failed in zip(instants, failed, strict=True) if now - at < window + rounding]
    assert len(young) <= sum(bucket.calls for bucket in buckets) <= len(not_old)
    assert sum(young) <= sum(bucket.failures for bucket in buckets) <= sum(not_old)


@given(calls, windows, starts)
def test_buckets_are_few_and_in_order(drafts: list[tuple[float, bool]], window: float, start: float) -> None:
    instants = list(accumulate((delay for delay, _ in drafts), initial=start))[1:]
    buckets = counted(instants, [is_failed for _, is_failed in drafts], window)
    assert len(buckets) <= BUCKETS
    assert all(before.slot < after.slot for before, after in pairwise(buckets))
    assert all(0 <= bucket.failures <= bucket.calls for bucket in buckets)


def test_calls_of_one_tenth_share_a_bucket() -> None:
    assert counted([100.0, 100.5, 101.0], [True, False, False], 10.0) == ((100.0, 2, 1), (101.0, 1, 0))


def test_a_call_that_seems_to_come_from_the_past_counts_as_new() -> None:
    assert counted([100.0, 99.0], [False, True], 10.0) == ((100.0, 2, 1),)
