from __future__ import annotations

import math

import pytest

from ratesync import Applied, Batch, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.errors import AnswerLost
from ratesync.http import bisect_refused
from tests.rules.test_matching import batch

pytestmark = pytest.mark.anyio

HUNDRED = batch(*map(str, range(100)))


class AllOrNothing:
    """A provider that refuses a batch with a bad record in it."""

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)
        self.sizes: list[int] = []
        self.applied: list[str] = []

    async def send(self, part: Batch) -> dict[str, Outcome]:
        self.sizes.append(len(part.operations))
        ids = [operation.record_id or "" for operation in part.operations]
        if self.bad & set(ids):
            return {operation.id or "": Rejected("one of them is bad") for operation in part.operations}
        self.applied += ids
        return {operation.id or "": Applied() for operation in part.operations}


@pytest.mark.parametrize("bad", [(), ("0",), ("99",), ("50",), ("3", "77")])
async def test_the_guilty_are_found_and_the_others_are_applied_once(bad: tuple[str, ...]) -> None:
    provider = AllOrNothing(*bad)
    outcomes = await bisect_refused(HUNDRED, provider.send)
    assert {identity for identity, outcome in outcomes.items() if isinstance(outcome, Rejected)} == {
        f"op{number}" for number in bad
    }
    assert sorted(provider.applied, key=int) == [str(number) for number in range(100) if str(number) not in bad]
    assert len(provider.sizes) <= 1 + len(bad) * 2 * math.ceil(math.log2(100))


async def test_what_is_not_reached_is_for_later() -> None:
    provider = AllOrNothing(*map(str, range(100)))
    outcomes = await bisect_refused(HUNDRED, provider.send, max_calls=10)
    assert len(provider.sizes) == 10
    assert len(outcomes) == 100
    assert {type(outcome) for outcome in outcomes.values()} == {Rejected, RetryLater}


async def test_an_error_holds_for_its_part_alone() -> None:
    provider = AllOrNothing("0")

    async def send(part: Batch) -> dict[str, Outcome]:
        if len(provider.sizes) == 2:
            raise AnswerLost("lost")
        return await provider.send(part)

    outcomes = await bisect_refused(HUNDRED, send)
    kinds = [type(outcomes[f"op{number}"]) for number in range(100)]
    assert kinds == [Unknown] * 25 + [RetryLater] * 75
    later = outcomes["op99"]
    assert isinstance(later, RetryLater)
    assert later.cause is Cause.UNAVAILABLE
