"""Passes over two small sides: what is held, matched, set aside and recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync import steps
from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.link_codec import encode_link, encode_mark
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.memory.state import MemoryStateStore
from ratesync.model.conflict import SetValue, Take
from ratesync.model.difference import Side
from ratesync.model.intent import Deleting, Intent
from ratesync.model.lane import Lane
from ratesync.model.mark import Mark
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.resolvers import manual
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


async def many(count: int, **pair: Any) -> Desk:
    desk = Desk(**pair)
    for number in range(count):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    assert len(desk.crm.records) == count
    return desk


async def test_many_deletes_are_held_and_all_else_goes_on_until_they_are_approved() -> None:
    desk = await many(10)
    for number in range(5):
        desk.local.remove(f"l{number}")
    desk.local.put("l9", {"name": "changed"})
    run = await desk.sync()
    assert run.held == 5
    assert "max_delete_ratio" in run.hold_reason
    assert len(desk.crm.records) == 10
    assert "changed" in desk.names()[1]
    assert await Deletions(desk.reconciler, lambda _cases: None).approve() == 5
    assert (await desk.sync()).held == 0
    assert len(desk.crm.records) == 5


async def test_a_delete_that_is_taken_back_is_not_held_any_more() -> None:
    desk = await many(4, guard=DeletePolicy(max_deletes=0))
    desk.local.remove("l1")
    assert (await desk.sync()).held == 1
    desk.local.put("l1", {"name": "back again"})
    assert (await desk.sync()).held == 0
    assert "back again" in desk.names()[1]


async def test_an_empty_side_deletes_nothing() -> None:
    desk = Desk(evolve(PLAIN, tombstones=False))
    for number in range(3):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    desk.crm.records.clear()
    run = await desk.sync()
    assert run.held == 3
    assert len(desk.local.records) == 3


async def test_records_with_the_same_key_are_linked_and_no_record_is_made() -> None:
    desk = Desk(match_keys=("email",))
    desk.local.put("l1", {"email": "Ada@example.org ", "name": "Ada"})
    desk.crm.put("x1", {"email": "ada@example.org", "name": "Ada Lovelace"})
    desk.crm.put("x2", {"email": "bob@example.org", "name": "Bob"})
    await desk.sync()
    assert desk.names() == (["Ada Lovelace", "Bob"], ["Ada Lovelace", "Bob"])
    assert len(await desk.links()) == 2


async def test_what_cannot_be_told_apart_is_left_alone_and_told() -> None:
    desk = Desk(match_keys=("email",))
    desk.local.put("l1", {"email": "ada@example.org"})
    desk.crm.put("x1", {"email": "ada@example.org"})
    desk.crm.put("x2", {"email": "ada@example.org"})
    run = await desk.sync()
    assert run.left == 3
    assert {case.reason for case in desk.cases if case.reason} == {"first match: ambiguous"}
    assert (len(desk.local.records), len(desk.crm.records), await desk.links()) == (1, 2, [])


async def a_record_is_made_anew_behind_a_delete() -> Desk:
    desk = await many(1)
    (link,) = await desk.links()
    external_id = link.external.record_id or ""
    fields = desk.crm.records[external_id].fields
    step = Deleting(Side.EXTERNAL, link.external.version, fields)
    left = evolve(link, intent=Intent("op", "dead engine", 0.0, 0.0, step), gone_on=step.side.other)
    keys = desk.reconciler.books.keys
    await desk.state.commit([Write(keys.link(link.link_id), encode_link(left))])
    desk.local.remove("l0")
    desk.crm.remove(external_id)
    desk.crm.put(external_id, fields)
    await desk.sync()
    return desk


async def test_a_delete_that_a_crash_left_spares_a_record_that_was_made_anew() -> None:
    desk = await a_record_is_made_anew_behind_a_delete()
    assert desk.names() == (["n0"], ["n0"])


async def test_a_delete_carried_out_regardless_would_not_bring_the_new_record_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def always(_step: Any, _held: Any) -> bool:
        return True

    monkeypatch.setattr(steps, "may_delete", always)
    desk = await a_record_is_made_anew_behind_a_delete()
    assert desk.names()[0] == []


class Strict(FakeCrm):
    """Refuses a value, for good."""

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        fine = [operation for operation in operations if operation.fields.get("name") != "bad"]
        answers = dict(await super().execute(lane, fine, keep)) if fine else {}
        for operation in operations:
            if operation.fields.get("name") == "bad":
                answers[operation.id or ""] = Rejected("no such name", "422")
        return answers


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
async def test_a_record_that_is_refused_is_set_aside_until_it_changes(kind: Kind) -> None:
    desk = Desk(crm=Strict)
    desk.local.put("l1", {"name": "good"})
    desk.local.put("l2", {"name": "fine"})
    if kind is Kind.UPDATE:
        await desk.sync()
    desk.local.put("l1", {"name": "bad"})
    await desk.sync()
    quarantined = [link for link in await desk.links() if link.status == "quarantined"]
    assert [link.trouble for link in quarantined] == ["no such name"]
    assert "fine" in desk.names()[1]
    assert (await desk.sync()).actions == {}
    desk.local.put("l1", {"name": "better"})
    await desk.sync()
    assert desk.names() == (["better", "fine"], ["better", "fine"])


async def test_a_pass_over_many_links_with_no_news_asks_nothing_and_stores_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(evolve(PLAIN, tombstones=False))
    for number in range(300):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    await desk.sync()
    calls: list[str] = []

    async def never(self: object, *args: object) -> None:
        calls.append(str(args))

    monkeypatch.setattr(FakeCrm, "execute", never)
    monkeypatch.setattr(MemoryStateStore, "commit", never)
    run = await desk.sync()
    assert (run.actions, run.errors, calls) == ({}, [], [])


async def test_a_conflict_waits_and_its_decision_holds_for_just_these_values() -> None:
    desk = Desk(resolve=manual())
    desk.local.put("l1", {"name": "base", "city": "x"})
    await desk.sync()
    (link,) = await desk.links()
    external_id = link.external.record_id or ""
    book = ConflictBook(desk.reconciler.books)

    async def edit(here: str, there: str) -> None:
        desk.local.change("l1", name=here, city=here)
        desk.crm.put(external_id, {**desk.crm.records[external_id].fields, "name": there})
        await desk.sync()

    await edit("here", "there")
    assert desk.crm.records[external_id].fields == {"name": "there", "city": "here"}
    (found,) = [conflict async for conflict in book.conflicts()]
    assert (found.conflict.local, found.conflict.external, found.local_id) == ("here", "there", "l1")
    assert await book.resolve(found, Take(Side.LOCAL))
    await edit("here 2", "there")
    (newer,) = [conflict async for conflict in book.conflicts()]
    assert not await book.resolve(found, Take(Side.LOCAL))
    assert await book.resolve(newer, SetValue("both"))
    await desk.sync()
    assert desk.names() == (["both"], ["both"])
    assert [conflict async for conflict in book.conflicts()] == []
    (dropped,) = [each async for each in book.dropped()]
    assert sorted(loser.value for loser in dropped.losers) == ["here 2", "there"]
    assert dropped.external_id == external_id


async def test_flip_flop_values_that_the_sides_rewrite_for_ever_are_written_a_few_times_only() -> None:
    desk = Desk()
    desk.local.put("l1", {"name": "ada"})
    await desk.sync()
    (external_id,) = desk.crm.records
    for _ in range(20):
        desk.local.put("l1", {"name": "ada"})
        await desk.sync()
        desk.crm.put(external_id, {"name": "ADA"})  # an automation at the provider
        await desk.sync()
    assert desk.crm.writes <= 7
    (link,) = await desk.links()
    assert link.status == "quarantined"
    desk.crm.put(external_id, {"name": "Ada Lovelace"})
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])


async def test_two_automations_that_answer_each_other_with_new_values_are_stopped_and_who_edits_often_is_not() -> None:
    desk = Desk()
    desk.local.put("l1", {"name": "ada"})
    await desk.sync()
    (external_id,) = desk.crm.records
    for number in range(100):  # one side only: its edits are all carried over
        desk.local.change("l1", edit=str(number))
        await desk.sync()
    assert desk.crm.records[external_id].fields["edit"] == "99"
    before = desk.crm.writes
    for number in range(100):
        desk.crm.put(external_id, {**desk.crm.records[external_id].fields, "stamp": f"theirs {number}"})
        await desk.sync()
        desk.local.change("l1", stamp=f"ours {number}")
        await desk.sync()
    assert desk.crm.writes - before == 10
    (link,) = await desk.links()
    assert (link.status, link.trouble) == ("quarantined", "the sides rewrite each other's values again and again")
    desk.clock.at += 3600.0
    desk.crm.put(external_id, {"name": "ada"})
    desk.local.put("l1", {"name": "Ada"})
    await desk.sync()
    assert desk.names() == (["Ada"], ["Ada"])


async def test_revived_deletes_a_late_event_or_a_stale_read_brings_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = await many(3)
    old = dict(desk.crm.records)
    desk.local.remove("l1")
    await desk.sync()
    assert len(desk.crm.records) == 2
    (gone,) = set(old) - set(desk.crm.records)
    keys = desk.reconciler.books.keys
    late = Write(keys.mark(Side.EXTERNAL, gone), encode_mark(Mark(Side.EXTERNAL, gone)))
    await desk.state.commit([late])
    await desk.sync()
    assert len(desk.local.records) == 2
    desk.crm.records[gone] = old[gone]  # a replica that has not heard of the delete
    await desk.state.commit([late])
    await desk.sync()
    del desk.crm.records[gone]
    await desk.sync()
    assert desk.names() == (["n0", "n2"], ["n0", "n2"])


async def test_re_inserted_records_are_new_and_stand_once_on_each_side() -> None:
    desk = await many(3)
    desk.local.remove("l1")
    await desk.sync()
    desk.local.put("l1", {"name": "again"})
    for _ in range(3):
        await desk.sync()
    assert desk.names() == (["again", "n0", "n2"], ["again", "n0", "n2"])
    desk.local.remove("l0")
    desk.local.put("l0", {"name": "at once"})
    await desk.sync()
    assert desk.names() == (["again", "at once", "n2"], ["again", "at once", "n2"])
