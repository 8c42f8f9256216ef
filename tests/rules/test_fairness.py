from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from ratesync.rules.fairness import charge, join

BATCH = 10
ROUNDING = 1e-6

weights = st.lists(st.floats(0.1, 10), min_size=1, max_size=6)
amounts = st.lists(st.integers(1, BATCH), min_size=1, max_size=200)


class Lanes:
    """Lanes of which all have work, served by lowest virtual time."""

    def __init__(self, weights: list[float]) -> None:
        self.weights = list(weights)
        self.times = [0.0] * len(weights)
        self.served = [0] * len(weights)
        self.batches = [0] * len(weights)
        self.current = 0.0

    def serve(self, amount: int) -> int:
        chosen = min(range(len(self.times)), key=self.times.__getitem__)
        self.current = self.times[chosen]
        self.times[chosen] = charge(self.times[chosen], amount, self.weights[chosen])
        self.served[chosen] += amount
        self.batches[chosen] += 1
        return chosen

    def add(self, weight: float, own: float = 0.0) -> int:
        self.weights.append(weight)
        self.times.append(join(own, self.current))
        self.served.append(0)
        self.batches.append(0)
        return len(self.times) - 1


@given(weights, amounts)
def test_service_for_its_weight_differs_by_at_most_one_batch(shares: list[float], amounts: list[int]) -> None:
    lanes = Lanes(shares)
    for amount in amounts:
        lanes.serve(amount)
        got = [served / weight for served, weight in zip(lanes.served, shares, strict=True)]
        for one, mine in zip(got, shares, strict=True):
            for other, theirs in zip(got, shares, strict=True):
                assert abs(one - other) <= max(BATCH / mine, BATCH / theirs) + ROUNDING


@given(weights, amounts, st.floats(0.1, 10))
def test_a_new_lane_waits_for_at_most_one_batch_of_each_other(
    shares: list[float], amounts: list[int], weight: float
) -> None:
    lanes = Lanes(shares)
    for amount in amounts:
        lanes.serve(amount)
    new = lanes.add(weight)
    before = list(lanes.batches)
    while lanes.serve(BATCH) != new:
        assert all(now - then <= 1 for now, then in zip(lanes.batches, before, strict=True))


@given(amounts, st.floats(0.1, 10))
def test_a_lane_that_was_idle_cannot_push_the_others_aside(amounts: list[int], weight: float) -> None:
    lanes = Lanes([weight])
    for amount in amounts:
        lanes.serve(amount)
    lanes.add(weight, own=0.0)
    for _ in range(20):
        lanes.serve(BATCH)
        assert abs(lanes.batches[1] - (lanes.batches[0] - len(amounts))) <= 1


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_lane_keeps_what_it_owes(own: float, current: float) -> None:
    assume(own > current)
    assert join(own, current) == own


def test_weight_divides_the_charge() -> None:
    assert charge(5.0, 10, 2.0) == 10.0
    assert join(0.0, 7.0) == 7.0


def test_a_lane_of_a_hundred_thousand_delays_a_lane_of_ten_by_at_most_one_batch() -> None:
    lanes = Lanes([1.0])
    for _ in range(5_000):
        lanes.serve(BATCH)
    small = lanes.add(1.0)
    assert small in {lanes.serve(BATCH), lanes.serve(BATCH)}
