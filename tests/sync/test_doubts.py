"""Creates of which nobody knows what came: they wait for a person, and do what that one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from attrs import evolve

from ratesync.engine.sync.doubt_book import DoubtBook
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.model.batch import CreateIdentity
from ratesync.model.create_in_doubt import CreateInDoubt
from ratesync.model.difference import Side
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Unknown
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


class Losing(FakeCrm):
    """The answer to the first create is lost, and maybe the create itself."""

    loses, is_made = True, True

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        if not (self.loses and operations[0].kind is Kind.CREATE):
            return await super().execute(lane, operations, keep)
        self.loses = False
        if self.is_made:
            await super().execute(lane, operations, keep)
        return {operation.id or "": Unknown("answer lost") for operation in operations}


class LosingAll(Losing):
    """The create never arrives."""

    is_made = False


async def in_doubt(crm: type[FakeCrm]) -> tuple[Desk, DoubtBook, CreateInDoubt]:
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.NONE), crm=crm)
    desk.local.put("l1", {"name": "Ada", "city": "x"})
    await desk.sync()
    desk.clock.at += 1000
    await desk.sync()
    book = DoubtBook(desk.reconciler.pair, desk.reconciler.books)
    (doubt,) = [each async for each in book.doubts()]
    assert (doubt.side, doubt.source_id, doubt.view["name"]) == (Side.EXTERNAL, "l1", "Ada")
    return desk, book, doubt


async def idle(desk: Desk, book: DoubtBook) -> None:
    await desk.sync()
    run = await desk.sync()
    assert (run.actions, run.left) == ({}, 0)
    assert [each async for each in book.doubts()] == []


async def test_a_record_that_somebody_found_is_linked_and_kept_alike() -> None:
    desk, book, doubt = await in_doubt(Losing)
    desk.local.change("l1", name="Ada Lovelace")
    assert (await desk.sync()).left > 0
    (made_id,) = desk.crm.records
    desk.crm.put(made_id, {**desk.crm.records[made_id].fields, "city": "edited there"})
    assert not await book.settle(doubt, "no such record")
    assert await book.settle(doubt, made_id)
    assert not await book.settle(doubt, None)
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])
    assert desk.local.records["l1"].fields["city"] == "edited there"
    await idle(desk, book)


async def test_a_record_that_was_not_made_is_made_with_the_next_pass() -> None:
    desk, book, doubt = await in_doubt(LosingAll)
    assert desk.crm.records == {}
    assert await book.settle(doubt, None)
    await desk.sync()
    assert desk.names() == (["Ada"], ["Ada"])
    await idle(desk, book)


async def test_a_record_that_is_linked_to_another_one_is_none_that_was_made() -> None:
    desk, book, doubt = await in_doubt(LosingAll)
    desk.local.put("l2", {"name": "Bob"})
    await desk.sync()
    (bobs,) = desk.crm.records
    assert not await book.settle(doubt, bobs)
    assert [each async for each in book.doubts()] == [doubt]
