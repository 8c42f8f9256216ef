from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.feedback import Reading, ThrottleCause
from ratesync.model.quota import Adaptive, Budget, Concurrency, FixedWindow, LeakyBucket, Penalty, Period, Quota, Rate
from ratesync.rules.reading import match_cause, match_reading, may_be_meant

BURST, HOUR, DAY = Rate(190, per=10), FixedWindow(5_000, per=3_600), Budget(650_000)
BUCKET, PLACES = LeakyBucket(1_000, restore=50), Concurrency(10)
SILENT: list[Quota] = [PLACES, Penalty(30), Adaptive(per=10)]


@pytest.mark.parametrize(("per", "place"), [(10, 0), (3_600, 1), (86_400, 2), (10.05, 0), (11, None), (1, None)])
def test_a_told_window_is_the_quota_of_that_window(per: float, place: int | None) -> None:
    reading = Reading(per=per, limit=5_000, remaining=1)
    assert match_reading(reading, [BURST, HOUR, DAY, BUCKET, *SILENT]) == place


def test_a_window_of_a_day_is_not_told_of_a_monthly_budget() -> None:
    assert match_reading(Reading(per=86_400), [Budget(5, every=Period.MONTH)]) is None


def test_two_quotas_of_one_window_are_not_told_apart() -> None:
    assert match_reading(Reading(per=10, limit=190), [BURST, Rate(5, per=10)]) is None


@pytest.mark.parametrize(("limit", "place"), [(190, 0), (5_000, 1), (650_000, 2), (1_000, 3), (10, None), (7, None)])
def test_without_a_window_the_limit_tells(limit: int, place: int | None) -> None:
    assert match_reading(Reading(limit=limit), [BURST, HOUR, DAY, BUCKET, *SILENT]) == place


def test_two_quotas_of_one_limit_are_not_told_apart() -> None:
    assert match_reading(Reading(limit=190), [BURST, FixedWindow(190, per=60)]) is None


@pytest.mark.parametrize("quota", [BURST, HOUR, DAY, BUCKET])
@pytest.mark.parametrize("reading", [Reading(remaining=3), Reading(limit=7, remaining=3), Reading(reset_after=1)])
def test_the_only_quota_that_can_be_told_of_is_meant(quota: Quota, reading: Reading) -> None:
    assert match_reading(reading, [PLACES, quota, Penalty(30)]) == 1
    assert match_reading(reading, [quota, BURST if quota is HOUR else HOUR]) is None


@given(st.builds(Reading, limit=st.none() | st.just(10), per=st.none() | st.just(10.0)))
def test_nothing_is_told_of_places_penalties_and_measured_limits(reading: Reading) -> None:
    assert match_reading(reading, SILENT) is None
    assert match_reading(reading, []) is None


@pytest.mark.parametrize(
    ("cause", "quotas", "place"),
    [
        (ThrottleCause.RATE, [PLACES, BURST, DAY], 1),
        (ThrottleCause.RATE, [HOUR, DAY], 0),
        (ThrottleCause.RATE, [DAY, BUCKET], 1),
        (ThrottleCause.RATE, [BURST, HOUR], None),
        (ThrottleCause.RATE, [DAY], None),
        (ThrottleCause.BUDGET, [BURST, DAY], 1),
        (ThrottleCause.BUDGET, [DAY, Budget(9, every=Period.MONTH)], None),
        (ThrottleCause.CONCURRENCY, [BURST, PLACES], 1),
        (ThrottleCause.OVERLOAD, [BURST], None),
        (None, [BURST], 0),
        (None, [PLACES, BURST, Penalty(5)], 1),
        (None, [BURST, DAY], None),
        (None, [PLACES], None),
    ],
)
def test_a_cause_names_a_quota_where_only_one_is_of_its_kind(
    cause: ThrottleCause | None, quotas: list[Quota], place: int | None
) -> None:
    assert match_cause(cause, quotas) == place


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        (None, [BURST, HOUR, DAY, BUCKET, Concurrency(3), Penalty(30), Adaptive()]),
        (ThrottleCause.RATE, [BURST, HOUR, BUCKET, Concurrency(3), Penalty(30), Adaptive()]),
        (ThrottleCause.OVERLOAD, [Penalty(30)]),
        (ThrottleCause.BUDGET, [Penalty(30)]),
        (ThrottleCause.CONCURRENCY, [Penalty(30)]),
    ],
)
def test_a_refusal_for_another_cause_says_nothing_of_a_quota(cause: ThrottleCause | None, meant: list[Quota]) -> None:
    every: list[Quota] = [BURST, HOUR, DAY, BUCKET, Concurrency(3), Penalty(30), Adaptive()]
    assert [quota for quota in every if may_be_meant(cause, quota)] == meant
