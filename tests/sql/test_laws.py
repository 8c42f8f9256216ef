"""What holds for every cursor and every value."""

from __future__ import annotations

import enum
import json
from datetime import MAXYEAR, MINYEAR, UTC, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import CursorExpired
from ratesync.sql.position import Cursor, Position
from ratesync.sql.values import codec_of

NUMBERS = st.integers(0, 2**63 - 1)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))) | st.just(UTC)

MOMENTS = st.datetimes(timezones=ZONES).filter(lambda moment: MINYEAR < moment.year < MAXYEAR)
"""All but those that may be of the year 0 or 10000 in another zone."""


class Stage(enum.Enum):
    OPEN = 1
    WON = 2


KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "whole": (sa.Integer(), st.integers(-(2**63), 2**63 - 1)),
    "truth": (sa.Boolean(), st.booleans()),
    "number": (sa.Float(), st.floats(allow_nan=False, allow_infinity=False)),
    "fixed": (sa.Numeric(20, 4), st.decimals(allow_nan=False, allow_infinity=False, places=4)),
    "text": (sa.Text(), st.text(st.characters(codec="utf-8"))),
    "day": (sa.Date(), st.dates()),
    "hour": (sa.Time(), st.times()),
    "naive": (sa.DateTime(), st.datetimes()),
    "moment": (sa.DateTime(timezone=True), MOMENTS),
    "token": (sa.Uuid(), st.uuids()),
    "raw": (sa.LargeBinary(), st.binary()),
    "stage": (sa.Enum(Stage), st.sampled_from(Stage)),
}


@given(NUMBERS, NUMBERS, st.none() | st.text(st.characters(codec="utf-8")))
def test_a_cursor_says_what_was_put_into_it(transaction: int, number: int, listed: str | None) -> None:
    cursor = Cursor(Position(transaction, number), listed)
    assert Cursor.decode(cursor.encode()) == cursor


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(json.dumps))
def test_any_other_text_is_an_expired_cursor(text: str) -> None:
    try:
        cursor = Cursor.decode(text)
    except CursorExpired:
        return
    assert json.loads(cursor.encode()) == json.loads(text)


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_a_value_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    codec = codec_of(sa.Column("x", kind))
    value = data.draw(values)
    told = json.loads(json.dumps(codec.to_json(value)))
    assert codec.from_json(told) == value
    assert codec.to_json(codec.from_json(told)) == told, "it is always spelt alike"
