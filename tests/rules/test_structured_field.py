from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.structured_field import LONGEST_FIELD, MOST_ITEMS, Item, parse_items

strings = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("field", "items"),
    [
        ('"default";q=100;w=60', [Item("default", {"q": "100", "w": "60"})]),
        ('"a";r=1 , "b" ; r=2;t="3"', [Item("a", {"r": "1"}), Item("b", {"r": "2", "t": "3"})]),
        ("100, 100;w=10", [Item("100", {}), Item("100", {"w": "10"})]),
        ("limit=100, reset=5", [Item("limit=100", {}), Item("reset=5", {})]),
        ('"a, b; c";q=1;pk=:Y2xp=:', [Item("a, b; c", {"q": "1", "pk": ":Y2xp=:"})]),
        (r'"say \"hi\"";q=1', [Item('say "hi"', {"q": "1"})]),
        ('"cut off;q=1', [Item("cut off;q=1", {})]),
        ("token;Flag", [Item("token", {"flag": ""})]),
        (", ,;", [Item("", {})]),
        ("", []),
    ],
)
def test_lists_are_read_with_tolerance(field: str, items: list[Item]) -> None:
    assert parse_items(field) == items


@given(st.lists(st.tuples(strings, strings), max_size=5))
def test_strings_come_out_as_they_went_in(pairs: list[tuple[str, str]]) -> None:
    field = ", ".join(f"{quoted(value)};a={quoted(text)};b=7" for value, text in pairs)
    assert parse_items(field) == [Item(value, {"a": text, "b": "7"}) for value, text in pairs]


def test_long_fields_are_cut() -> None:
    assert len(parse_items("1," * 100)) == MOST_ITEMS
    assert len(parse_items("1" * 10_000)[0].value) == LONGEST_FIELD


@given(st.text(st.sampled_from('",;=\\ a1\n')) | st.text())
def test_nothing_raises(field: str) -> None:
    parse_items(field)
