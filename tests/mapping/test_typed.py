"""Views as attrs classes: nothing is made to fit."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import pytest

from ratesync.errors import ConfigurationError
from ratesync.mapping import MISSING, Field, InvalidFields, Mapping, Missing, TypedMapping
from ratesync.mapping.codecs import choice, day, decimal, instant, integer, items


class Stage(Enum):
    OPEN = "open"
    WON = "won"


@attrs.frozen
class Deal:
    title: str
    amount: Decimal | None = None
    stage: Stage = Stage.OPEN
    closes_on: date | Missing | None = MISSING
    seen_at: datetime | Missing = MISSING
    count: int | Missing = MISSING
    tags: list[str] | Missing = MISSING
    id: str | None = None


MAPPING = Mapping(
    Field("title", "Name"),
    Field("amount", "Amount", decimal(2, wire="number")),
    Field("stage", "Stage", choice({"open": "O", "won": "W"})),
    Field("closes_on", "CloseDate", day()),
    Field("seen_at", "Seen", instant()),
    Field("count", "Count", integer()),
    Field("tags", "Tags", items(separator=";")),
    Field("id", "Id", direction="pull"),
)
TYPED = TypedMapping(MAPPING, Deal)
SEEN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
RECORD = {
    "Name": "Engine",
    "Amount": 12.5,
    "Stage": "W",
    "CloseDate": "2026-02-01",
    "Seen": "2026-01-31T09:30:00Z",
    "Count": 3,
    "Tags": "red;blue",
    "Id": "7",
}
DEAL = Deal("Engine", Decimal("12.50"), Stage.WON, date(2026, 2, 1), SEEN, 3, ["red", "blue"], "7")


def test_a_record_is_an_instance_and_comes_back() -> None:
    assert TYPED.get(RECORD) == DEAL
    assert TYPED.put(RECORD, DEAL) == RECORD
    assert TYPED.patch(RECORD, DEAL) == {}
    assert TYPED.canon(DEAL) == DEAL


def test_what_is_missing_stays_missing_and_none_clears() -> None:
    assert TYPED.get({"Name": "x", "Stage": "O"}) == Deal("x")
    assert TYPED.patch(RECORD, attrs.evolve(DEAL, count=MISSING, amount=None)) == {"Amount": None}
    assert "Count" not in TYPED.create(Deal("x"))


def test_a_change_is_sent_alone() -> None:
    assert TYPED.patch(RECORD, attrs.evolve(DEAL, stage=Stage.OPEN)) == {"Stage": "O"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 5),
        ("title", None),
        ("count", "3"),
        ("count", 5.9),
        ("count", True),
        ("closes_on", "no day"),
        ("seen_at", "2026-13-01T00:00:00Z"),
        ("stage", "lost"),
        ("tags", "red"),
        ("tags", [1]),
        ("amount", 12.5),
    ],
)
def test_nothing_is_made_to_fit(name: str, value: Any) -> None:
    with pytest.raises(InvalidFields) as caught:
        TYPED.structure({"title": "x", name: value})
    assert [error.path.partition("[")[0] for error in caught.value.errors] == [name]
    assert not isinstance(value, str) or value not in str(caught.value) or value in {"3", "red"}


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(InvalidFields) as caught:
        TYPED.structure({"title": "x", "titel": "y"})
    assert [(error.path, error.code) for error in caught.value.errors] == [("titel", "unknown_field")]


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidFields) as caught:
        TYPED.structure({"title": 5, "count": "3", "stage": "lost"})
    assert {error.path for error in caught.value.errors} == {"title", "count", "stage"}


@attrs.frozen
class Less:
    title: str


@attrs.frozen
class More(Deal):
    owner: str = ""


@pytest.mark.parametrize(("view", "problem"), [(Less, "lacks"), (More, "owner"), (dict, "attrs class")])
def test_a_class_that_does_not_go_with_the_mapping_is_refused(view: type[Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        TypedMapping(MAPPING, view)
