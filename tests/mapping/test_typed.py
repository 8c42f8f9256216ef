"""Views as instances of attrs classes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import pytest
from attrs import frozen

from ratesync.errors import ConfigurationError
from ratesync.mapping import MISSING, Field, InvalidFields, Mapping, Missing, TypedMapping
from ratesync.mapping.codecs import choice, day, decimal, instant, integer, items, text, time_of_day


class Stage(Enum):
    OPEN = "open"
    WON = "won"


@frozen
class Address:
    street: str
    zip: str | None = None


@frozen(kw_only=True)
class Deal:
    name: str
    amount: Decimal | None = None
    stage: Stage = Stage.OPEN
    closes_on: date | Missing | None = MISSING
    at: time | Missing = MISSING
    seen_at: datetime | Missing = MISSING
    count: int | str | Missing = MISSING
    weight: float = 1.0
    active: bool | Missing = MISSING
    tags: list[str] | Missing = MISSING
    address: Address | Missing | None = MISSING
    extra: Any = None
    score: int | Missing = MISSING


MAPPING = Mapping(
    Field("name", "Name", text(strip=True)),
    Field("amount", "Amount", decimal(2, wire="number")),
    Field("stage", "Stage", choice({"open": "O", "won": "W"})),
    Field("closes_on", "Closes", day()),
    Field("at", "At", time_of_day()),
    Field("seen_at", "Seen", instant()),
    Field("count", "Count"),
    Field("weight", "Weight"),
    Field("active", "Active"),
    Field("tags", "Tags", items(text())),
    Field("address", "Address"),
    Field("extra", "Extra"),
    Field("score", "Score", integer(), direction="pull"),
)
TYPED = TypedMapping(MAPPING, Deal)
RECORD = {
    "Name": " Big one ",
    "Amount": 12.5,
    "Stage": "W",
    "Closes": "2026-01-31",
    "At": "09:30:00",
    "Seen": "2026-01-31T09:30:00Z",
    "Count": "many",
    "Weight": 2.0,
    "Active": True,
    "Tags": ["a"],
    "Address": {"street": "High Street", "zip": None},
    "Extra": {"a": [1]},
    "Score": 3,
    "Unmapped": 1,
}
DEAL = Deal(
    name="Big one",
    amount=Decimal("12.50"),
    stage=Stage.WON,
    closes_on=date(2026, 1, 31),
    at=time(9, 30),
    seen_at=datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
    count="many",
    weight=2.0,
    active=True,
    tags=["a"],
    address=Address("High Street"),
    extra={"a": [1]},
    score=3,
)


def test_a_record_becomes_an_instance_and_goes_back_unchanged() -> None:
    assert TYPED.get(RECORD) == DEAL
    assert TYPED.put(RECORD, DEAL) == RECORD
    assert TYPED.patch(RECORD, DEAL) == {}
    assert TYPED.patch(RECORD, attrs.evolve(DEAL, amount=Decimal(13), closes_on=None)) == {"Amount": 13, "Closes": None}
    assert TYPED.canon(attrs.evolve(DEAL, name=" Big one")) == DEAL


def test_what_is_missing_is_missing_and_not_none() -> None:
    assert TYPED.get({"Name": "x"}) == Deal(name="x")
    assert TYPED.create(Deal(name="x")) == {"Name": "x", "Amount": None, "Stage": "O", "Weight": 1.0, "Extra": None}
    assert TYPED.create(Deal(name="x", closes_on=None))["Closes"] is None
    assert "score" not in TYPED.fields(DEAL)
    assert TYPED.fields(DEAL)["amount"] == "12.50"


@pytest.mark.parametrize(
    ("view", "errors"),
    [
        ({"name": 5}, {"name": "type"}),
        ({"name": None}, {"name": "type"}),
        ({}, {"name": "required"}),
        ({"name": "x", "weight": True}, {"weight": "type"}),
        ({"name": "x", "weight": "1.5"}, {"weight": "type"}),
        ({"name": "x", "count": 5.9}, {"count": "type"}),
        ({"name": "x", "active": "false"}, {"active": "type"}),
        ({"name": "x", "amount": "hunter2"}, {"amount": "invalid"}),
        ({"name": "x", "amount": 12.5}, {"amount": "type"}),
        ({"name": "x", "closes_on": "31.1."}, {"closes_on": "invalid"}),
        ({"name": "x", "stage": "lost", "active": None}, {"stage": "unknown_choice", "active": "type"}),
        ({"name": "x", "what": 1, "ever": 2}, {"ever": "unknown_field", "what": "unknown_field"}),
        ({"name": "x", "address": {"street": "y", "city": "z"}}, {"address.city": "unknown_field"}),
        ({"name": "x", "address": "y"}, {"address": "type"}),
        ({"name": "x", "tags": [1], "address": {}}, {"tags[0]": "type", "address.street": "required"}),
    ],
)
def test_nothing_is_made_to_fit(view: dict[str, Any], errors: dict[str, str]) -> None:
    with pytest.raises(InvalidFields) as caught:
        TYPED.structure(view)
    assert {error.path: error.code for error in caught.value.errors} == errors
    assert "hunter2" not in str(caught.value)


@frozen
class Less:
    name: str


@frozen
class More:
    name: str
    other: str = ""


def test_a_class_that_does_not_match_the_mapping_is_refused() -> None:
    mapping = Mapping(Field("name", "Name"), Field("amount", "Amount"))
    with pytest.raises(ConfigurationError, match=r"Less lacks amount"):
        TypedMapping(mapping, Less)
    with pytest.raises(ConfigurationError, match=r"More has other"):
        TypedMapping(mapping, More)
    with pytest.raises(ConfigurationError, match="no attrs class"):
        TypedMapping(mapping, dict)
