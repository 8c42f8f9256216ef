"""Instances of an attrs class as a side of a sync: typed, copied, and nothing made to fit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import pytest
from attrs import define, field, frozen, validators

from ratesync.engine.sync.local_side import LocalSide
from ratesync.errors import ConfigurationError, InvalidPayload
from ratesync.mapping import MISSING, Missing
from ratesync.model.difference import ABSENT
from ratesync.model.operation import Fields
from ratesync.model.outcome import Applied, Rejected
from ratesync.objects import ObjectRecords
from ratesync.testing.local_suite import LocalStoreSuite
from tests.memory.test_records import ROWS
from tests.sync.desk import Desk

pytestmark = pytest.mark.anyio


@frozen
class Contact:
    name: str
    city: str = ""


@define
class ObjectHost:
    """Changes records as the host does."""

    store: ObjectRecords[Contact]
    count: int = 0

    async def put(self, fields: Fields) -> str:
        self.count += 1
        self.store.put(f"h{self.count}", Contact(**fields))
        return f"h{self.count}"

    async def change(self, record_id: str, fields: Fields) -> None:
        self.store.put(record_id, Contact(**fields))

    async def delete(self, record_id: str) -> None:
        self.store.remove(record_id)


class TestObjectRecords(LocalStoreSuite):
    @pytest.fixture
    def store(self) -> ObjectRecords[Contact]:
        return ObjectRecords(Contact)

    @pytest.fixture
    def host(self, store: ObjectRecords[Contact]) -> ObjectHost:
        return ObjectHost(store)

    @pytest.fixture
    def rows(self) -> Sequence[Fields]:
        return ROWS

    @pytest.fixture
    def optional(self) -> str:
        return "city"


class Stage(Enum):
    OPEN = "open"
    WON = "won"


@frozen
class Address:
    street: str


@frozen
class Deal:
    name: str
    amount: Decimal | None = None
    stage: Stage = Stage.OPEN
    closes_on: date | Missing | None = MISSING
    tags: tuple[str, ...] = ()
    address: Address | None = None
    chance: int = field(default=0, validator=validators.in_(range(101)))
    label: str = field(init=False, default="")


DEAL = Deal("Engine", Decimal("12.50"), Stage.WON, date(2026, 1, 31), ("big", "new"), Address("High Street"), 50)
FIELDS: Fields = {
    "name": "Engine",
    "amount": "12.50",
    "stage": "won",
    "closes_on": "2026-01-31",
    "tags": ["big", "new"],
    "address": {"street": "High Street"},
    "chance": 50,
}


async def apply(store: ObjectRecords[Any], patch: Any, record_id: str | None = None, op_id: str = "op") -> Any:
    return await store.apply(record_id, patch, if_version=None, op_id=op_id)


async def test_an_instance_is_a_view_and_a_view_an_instance() -> None:
    store = ObjectRecords(Deal)
    store.put("1", DEAL)
    assert (await store.read(["1"]))["1"].fields == FIELDS
    made = await apply(store, FIELDS)
    assert isinstance(made, Applied)
    assert store.get(made.record_id or "") == DEAL
    assert store.objects == {"1": DEAL, made.record_id: DEAL}
    store.put("1", attrs.evolve(DEAL, chance=70))
    assert store.get("1") == attrs.evolve(DEAL, chance=70)
    store.remove("1")
    store.remove("1")
    assert store.get("1") is None


async def test_what_a_view_lacks_or_takes_away_has_the_default_of_the_class() -> None:
    store = ObjectRecords(Deal)
    made = await apply(store, {"name": "Engine", "stage": ABSENT})
    assert made.record.fields == {
        "name": "Engine", "amount": None, "stage": "open", "tags": [], "address": None, "chance": 0
    }  # fmt: skip
    store.put("1", DEAL)
    changed = await apply(store, {"amount": ABSENT, "tags": ABSENT, "closes_on": ABSENT}, "1")
    assert isinstance(changed, Applied)
    assert store.get("1") == attrs.evolve(DEAL, amount=None, tags=(), closes_on=MISSING)


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        ({"name": 5}, ["name"]),
        ({"name": ABSENT}, ["name"]),
        ({"amount": "s3cret"}, ["amount"]),
        ({"amount": 12.5, "stage": "s3cret"}, ["amount", "stage"]),
        ({"closes_on": "s3cret"}, ["closes_on"]),
        ({"tags": "s3cret"}, ["tags"]),
        ({"tags": ["s3cret", 1]}, ["tags[1]"]),
        ({"address": {"street": "x", "city": "s3cret"}}, ["address.city"]),
        ({"chance": 1234567}, ["chance"]),
        ({"owner": "s3cret"}, ["owner"]),
        ({"label": "s3cret"}, ["label"]),
    ],
)
async def test_what_does_not_fit_the_class_is_rejected_by_name_and_nothing_is_changed(
    patch: Any, names: list[str]
) -> None:
    store = ObjectRecords(Deal)
    store.put("1", DEAL)
    for answer in (await apply(store, patch, "1"), await apply(store, {**FIELDS, **patch})):
        assert isinstance(answer, Rejected)
        assert all(f"{name}: " in answer.reason for name in names)
        assert "s3cret" not in answer.reason
        assert "1234567" not in answer.reason
    assert store.objects == {"1": DEAL}
    fixed = await apply(store, FIELDS)
    assert isinstance(fixed, Applied), "nothing is remembered of what was rejected"


@frozen
class Odd:
    key: UUID | str
    seen: set[str] = field(factory=set[str])


async def test_what_cannot_be_json_is_refused_where_it_is_put() -> None:
    store = ObjectRecords(Odd)
    with pytest.raises(InvalidPayload, match=r"Odd\.(key|seen)"):
        store.put("1", Odd("k", {"s3cret"}))
    wrong: Any = "many"
    deals = ObjectRecords(Deal)
    with validators.disabled():
        unfit = Deal("x", chance=wrong)
    with pytest.raises(InvalidPayload, match="chance"):
        deals.put("1", unfit)
    assert store.objects == {}
    with pytest.raises(ConfigurationError, match="no attrs class"):
        ObjectRecords(dict)


async def test_who_changes_an_instance_puts_it_again() -> None:
    @define
    class Loose:
        tags: list[str]

    store = ObjectRecords(Loose)
    ours = Loose(["a"])
    store.put("1", ours)
    ours.tags.append("b")
    found = store.get("1")
    assert found == Loose(["a"])
    assert found is not None
    found.tags.append("c")
    assert store.get("1") == Loose(["a"])


async def test_objects_are_kept_like_the_records_of_a_provider() -> None:
    desk = Desk()
    store = ObjectRecords(Contact)
    desk.local = store  # type: ignore[assignment]
    pair = desk.reconciler.pair
    desk.reconciler = attrs.evolve(desk.reconciler, pair=attrs.evolve(pair, local=LocalSide(store)))
    store.put("1", Contact("Ada", "London"))
    desk.crm.put("x1", {"name": "Bob"})
    desk.crm.put("x2", {"name": 5})
    run = await desk.sync()
    assert sorted(store.objects.values(), key=lambda each: each.name) == [Contact("Ada", "London"), Contact("Bob")]
    assert [trouble.reason for trouble in run.troubles] == ["Contact: name: must be of type str (type)"]
    await desk.sync()
    assert desk.crm.records["x1"].fields == {"name": "Bob", "city": ""}, "the default goes to the provider"
    store.put("1", Contact("Ada", "Paris"))
    desk.crm.put("x2", {"name": "Cy"})
    await desk.sync()
    assert "Paris" in {record.fields["city"] for record in desk.crm.records.values()}
    assert Contact("Cy") in store.objects.values()
    await desk.sync()
    before = desk.crm.writes, store.objects
    assert (await desk.sync()).actions == {}
    assert (desk.crm.writes, store.objects) == before
