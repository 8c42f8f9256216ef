"""What is done about records by their situation, one way or both, within a scope; and which value is the latest."""

from __future__ import annotations

import random
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.errors import ConfigurationError
from ratesync.memory.records import MemoryRecords
from ratesync.model.change_time import ChangeTime
from ratesync.model.difference import Side, View
from ratesync.model.direction import Direction
from ratesync.model.held import Held
from ratesync.model.link import LinkEnd
from ratesync.model.record import Record
from ratesync.rules.change_times import change_time
from ratesync.rules.first_match import Situation
from ratesync.rules.references import Prospect, may_leave_out, parents_first
from ratesync.rules.resolvers import latest, prefer
from ratesync.rules.situations import CHOICES, Response, complete
from ratesync.testing.virtual_time import VirtualClock, run_virtual
from tests.sync.adapter import Crm
from tests.sync.desk import Desk
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_desk import TRIAL, binding, engine

pytestmark = pytest.mark.anyio


def only(situation: Situation, response: Response) -> Any:
    return complete({situation: response}, Direction.BOTH)


async def test_a_record_that_is_ignored_comes_up_when_it_changes_and_one_that_is_reported_in_each_pass() -> None:
    desk = Desk(policy=only(Situation.EXTERNAL_ONLY, Response.IGNORE))
    desk.crm.put("u1", {"name": "there"})
    run = await desk.sync()
    assert (run.left, run.situations, run.samples) == (
        0, {"external only: ignore": 1}, {"external only: ignore": ["external u1"]},
    )  # fmt: skip
    assert (await desk.sync()).situations == {}
    desk.crm.put("u1", {"name": "there 2"})
    assert (await desk.sync()).situations == {"external only: ignore": 1}
    desk = Desk(policy=only(Situation.EXTERNAL_ONLY, Response.REPORT))
    desk.crm.put("u1", {"name": "there"})
    for _ in range(2):
        run = await desk.sync()
        assert (run.left, run.situations) == (1, {"external only: left": 1})
    assert desk.local.records == {}


async def test_an_ambiguous_record_is_found_again_when_a_person_has_seen_to_it() -> None:
    desk = Desk(match_keys=("email",))
    desk.local.put("l1", {"email": "ada@example.org"})
    desk.crm.put("u1", {"email": "ada@example.org"})
    desk.crm.put("u2", {"email": "ada@example.org"})
    run = await desk.sync()
    assert (run.situations, run.reasons) == ({"ambiguous: left": 3}, {"first match: ambiguous": 3})
    desk.crm.remove("u2")
    run = await desk.sync()
    assert run.situations["unlinked match: link"] == 1
    assert (len(desk.local.records), len(desk.crm.records), run.left) == (1, 1, 0)


async def test_samples_are_few_however_many_records_there_are() -> None:
    desk = Desk()
    for number in range(30):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    run = await desk.sync()
    assert run.situations == {"local only: create": 30}
    assert len(run.samples["local only: create"]) == 5


def in_scope(view: View) -> bool:
    return bool(view.get("active"))


async def test_what_leaves_the_scope_is_left_alone_and_never_deleted_and_goes_on_when_it_is_back() -> None:
    desk = Desk(scope=in_scope, resolve=prefer(Side.LOCAL))
    desk.local.put("l1", {"name": "Ada", "active": True})
    desk.local.put("l2", {"name": "Bob", "active": False})
    run = await desk.sync()
    assert run.situations == {"local only: create": 1, "out of scope: ignore": 1}
    ((external_id, record),) = desk.crm.records.items()
    desk.local.change("l1", active=False)
    await desk.sync()
    assert desk.crm.records[external_id].fields == {**record.fields, "active": False}  # the edit that ends it goes over
    desk.local.change("l1", name="Ada L.")
    desk.crm.put(external_id, {**desk.crm.records[external_id].fields, "city": "Paris"})
    run = await desk.sync()
    assert run.situations == {"out of scope: ignore": 1}
    assert desk.names() == (["Ada L.", "Bob"], ["Ada"])
    desk.local.change("l1", active=True)
    await desk.sync()
    assert desk.crm.records[external_id].fields == {"name": "Ada L.", "active": True, "city": "Paris"}
    assert desk.local.records["l1"].fields == {"name": "Ada L.", "active": True, "city": "Paris"}
    desk.local.change("l1", active=False)
    await desk.sync()
    desk.local.remove("l1")
    await desk.sync()
    assert external_id in desk.crm.records


async def test_a_scope_that_raises_leaves_the_record_and_says_so() -> None:
    def broken(_view: View) -> bool:
        raise KeyError("secret")

    desk = Desk(scope=broken)
    desk.local.put("l1", {"name": "Ada"})
    run = await desk.sync()
    assert (run.left, run.reasons) == (1, {"KeyError in the scope": 1})


@pytest.mark.parametrize("direction", [Direction.PUSH, Direction.PULL])
def test_one_way_the_other_side_is_never_written_and_nothing_is_lost_unseen(direction: Direction) -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm, ours = Crm(FakeCrm(TRIAL, clock.now, random.Random(0))), MemoryRecords()
        one_way = binding(ours, direction=direction, resolve=prefer(Side.LOCAL))
        source = Side.LOCAL if direction is Direction.PUSH else Side.EXTERNAL

        def records(side: Side) -> Any:
            return ours.records if side is Side.LOCAL else crm.inner.records

        def put(side: Side, record_id: str, **fields: Any) -> None:
            known = records(side).get(record_id)
            fields = {**(known.fields if known else {}), **fields}
            (ours if side is Side.LOCAL else crm.inner).put(record_id, fields)

        put(source, "s1", name="Ada", city="x")
        put(source.other, "t1", name="only there")
        async with engine(clock, crm) as running:
            sync = running.syncs.sync
            await sync(one_way)
            (made,) = set(records(source.other)) - {"t1"}
            assert set(records(source)) == {"s1"}
            put(source.other, made, name="changed there", city="y")
            put(source, "s1", city="z")  # in conflict with it
            await sync(one_way)
            assert records(source)["s1"].fields == {"name": "Ada", "city": "z"}
            assert records(source.other)[made].fields == {"name": "changed there", "city": "z"}
            put(source, "s1", name="Ada L.")
            await sync(one_way)
            assert records(source.other)[made].fields == {"name": "Ada L.", "city": "z"}
            dropped = [loser.value async for each in running.syncs.dropped(one_way) for loser in each.losers]
            assert dropped == ["y", "changed there"]
            assert (await sync(one_way)).actions.total() == 0
            (ours.remove if source is Side.LOCAL else crm.inner.remove)("s1")
            put(source.other, made, name="edited since")
            await sync(one_way)
            assert set(records(source.other)) == {"t1"}
            assert set(records(source)) == set()

    run_virtual(main)


def test_a_policy_names_what_can_be_chosen() -> None:
    for situation, choices in CHOICES.items():
        for response in choices:
            assert complete({situation: response}, Direction.BOTH)[situation] is response
    assert complete({}, Direction.PUSH)[Situation.EXTERNAL_ONLY] is Response.IGNORE
    with pytest.raises(ValueError, match="GonePolicy"):
        complete({Situation.MISSING_LOCAL: Response.IGNORE}, Direction.BOTH)
    with pytest.raises(ValueError, match="'report', 'ignore'"):
        complete({Situation.AMBIGUOUS: Response.LINK}, Direction.BOTH)
    with pytest.raises(ValueError, match="direction"):
        Binding(
            local=MemoryRecords(), provider="crm", resource="contacts", direction=Direction.PUSH,
            policy={Situation.EXTERNAL_ONLY: Response.CREATE},
        )  # fmt: skip


def test_a_plan_tells_what_would_be_done_in_which_situation() -> None:
    async def main() -> None:
        clock = VirtualClock()
        crm, ours = Crm(FakeCrm(TRIAL, clock.now, random.Random(0))), MemoryRecords()
        ours.put("l1", {"name": "Ada"})
        crm.inner.put("u1", {"name": "Bob"})
        given = binding(ours, policy={Situation.EXTERNAL_ONLY: Response.REPORT})
        async with engine(clock, crm) as running:
            planned = await running.syncs.plan(given)
            assert planned.situations == {"local only: create": 1, "external only: left": 1}
            assert planned.samples["external only: left"] == ["external u1"]
            with pytest.raises(ConfigurationError, match="same resource"):
                await running.syncs.sync_all([given, given])
            runs = await running.syncs.sync_all([given, evolve(given, resource="accounts", local=MemoryRecords())])
            assert runs[0].situations == planned.situations

    run_virtual(main)


@pytest.mark.parametrize("gap", [5.0, 50.0])
async def test_the_latest_value_wins_only_beyond_the_gap_and_an_open_conflict_tells_its_times(gap: float) -> None:
    desk = Desk(resolve=latest(min_gap=gap))
    desk.local.now = desk.clock.now
    desk.local.put("l1", {"name": "base", "city": "x"})
    await desk.sync()
    (external_id,) = desk.crm.records
    desk.local.change("l1", name="here")
    changed_at = desk.local.records["l1"].changed_at
    desk.clock.at += 20.0
    record = desk.crm.put(external_id, {"name": "there", "city": "x"})
    edited = evolve(record, changed_at=desk.clock.at, field_times={"name": desk.clock.at})
    desk.crm.records[external_id] = edited
    await desk.sync()
    found = [each.conflict async for each in ConflictBook(desk.reconciler.books).conflicts()]
    if gap < 20:
        assert (desk.names(), found) == ((["there"], ["there"]), [])
    else:
        assert desk.names() == (["here"], ["there"])
        assert found[0].local_change == ChangeTime(changed_at, changed_at)
        assert found[0].external_change == ChangeTime(edited.changed_at, edited.changed_at)


def test_a_records_time_counts_only_if_it_may_be_a_users() -> None:
    held = Held(Record("1", {}, "v2", 10.0, {"a": 3.0, "b": 4.0}), {})
    assert change_time(LinkEnd("1", {}, "v1"), held, ["c"]) == ChangeTime(10.0)
    assert change_time(LinkEnd("1", {}, "v2"), held, ["c"]) is None  # our own write
    assert change_time(LinkEnd("1", {}, None), held, ["c"]) is None
    assert change_time(LinkEnd("1"), held, ["c"]) == ChangeTime(10.0)
    assert change_time(LinkEnd("1", {}, "v2"), held, ["a", "b"]) == ChangeTime(None, 4.0)
    assert change_time(LinkEnd("1", {}, "v2"), held, ["a", "c"]) is None


def test_the_order_of_parents_and_who_may_be_left_out() -> None:
    assert parents_first({"c": ["b"], "b": ["a"], "a": ["unknown"], "s": ["s"]}) == [["a", "s"], ["b"], ["c"]]
    assert parents_first({"x": ["y"], "y": ["x"], "z": ["y"]}) == [["x"], ["y"], ["z"]]
    assert parents_first({}) == []
    for prospect in Prospect:
        assert not may_leave_out(prospect, is_required=True, is_stuck=True)
    allowed = {(prospect, stuck) for prospect in Prospect for stuck in (False, True)
               if may_leave_out(prospect, is_required=False, is_stuck=stuck)}  # fmt: skip
    assert allowed == {(Prospect.NONE, False), (Prospect.NONE, True), (Prospect.WAITING, True)}
