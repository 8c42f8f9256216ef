"""A provider as a side: through a mapping, and by what its capabilities allow."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync.doubt_book import DoubtBook
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.engine.sync.side import Make
from ratesync.mapping import Field, Mapping
from ratesync.mapping.codecs import decimal
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import CreateIdentity
from ratesync.model.difference import ABSENT
from ratesync.model.intent import Fate
from ratesync.model.lane import Lane
from ratesync.model.outcome import Applied, Conflict, Outcome
from ratesync.protocols.lens import Lens
from ratesync.protocols.local import LocalStore
from tests.sync.desk import PLAIN, Desk
from tests.sync.test_doubts import Losing

pytestmark = pytest.mark.anyio

CONTACT = Mapping(Field("name", "properties.name"), Field("amount", "properties.amount", codec=decimal(2)))


def mapped(desk: Desk, mapping: Lens) -> Desk:
    pair = desk.reconciler.pair
    side = ProviderSide(desk.crm, Lane("crm"), "contacts", mapping)
    desk.reconciler = evolve(desk.reconciler, pair=evolve(pair, external=side))
    return desk


def test_a_mapping_is_a_lens_and_the_ready_store_a_local_store() -> None:
    assert isinstance(CONTACT, Lens)
    assert isinstance(MemoryRecords(), LocalStore)


async def test_through_a_mapping_only_what_differs_is_sent_and_the_rest_stays() -> None:
    desk = mapped(Desk(), CONTACT)
    desk.crm.put("x1", {"properties": {"name": "Ada", "amount": "1.50", "owner": "o"}, "archived": False})
    await desk.sync()
    ((record_id, record),) = desk.local.records.items()
    assert dict(record.fields) == CONTACT.get(desk.crm.records["x1"].fields)
    desk.local.change(record_id, name="Ada Lovelace")
    await desk.sync()
    assert desk.crm.records["x1"].fields == {
        "properties": {"name": "Ada Lovelace", "amount": "1.50", "owner": "o"},
        "archived": False,
    }
    writes = desk.crm.writes
    desk.crm.put("x1", {"properties": {"name": "Ada Lovelace", "amount": "1.5", "owner": "other"}})
    await desk.sync()
    assert desk.crm.writes == writes, "another spelling and another owner are no news"


async def test_a_record_that_the_mapping_cannot_read_stops_no_other() -> None:
    desk = mapped(Desk(), CONTACT)
    desk.crm.put("x1", {"properties": {"name": "bad", "amount": "many"}})
    desk.crm.put("x2", {"properties": {"name": "good", "amount": "2.00"}})
    run = await desk.sync()
    assert desk.names()[0] == ["good"]
    assert run.left == 1
    assert "many" not in str([case.reason for case in desk.cases])
    desk.crm.put("x1", {"properties": {"name": "better", "amount": "3.00"}})
    await desk.sync()
    assert desk.names()[0] == ["better", "good"]


@pytest.mark.parametrize("identity", list(CreateIdentity))
@pytest.mark.parametrize("is_made", [True, False])
async def test_a_lost_create_is_found_by_what_the_provider_offers(identity: CreateIdentity, is_made: bool) -> None:
    desk = Desk(evolve(PLAIN, identity=identity))
    side = desk.reconciler.pair.external
    order = Make("op", {"name": "Ada"}, side.new_id("op"))
    if is_made:
        answers: dict[str, Outcome] = {}
        await side.write([order], answers.__setitem__)
        assert list(answers) == ["op"]
    found: Any = await side.make_sure(order, 1.0, begun_ago=1.0, is_wanted=True)
    if identity is CreateIdentity.NONE:
        assert found is Fate.CANNOT_TELL
        return
    if identity is CreateIdentity.LOOKUP and not is_made:
        assert found is Fate.NOT_MADE
        return
    assert isinstance(found, Applied)
    assert list(desk.crm.records) == [found.record_id]


async def test_a_lookup_that_finds_what_may_be_another_record_leaves_it_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def find_another(*_: object) -> Outcome:
        return Conflict("a person must look")

    desk = Desk(evolve(PLAIN, identity=CreateIdentity.LOOKUP), crm=Losing)
    monkeypatch.setattr(desk.crm, "lookup", find_another)
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    desk.clock.at += 1000
    await desk.sync()
    book = DoubtBook(desk.reconciler.pair, desk.reconciler.books)
    (doubt,) = [each async for each in book.doubts()]
    assert (doubt.source_id, doubt.view["name"]) == ("l1", "Ada")
    (made_id,) = desk.crm.records
    assert await book.settle(doubt, made_id)
    await desk.sync()
    assert list(desk.crm.records) == [made_id]


@pytest.mark.parametrize("identity", [CreateIdentity.CLIENT_ID, CreateIdentity.LOOKUP])
async def test_a_lost_create_that_nobody_wants_any_more_is_not_made(identity: CreateIdentity) -> None:
    desk = Desk(evolve(PLAIN, identity=identity))
    side = desk.reconciler.pair.external
    assert await side.make_sure(Make("op", {}, side.new_id("op")), 1.0, begun_ago=1.0, is_wanted=False) is Fate.NOT_MADE
    assert desk.crm.records == {}


async def test_the_ready_store_makes_a_record_once_for_each_operation() -> None:
    store = MemoryRecords()
    made = await store.apply(None, {"name": "Ada", "gone": ABSENT}, if_version=None, op_id="op")
    assert isinstance(made, Applied)
    assert made.record_id is not None
    store.remove(made.record_id)
    assert await store.apply(None, {"name": "other"}, if_version=None, op_id="op") == made
    assert store.records == {}
    assert isinstance(await store.apply("nothing", {}, if_version=None, op_id="op2"), Conflict)
    store.put("1", {"name": "Ada"})
    assert isinstance(await store.delete("1", if_version="old", op_id="op3"), Conflict)
    assert [record.record_id for record in await store.find("name", ["ADA "])] == ["1"]


async def test_what_the_store_gives_out_is_a_copy() -> None:
    store = MemoryRecords()
    store.put("1", {"tags": ["a"]})
    (await store.read(["1"]))["1"].fields["tags"].append("b")
    assert store.records["1"].fields == {"tags": ["a"]}
