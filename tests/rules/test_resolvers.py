from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.conflict import Defer, FieldConflict, SetValue, Take
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side
from ratesync.rules.resolvers import concat, first_of, manual, per_field, prefer, sum_delta, union
from ratesync.rules.sameness import is_same

numbers = st.integers(-1000, 1000)
lists = st.lists(st.sampled_from([0, 1, True, "x"]), unique_by=repr)


def conflict(local: Any, external: Any, base: Any = NOT_KNOWN, name: str = "a") -> FieldConflict:
    return FieldConflict(name, base, base, local, external)


def test_each_field_has_its_own_way() -> None:
    resolve = per_field({"a": prefer(Side.LOCAL)}, default=prefer(Side.EXTERNAL))
    assert resolve(conflict(1, 2)) == Take(Side.LOCAL)
    assert resolve(conflict(1, 2, name="b")) == Take(Side.EXTERNAL)


def test_the_first_that_decides_is_taken() -> None:
    resolve = first_of(union(), sum_delta(), manual("ask Ada"))
    assert resolve(conflict([1], [2])) == SetValue([2, 1])
    assert resolve(conflict(1, 2, 0)) == SetValue(3)
    assert resolve(conflict("x", "y")) == Defer("ask Ada")


@given(lists, lists)
def test_a_union_has_the_items_of_both_once(local: list[Any], external: list[Any]) -> None:
    resolution = union()(conflict(local, external))
    assert isinstance(resolution, SetValue)
    for item in [*local, *external]:
        assert sum(is_same(item, other) for other in resolution.value) == 1
    assert resolution.value[: len(external)] == external


@given(lists, lists, lists)
def test_an_item_that_one_side_took_away_stays_away(base: list[Any], local: list[Any], external: list[Any]) -> None:
    resolution = union()(conflict(local, external, base))
    assert isinstance(resolution, SetValue)

    def holds(items: list[Any], item: Any) -> bool:
        return any(is_same(item, other) for other in items)

    for item in [*base, *local, *external]:
        here, there = holds(local, item), holds(external, item)
        wanted = here and there if holds(base, item) else here or there
        assert holds(resolution.value, item) == wanted


def test_an_item_that_only_one_side_had_is_an_addition_of_the_other() -> None:
    found = union()(FieldConflict("a", [1, 2], [1], [1, 3], [1, 2]))
    assert found == SetValue([1, 2, 3])


@pytest.mark.parametrize(
    ("local", "external", "found"),
    [
        ("b", "a", SetValue("a | b")),
        ("a | b", "b", Take(Side.LOCAL)),
        ("a", "a | b", Take(Side.EXTERNAL)),
        ("", "a", Take(Side.EXTERNAL)),
    ],
)
def test_texts_are_joined_but_not_again_and_again(local: str, external: str, found: object) -> None:
    assert concat(" | ")(conflict(local, external)) == found


@pytest.mark.parametrize("values", [("a", None), (ABSENT, "a")])
def test_what_is_no_text_is_not_joined(values: tuple[Any, Any]) -> None:
    assert isinstance(concat()(conflict(*values)), Defer)


@given(numbers, numbers, numbers)
def test_both_changes_of_a_number_count(base: int, mine: int, theirs: int) -> None:
    assert sum_delta()(conflict(base + mine, base + theirs, base)) == SetValue(base + mine + theirs)


@pytest.mark.parametrize("values", [(True, 1, 1), (1, 1.5, 1), (1, 2, NOT_KNOWN), (ABSENT, 1, 1)])
def test_what_is_no_whole_number_is_not_added_up(values: tuple[Any, Any, Any]) -> None:
    assert isinstance(sum_delta()(conflict(*values)), Defer)


@pytest.mark.parametrize("values", [(ABSENT, [1]), ([1], None)])
def test_what_is_no_list_is_not_united(values: tuple[Any, Any]) -> None:
    assert isinstance(union()(conflict(*values)), Defer)
