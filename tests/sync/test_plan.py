"""A plan tells what a pass would do, deletes that would be held included."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.deletions import Deletions
from ratesync.engine.sync.overlay import Overlay
from ratesync.engine.sync.sync_pass import Pass
from ratesync.model.run import SyncRun
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.reconcile import GoneMode, GonePolicy
from tests.sync.desk import PLAIN, Desk

pytestmark = pytest.mark.anyio


async def desk_of(count: int, trial: Any = PLAIN, **pair: Any) -> Desk:
    desk = Desk(trial, **pair)
    for number in range(count):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    await desk.sync()
    return desk


async def plan(desk: Desk) -> SyncRun:
    books = Books(Overlay(desk.state), desk.reconciler.books.keys)
    looking = evolve(desk.reconciler, books=books, is_dry=True)
    before = [(stored.key, stored.revision) for stored in await desk.state.scan("", limit=10_000)]
    run = await Pass(looking, SyncRun("plan", 0.0), lambda _case: None).look()
    assert before == [(stored.key, stored.revision) for stored in await desk.state.scan("", limit=10_000)]
    return run


def told(run: SyncRun) -> tuple[Any, ...]:
    return dict(run.actions), run.held, run.hold_reason, dict(run.situations), run.samples


@pytest.mark.parametrize("tombstones", [True, False])
async def test_it_tells_how_many_deletes_would_be_held_and_why(tombstones: bool) -> None:
    desk = await desk_of(10, evolve(PLAIN, tombstones=tombstones), guard=DeletePolicy(max_deletes=2))
    for link in (await desk.links())[:3]:
        desk.crm.remove(link.external.record_id or "")
    desk.local.change("l9", name="edited")
    planned = await plan(desk)
    assert told(planned) == (
        {"push": 1},
        3,
        "3 deletes are more than max_deletes=2",
        {"linked: push": 1, "missing external: held": 3},
        {"linked: push": ["local l9"], "missing external: held": ["local l0", "local l1", "local l2"]},
    )
    assert told(await desk.sync()) == told(planned)


async def test_it_tells_deletes_that_are_approved_by_now_and_those_that_need_no_approval() -> None:
    desk = await desk_of(10, guard=DeletePolicy(max_deletes=2))
    for link in (await desk.links())[:3]:
        desk.crm.remove(link.external.record_id or "")
    await desk.sync()
    assert (await plan(desk)).held == 3
    await Deletions(desk.reconciler, lambda _cases: None).approve()
    desk.local.remove("l9")
    planned = await plan(desk)
    assert (planned.actions, planned.held) == ({"delete": 4}, 0)
    assert planned.situations == {"missing external: delete": 3, "missing local: delete": 1}
    assert told(await desk.sync()) == told(planned)


async def test_it_tells_records_that_would_be_archived() -> None:
    desk = await desk_of(2, gone=GonePolicy(GoneMode.ARCHIVE, archive={"archived": True}))
    desk.local.remove("l0")
    planned = await plan(desk)
    assert planned.actions == {"archive": 1}
    assert told(await desk.sync()) == told(planned)
