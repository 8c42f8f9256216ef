from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.batching import group

steps = st.lists(st.tuples(st.sampled_from("abc"), st.integers()))


def label(step: tuple[str, int]) -> str:
    return step[0]


def test_steps_go_out_by_label_in_chunks() -> None:
    assert group(["a1", "b1", "a2", "a3", "b2"], lambda step: step[0], 2) == [["a1", "a2"], ["a3"], ["b1", "b2"]]


def test_nothing_makes_no_batch() -> None:
    assert group([], label, 3) == []


@given(steps, st.integers(1, 5))
def test_every_step_goes_out_once_and_in_the_order_of_its_label(pairs: list[tuple[str, int]], size: int) -> None:
    batches = group(pairs, label, size)
    for name in "abc":
        sent = [step for batch in batches for step in batch if step[0] == name]
        assert sent == [step for step in pairs if step[0] == name]


@given(steps, st.integers(1, 5))
def test_a_batch_has_one_label_and_is_full_unless_it_is_the_last_of_it(pairs: list[tuple[str, int]], size: int) -> None:
    batches = group(pairs, label, size)
    assert all(len({label(step) for step in batch}) == 1 for batch in batches)
    assert all(len(batch) <= size for batch in batches)
    assert all(
        len(before) == size for before, after in itertools.pairwise(batches) if label(before[0]) == label(after[0])
    )


@given(steps, st.integers(1, 5))
def test_labels_come_in_the_order_of_their_first_step(pairs: list[tuple[str, int]], size: int) -> None:
    first_come = list(dict.fromkeys(label(step) for step in pairs))
    assert list(dict.fromkeys(label(batch[0]) for batch in group(pairs, label, size))) == first_come


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        group([("a", 1)], label, size)
