from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.match_value import folded, json_forms, number_in, spellings, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"), (" Ada ", " Ada "), ("", None), (" \t", None), (None, None), (True, None), (7, "7"), (7.0, "7"),
        (1.5, "1.5"), (float("nan"), None), (float("inf"), None), (["Ada"], None), ({"a": 1}, None),
    ],
)  # fmt: skip
def test_texts_that_say_something_and_numbers_are_keys(value: Any, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-7", -7), ("1.5", 1.5), ("007", None), ("1_0", None), ("7 ", None), ("nan", None), ("inf", None),
     ("Ada", None), ("9" * 5000, None), ("1e400", None)],
)  # fmt: skip
def test_a_number_is_read_that_is_written_in_the_one_way(text: str, number: float | None) -> None:
    assert number_in(text) == number


def test_a_value_is_searched_for_as_it_is_trimmed_and_folded() -> None:
    assert spellings(" Ada@Example.org ") == (" Ada@Example.org ", "Ada@Example.org", "ada@example.org")
    assert spellings("7") == ("7",)


@given(st.text())
def test_every_spelling_is_the_same_when_folded(text: str) -> None:
    if folded(folded(text)) == folded(text):  # not so for a few characters of Unicode
        assert {folded(each) for each in spellings(text)} == {folded(text)}


def test_json_is_asked_for_a_number_as_a_text_and_as_a_number() -> None:
    assert json_forms(["Ada", '"', "7", "1.5"]) == ['"Ada"', '"\\""', '"7"', "7", '"1.5"', "1.5"]
