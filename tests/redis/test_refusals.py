"""Whether a refusal says that no call which ends here will tell of permits."""

from __future__ import annotations

import math

import pytest

from ratesync.model.quota import Concurrency, Demand, Scope
from ratesync.redis.limiter.answer import refusal
from ratesync.redis.limiter.book import Book
from ratesync.redis.limiter.lane import Wait
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.server.clock import ServerClock

CALLS = Demand(Scope("acme", "ada"), Concurrency(2))


@pytest.mark.parametrize(
    ("in_use", "others_out", "fair", "is_elsewhere"),
    [(2, False, None, False), (1, True, None, True), (2, False, 1, True), (0, False, None, True)],
)
def test_permits_are_elsewhere_unless_only_calls_under_way_here_hold_them(
    *, in_use: int, others_out: bool, fair: int | None, is_elsewhere: bool
) -> None:
    """None in use here: those that are held are kept for calls to come, so no call that ends would wake anybody."""
    lane = Book(KeyNames("p:", "acme"), ServerClock()).lane((CALLS,), 0, 0.0)
    (bucket, _), *_ = lane.costs
    bucket.in_use, bucket.others_out, bucket.fair = in_use, others_out, fair
    found = refusal(lane, Wait(bucket, math.inf, 0.0, is_reserved=False), 0.0)
    assert (found.demand, found.retry_after, found.is_elsewhere) == (CALLS, None, is_elsewhere)
