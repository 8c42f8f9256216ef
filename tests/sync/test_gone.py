"""Records that seem to be gone: one answer that finds nothing is not believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.link_codec import decode_mark
from ratesync.engine.sync.saving import Draft, draft_of, mark_write
from ratesync.engine.sync.side import Keep, Make, keep_all
from ratesync.engine.sync.sync_pass import Pass
from ratesync.model.batch import CreateIdentity
from ratesync.model.difference import Side
from ratesync.model.intent import Fate
from ratesync.model.lane import Lane
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.model.mark import Lack, Mark
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Outcome
from ratesync.model.record import Record
from ratesync.model.run import SyncRun
from ratesync.rules.reconcile import GoneMode, GonePolicy
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import NOT_FOUND, FakeCrm

pytestmark = pytest.mark.anyio
LACK = Lack("account", Side.EXTERNAL, "e9")


class Blinking(FakeCrm):
    """Finds nothing in the next call that reads, if it is blind."""

    is_blind = False

    @override
    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        answers = await super().execute(lane, operations, keep)
        if operations[0].kind is not Kind.READ or not self.is_blind:
            return answers
        self.is_blind = False
        return dict.fromkeys(answers, NOT_FOUND)


async def linked(tombstones: bool, **pair: Any) -> Desk:
    desk = Desk(evolve(PLAIN, tombstones=tombstones), crm=Blinking, **pair)
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    await desk.sync()
    return desk


def blind(desk: Desk) -> None:
    assert isinstance(desk.crm, Blinking)
    desk.crm.is_blind = True


@pytest.mark.parametrize("tombstones", [True, False])
async def test_an_edit_and_one_read_that_finds_nothing_make_no_second_record(tombstones: bool) -> None:
    desk = await linked(tombstones)
    desk.local.change("l1", name="Ada Lovelace")
    blind(desk)
    run = await desk.sync()
    assert run.actions == {"push": 1}
    assert run.situations == {"linked: push": 1}
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


@pytest.mark.parametrize("tombstones", [True, False])
async def test_a_delete_and_one_read_that_finds_nothing_bury_no_record_that_is_there(tombstones: bool) -> None:
    desk = await linked(tombstones)
    desk.local.remove("l1")
    blind(desk)
    run = await desk.sync()
    assert run.actions == {"delete": 1}
    assert desk.names() == ([], [])


@pytest.mark.parametrize("mode", [GoneMode.UNLINK, GoneMode.IGNORE])
async def test_one_read_that_finds_nothing_changes_no_link(mode: GoneMode) -> None:
    desk = await linked(tombstones=True, gone=GonePolicy(mode))
    desk.local.change("l1", name="Ada Lovelace")
    blind(desk)
    await desk.sync()
    assert [link.status for link in await desk.links()] == [LinkStatus.ACTIVE]
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


async def test_a_new_record_that_the_first_read_does_not_find_is_made_here_all_the_same() -> None:
    desk = Desk(crm=Blinking)
    desk.crm.put("x1", {"name": "Ada"})
    blind(desk)
    await desk.sync()
    assert desk.names() == (["Ada"], ["Ada"])


class Forgetful(Blinking):
    """Does not find what it has just made, once."""

    @override
    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        self.is_blind |= operations[0].kind is Kind.CREATE
        return await super().execute(lane, operations, keep)


async def test_a_record_that_is_made_anew_in_place_of_a_delete_is_not_deleted_for_one_read_that_misses_it() -> None:
    desk = Desk(evolve(PLAIN, tells_versions=False, answers_with_record=False), crm=Forgetful)
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    await desk.sync()
    (link,) = await desk.links()
    desk.crm.remove(link.external.record_id or "")
    each = Pass(desk.reconciler, SyncRun("run", 0.0), lambda _case: None)
    await each.pull()
    await each.sweep()
    desk.local.change("l1", name="Ada Lovelace")  # after its delete was put off: so it is made anew
    await each.delete()
    assert each.run.actions["resurrect"] == 1
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


async def test_a_create_that_is_not_wanted_any_more_counts_as_made_though_one_read_misses_its_record() -> None:
    desk = Desk(evolve(PLAIN, identity=CreateIdentity.CLIENT_ID), crm=Blinking)
    side, order = desk.reconciler.pair.external, Make("op", {"name": "Ada"}, "x1")
    desk.crm.put("x1", {"name": "Ada"})
    blind(desk)
    assert await side.make_sure(order, 1000.0, begun_ago=1000.0, is_wanted=False) == Applied("x1")
    desk.crm.remove("x1")
    assert await side.make_sure(order, 1000.0, begun_ago=1000.0, is_wanted=False) is Fate.NOT_MADE


async def test_who_comes_back_after_both_were_deleted_by_users_is_made_here_again() -> None:
    """Nobody knows a version that was deleted: that it is the old one says nothing."""
    desk = await linked(tombstones=True)
    (link,) = await desk.links()
    record_id = link.external.record_id or ""
    record: Record = desk.crm.records[record_id]
    desk.local.remove("l1")
    desk.crm.remove(record_id)
    await desk.sync()
    assert [link.status for link in await desk.links()] == [LinkStatus.TOMBSTONE]
    desk.crm.records[record_id] = record
    await desk.state.commit([mark_write(Mark(Side.EXTERNAL, record_id), desk.reconciler.books.keys)])
    await desk.sync()
    assert desk.names() == (["Ada"], ["Ada"])


async def test_what_a_record_waits_for_is_kept_though_nobody_marked_it() -> None:
    """Its delete was put off, and it is there again when that is due."""
    desk = Desk()
    books = desk.reconciler.books
    link = RecordLink("k", LinkEnd("l1"), LinkEnd("x1"))
    await books.commit([draft_of(Case([], link, lacks=(LACK,)), books.keys, clear=True)])
    (mark,), _ = await books.marks(None, 10)
    assert (mark.side, mark.record_id, mark.lacks) == (Side.LOCAL, "l1", (LACK,))


@pytest.mark.parametrize("is_marked_anew", [True, False])
async def test_what_a_record_waits_for_is_kept_though_another_engine_cleared_its_mark(is_marked_anew: bool) -> None:
    desk = Desk()
    books = desk.reconciler.books
    (revision,) = await desk.state.commit([mark_write(Mark(Side.LOCAL, "l1"), books.keys)])
    case = Case([Mark(Side.LOCAL, "l1", revision)], RecordLink("k", LinkEnd("l1"), LinkEnd("x1")), lacks=(LACK,))
    draft: Draft = draft_of(case, books.keys, clear=True)
    await books.commit([draft_of(Case(list(case.marks), case.link), books.keys, clear=True)])
    if is_marked_anew:
        await desk.state.commit([mark_write(Mark(Side.LOCAL, "l1"), books.keys)])
    await books.commit([draft])
    (stored,) = await desk.state.scan(books.keys.marks)
    assert decode_mark(stored.value, Side.LOCAL, "l1", 0).lacks == (() if is_marked_anew else (LACK,))
