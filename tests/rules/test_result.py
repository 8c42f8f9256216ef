"""What an adapter answers is an outcome that makes sense, or Unknown."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve

from ratesync import Applied, Cause, Conflict, Record, Rejected, RetryLater, Unknown
from ratesync.rules.result import check_result

RECORD = Record("1", {"a": 1}, "v")
anything: Any = 5


@pytest.mark.parametrize(
    "outcome",
    [
        Applied(),
        Applied("1", "v", RECORD),
        Conflict("taken"),
        Conflict("taken", RECORD),
        RetryLater("busy"),
        RetryLater("busy", Cause.THROTTLED, 0),
        RetryLater("busy", Cause.NOT_SENT, 2.5),
        RetryLater("busy", Cause.THROTTLED, math.inf),
        Rejected("wrong"),
        Rejected("wrong", "422"),
        Unknown("lost"),
    ],
    ids=repr,
)
def test_an_outcome_that_makes_sense_is_taken_as_it_is(outcome: Any) -> None:
    assert check_result(outcome) is outcome


@pytest.mark.parametrize(
    "result",
    [
        None,
        True,
        "applied",
        Applied,
        Applied(anything),
        Applied("1", anything),
        Applied("1", "v", anything),
        Applied("1", "v", Record(anything, {})),
        Applied("1", "v", Record("1", anything)),
        Applied("1", "v", Record("1", {}, anything)),
        Conflict(anything),
        Conflict("taken", anything),
        RetryLater(anything),
        RetryLater("busy", anything),
        Rejected(anything),
        Rejected("wrong", anything),
        Unknown(anything),
    ],
    ids=repr,
)
def test_anything_else_is_unknown_and_names_its_type(result: object) -> None:
    outcome = check_result(result)
    assert isinstance(outcome, Unknown)
    assert type(result).__name__ in outcome.reason


@pytest.mark.parametrize("seconds", [-1, math.nan, "5", True], ids=repr)
def test_a_senseless_wish_to_wait_counts_as_not_given(seconds: Any) -> None:
    later = RetryLater("busy", Cause.THROTTLED, seconds)
    assert check_result(later) == evolve(later, retry_after=None)
