"""What is set aside, or left alone by policy, costs nothing until it changes: also where each pass lists all anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.engine.sync.resync import Resync
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.engine.sync.sync_pass import always
from ratesync.memory.state import MemoryStateStore
from ratesync.model.difference import Side, View
from ratesync.model.direction import Direction
from ratesync.model.lane import Lane
from ratesync.model.link import LinkStatus
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Rejected
from ratesync.model.run import SyncRun
from ratesync.rules.reconcile import GoneMode, GonePolicy
from ratesync.rules.situations import complete
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Versions

pytestmark = pytest.mark.anyio
LISTING = evolve(PLAIN, tombstones=False)
both_feeds = pytest.mark.parametrize("trial", [PLAIN, LISTING], ids=["tombstones", "listing"])
ONE_WAY = complete({}, Direction.PUSH)


class Strict(FakeCrm):
    """Refuses what is called bad, and to delete what is called precious."""

    tries = 0

    @override
    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        fine = [operation for operation in operations if not self._is_bad(operation)]
        refused = {each.id or "": Rejected("no", "422") for each in operations if each not in fine}
        self.tries += len(refused)
        return {**(await super().execute(lane, fine, keep) if fine else {}), **refused}

    def _is_bad(self, operation: Operation) -> bool:
        held = self.records.get(operation.record_id or "")
        is_precious = held is not None and held.fields.get("name") == "precious"
        return operation.fields.get("name") == "bad" or (operation.kind is Kind.DELETE and is_precious)


async def strict(trial: Any, name: str = "good", **pair: Any) -> Desk:
    desk = Desk(trial, crm=Strict, **pair)
    desk.local.put("l1", {"name": name})
    await passes(desk, 2)
    return desk


async def passes(desk: Desk, count: int) -> SyncRun:
    return [await desk.sync() for _ in range(count)][-1]


def tries(desk: Desk) -> int:
    assert isinstance(desk.crm, Strict)
    return desk.crm.tries


async def statuses(desk: Desk) -> list[str]:
    return [str(link.status) for link in await desk.links()]


async def external_id(desk: Desk) -> str:
    (link,) = await desk.links()
    return link.external.record_id or ""


async def cost(desk: Desk) -> tuple[int, int]:
    """Calls for records, and keys written, in one pass."""
    commit, keys, calls = desk.state.commit, 0, desk.crm.calls

    async def counted(writes: Sequence[Any]) -> Sequence[int]:
        nonlocal keys
        keys += len(writes)
        return await MemoryStateStore.commit(desk.state, writes)

    desk.state.commit = counted  # type: ignore[method-assign]
    await desk.sync()
    desk.state.commit = commit  # type: ignore[method-assign]
    return desk.crm.calls - calls, keys


async def look_afresh(desk: Desk) -> None:
    resync = Resync(desk.reconciler, SyncRun("run", 0.0), always, lambda: None)
    await resync.open([Side.EXTERNAL])
    await resync.list_sides()
    await desk.sync()


@both_feeds
async def test_a_write_that_was_refused_is_not_repeated_until_the_record_changes(trial: Any) -> None:
    desk = await strict(trial)
    desk.local.put("l1", {"name": "bad"})
    await passes(desk, 4)
    assert (tries(desk), await statuses(desk)) == (1, ["quarantined"])
    assert await cost(desk) == (0, 0)
    await look_afresh(desk)
    assert tries(desk) == 2
    desk.crm.put(await external_id(desk), {"name": "theirs", "city": "London"})
    desk.local.put("l1", {"name": "mended"})
    await passes(desk, 2)
    assert await statuses(desk) == ["active"]
    assert [link.seen for link in await desk.links()] == [{}]


@both_feeds
@pytest.mark.parametrize("edit_wins", [True, False])
async def test_a_delete_of_one_half_is_noticed_though_the_link_is_set_aside(trial: Any, edit_wins: bool) -> None:
    desk = await strict(trial, gone=GonePolicy(edit_wins=edit_wins))
    removed = await external_id(desk)
    desk.local.put("l2", {"name": "fine"})  # a listing that names nothing would not be believed
    desk.local.put("l1", {"name": "bad"})
    await desk.sync()
    desk.crm.remove(removed)
    run = await passes(desk, 3)
    assert (run.left, tries(desk)) == (0, 2 if edit_wins else 1)
    assert sorted(await statuses(desk)) == ["active", "quarantined" if edit_wins else "tombstone"]
    assert desk.names() == (["bad", "fine"] if edit_wins else ["fine"], ["fine"])


async def test_a_delete_that_was_refused_is_not_repeated_until_the_record_changes() -> None:
    desk = await strict(LISTING, name="precious")
    desk.local.remove("l1")
    await passes(desk, 4)
    assert (tries(desk), await statuses(desk)) == (1, ["quarantined"])
    assert await cost(desk) == (0, 0)


async def test_a_record_that_cannot_be_made_here_is_not_read_in_each_pass() -> None:
    desk = Desk(LISTING, crm=Strict)
    desk.local.put("l1", {"name": "bad"})
    await passes(desk, 3)
    assert (tries(desk), await statuses(desk)) == (1, ["quarantined"])
    assert await cost(desk) == (0, 0)


def is_in(view: View) -> bool:
    return view.get("kind") == "ours"


@pytest.mark.parametrize("versions", [Versions.COUNTED, Versions.NONE])
@pytest.mark.parametrize("pair", [{"scope": is_in}, {"direction": Direction.PUSH, "policy": ONE_WAY}])
async def test_records_that_are_left_alone_cost_nothing_in_an_idle_pass(versions: Versions, pair: Any) -> None:
    desk = Desk(evolve(LISTING, versions=versions), page_size=3, **pair)
    for number in range(10):
        desk.crm.put(f"x{number}", {"kind": "theirs", "number": number})
    await desk.sync()
    assert await cost(desk) == (0, 0)
    desk.crm.put("x3", {"kind": "theirs", "number": 33})
    run = await desk.sync()
    assert sum(count for key, count in run.situations.items() if key.endswith("ignore")) == 1
    assert await cost(desk) == (0, 0)


async def test_a_record_is_looked_at_when_it_comes_into_the_scope_and_forgotten_when_it_is_gone() -> None:
    desk = Desk(LISTING, page_size=2, scope=is_in)
    for number in range(5):
        desk.crm.put(f"x{number}", {"kind": "theirs"})
    await desk.sync()
    keys = desk.reconciler.books.keys
    prefix = keys.all_ignored(Side.EXTERNAL)
    assert len(await desk.state.scan(prefix)) == 5
    desk.crm.put("x1", {"kind": "ours"})
    desk.crm.remove("x2")
    await passes(desk, 2)
    assert len(desk.local.records) == 1
    desk.crm.remove("x1")
    await desk.sync()
    left = [stored.key for stored in await desk.state.scan(prefix)]
    assert left == [keys.ignored(Side.EXTERNAL, each) for each in ("x0", "x3", "x4")]


async def test_a_resync_looks_at_what_was_left_alone() -> None:
    """The host may have other rules by now."""
    wanted = {"ours"}

    def is_wanted(view: View) -> bool:
        return view.get("kind") in wanted

    desk = Desk(LISTING, scope=is_wanted)
    desk.crm.put("x1", {"kind": "theirs"})
    await passes(desk, 2)
    wanted.add("theirs")
    await desk.sync()
    assert len(desk.local.records) == 0
    await look_afresh(desk)
    assert len(desk.local.records) == 1


async def test_a_linked_record_that_leaves_the_scope_costs_nothing_until_it_is_back() -> None:
    desk = Desk(LISTING, scope=is_in)
    desk.crm.put("x1", {"kind": "ours", "name": "Ada"})
    await passes(desk, 2)
    (local_id,) = desk.local.records
    desk.local.put(local_id, {"kind": "theirs", "name": "Ada"})
    await passes(desk, 2)  # carries the edit over, by which both are out of scope
    desk.crm.put("x1", {"kind": "theirs", "name": "Ada Lovelace"})
    await desk.sync()
    assert await cost(desk) == (0, 0)
    desk.crm.put("x1", {"kind": "ours", "name": "Ada Lovelace"})
    await desk.sync()
    assert desk.names() == (["Ada Lovelace"], ["Ada Lovelace"])
    assert [link.seen for link in await desk.links()] == [{}]


async def test_a_delete_that_is_ignored_is_met_once_and_a_new_record_under_its_id_is_news() -> None:
    desk = Desk(LISTING, gone=GonePolicy(GoneMode.IGNORE))
    desk.crm.put("x1", {"name": "Ada"})
    await passes(desk, 2)
    desk.crm.remove("x1")
    await desk.sync()
    assert await cost(desk) == (0, 0)
    desk.crm.put("x1", {"name": "Ada"})
    run = await desk.sync()
    assert run.situations == {"linked: none": 1}
    desk.crm.remove("x1")
    assert (await desk.sync()).missing == 1
    assert [link.status for link in await desk.links()] == [LinkStatus.ACTIVE]


async def test_what_cannot_be_written_down_is_told_in_each_pass_and_left_alone_again_once_it_can() -> None:
    desk = Desk(evolve(LISTING, versions=Versions.NONE), scope=is_in)
    desk.crm.put("x1", {"kind": "theirs", "odd": float("nan")})
    await passes(desk, 2)
    assert await desk.state.scan(desk.reconciler.books.keys.all_ignored(Side.EXTERNAL)) == []
    desk.crm.put("x1", {"kind": "theirs"})
    await desk.sync()
    assert await cost(desk) == (0, 0)
    desk.crm.put("x1", {"kind": "theirs", "odd": float("nan")})
    assert (await desk.sync()).left == 1
