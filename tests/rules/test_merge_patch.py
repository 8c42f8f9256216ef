"""The smallest patch between two records."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given

from ratesync.rules.merge_patch import apply, diff, first_emptied
from ratesync.rules.sameness import is_same
from ratesync.testing.strategies import fields


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), (1, 1.0), ("", None), ([1], [True]), ({"a": 1}, {"a": True}), ([1], [1, 2]), ({}, [])],
)
def test_values_that_json_tells_apart_are_not_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)


@given(fields())
def test_a_record_is_the_same_as_itself_and_needs_no_patch(record: dict[str, Any]) -> None:
    assert is_same(record, apply(record, {}))
    assert diff(record, record) == {}


def test_a_patch_names_only_what_changed() -> None:
    old = {"a": 1, "b": {"c": 1, "d": [1]}, "e": None, "f": 2, "g": {"h": 1}}
    new = {"a": 1, "b": {"c": 2, "d": [1]}, "g": 3, "i": "new"}
    assert diff(old, new) == {"b": {"c": 2}, "g": 3, "i": "new", "f": None}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {name: kept for name, inner in members if (kept := without_nulls(inner)) is not None}
    return value


@given(fields(), fields())
def test_a_server_that_applies_the_patch_has_the_new_record(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert is_same(without_nulls(apply(old, diff(old, new))), without_nulls(new))


def test_applying_a_patch_changes_neither() -> None:
    old = {"a": {"b": 1}}
    patch = {"a": {"c": 2}, "d": {"e": None}}
    assert apply(old, patch) == {"a": {"b": 1, "c": 2}, "d": {"e": None}}
    assert old == {"a": {"b": 1}}
    assert patch == {"a": {"c": 2}, "d": {"e": None}}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({}, None),
        ({"a": 2, "b": {"c": 3}}, None),
        ({"a": None}, "a"),
        ({"b": {"c": None}}, "b.c"),
        ({"b": {"d": None}, "e": None, "f": None}, None),
        ({"b": None}, "b"),
    ],
)
def test_a_patch_empties_what_held_something(patch: dict[str, Any], path: str | None) -> None:
    assert first_emptied({"a": 1, "b": {"c": 2, "d": None}, "e": None}, patch) == path
