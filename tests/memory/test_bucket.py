from __future__ import annotations

import math

import pytest

from ratesync.errors import CostAboveLimit
from ratesync.memory.bucket import KEPT_FOR
from ratesync.memory.bucket_table import SWEEP, SWEEP_AGAIN_AFTER, SWEEP_REST, BucketTable, merged
from ratesync.model.quota import Concurrency, Demand, Rate, Scope

START = 1_700_000_000.0


def demand(number: int) -> Demand:
    return Demand(Scope("acme", f"connection-{number}"), Rate(1_000, per=1))


def call(table: BucketTable, wanted: Demand, now: float) -> None:
    for bucket, cost in table.claims([wanted], 0, now):
        assert bucket.meter.take(cost, now)
        bucket.meter.settle(cost, cost, now, now)


def test_a_bucket_is_found_again() -> None:
    table = BucketTable(-math.inf)
    ((bucket, cost),) = table.claims([demand(1)], 0, START)
    assert (table.find(demand(1)), cost) == (bucket, 1)
    assert table.find(demand(2)) is None


def test_as_many_scopes_as_were_ever_seen_do_not_stay() -> None:
    table = BucketTable(-math.inf)
    for number in range(100_000):
        call(table, demand(number), START + number / 1_000)
        assert len(table) < 5_000


def test_what_is_idle_goes_as_others_are_used() -> None:
    table = BucketTable(-math.inf)
    for number in range(10_000):
        call(table, demand(number), START)
    now = START + 5
    for _ in range(10_000 // SWEEP + 1):
        call(table, demand(1), now)
        now += SWEEP_AGAIN_AFTER
    assert len(table) == 1


def test_a_sweep_that_finds_nothing_rests() -> None:
    table = BucketTable(-math.inf)
    table.claims([demand(1)], 0, START)
    table.claims([demand(1)], 0, START)  # for what was added
    table.claims([demand(1)], 0, START)  # nothing is idle
    call(table, demand(2), START)
    table.claims([demand(1)], 0, START + SWEEP_REST - 0.01)
    table.claims([demand(1)], 0, START + SWEEP_REST - 0.01)
    assert len(table) == 2


def test_a_bucket_is_kept_a_little_after_its_last_use() -> None:
    table, wanted = BucketTable(-math.inf), Demand(Scope("acme"), Concurrency(1))
    table.claims([wanted], 0, START)
    table.claims([], 0, START + KEPT_FOR - 0.01)
    assert table.find(wanted) is not None
    table.claims([], 0, START + KEPT_FOR + SWEEP_REST)
    assert table.find(wanted) is None


def test_what_is_counted_is_never_dropped() -> None:
    table, wanted = BucketTable(-math.inf), Demand(Scope("acme"), Rate(5, per=3_600))
    call(table, wanted, START)
    for number in range(10_000):
        call(table, demand(number), START + number / 10)
    found = table.find(wanted)
    assert found is not None
    assert found.meter.used(START + 1_000) == 1


def test_what_is_under_way_is_never_dropped() -> None:
    table, wanted = BucketTable(-math.inf), Demand(Scope("acme"), Concurrency(1))
    ((bucket, _),) = table.claims([wanted], 0, START)
    assert bucket.meter.take(1, START)
    for number in range(1_000):
        call(table, demand(number), START + number)
    assert table.find(wanted) is bucket


def test_one_bucket_named_twice_is_one_claim() -> None:
    table = BucketTable(-math.inf)
    demands = [demand(1), demand(2), demand(1)]
    first, second, _ = claims = table.claims(demands, 0, START)
    assert merged(claims, demands, 0) == [(first[0], 2), second]


def test_costs_that_add_up_to_too_much_are_an_error() -> None:
    table = BucketTable(-math.inf)
    demands = [Demand(Scope("acme"), Concurrency(3), 2)] * 2
    with pytest.raises(CostAboveLimit, match="acme: a cost of 4 is above"):
        merged(table.claims(demands, 0, START), demands, 0)
