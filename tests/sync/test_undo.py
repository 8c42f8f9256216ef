"""Dropped values that are written back: as edits, never over what somebody wrote since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from ratesync.engine.sync.conflict_book import ConflictBook
from ratesync.engine.sync.side import Keep, keep_all
from ratesync.engine.sync.undo import Undo
from ratesync.model.conflict import FieldConflict, Resolution, SetValue
from ratesync.model.difference import Side
from ratesync.model.direction import Direction
from ratesync.model.lane import Lane
from ratesync.model.open_conflict import Dropped
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome
from ratesync.model.undone import Undone, UndoResult
from ratesync.rules.resolvers import prefer
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


async def lost(side: Side = Side.LOCAL, resolve: Any = None, **trial: Any) -> tuple[Desk, str, Dropped]:
    """A record whose name was in conflict; ``side`` lost."""
    desk = Desk(evolve(PLAIN, **trial), Dying, resolve=resolve or prefer(side.other))
    desk.local.put("l1", {"name": "base", "city": "x"})
    await desk.sync()
    (external_id,) = desk.crm.records
    desk.local.change("l1", name="here")
    desk.crm.put(external_id, {**desk.crm.records[external_id].fields, "name": "there"})
    await desk.sync()
    await desk.sync()
    (dropped,) = [each async for each in ConflictBook(desk.reconciler.books).dropped()]
    return desk, external_id, dropped


class Dying(FakeCrm):
    """The process dies after the next write, once told so."""

    dies = False

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        answers = await super().execute(lane, operations, keep)
        if self.dies and operations[0].kind is not Kind.READ:
            self.dies = False
            raise KeyboardInterrupt
        return answers


async def undo(desk: Desk, dropped: Dropped, seen: Undone | None = None, number: int = 0) -> Undone:
    return await Undo(desk.reconciler).undo(dropped, dropped.losers[number], seen)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("tidy", ["", "pad"])
async def test_a_dropped_value_comes_back_and_goes_to_both_sides(side: Side, tidy: str) -> None:
    desk, _, dropped = await lost(side, tidy_external=tidy)
    assert {loser.side for loser in dropped.losers} == {side}
    assert (await undo(desk, dropped)).result is UndoResult.DONE
    assert (await undo(desk, dropped)).result is UndoResult.DONE  # again, and nothing more
    await desk.sync()
    value = "here" if side is Side.LOCAL else "there"
    assert [[name.strip() for name in names] for names in desk.names()] == [[value], [value]]
    assert (await desk.sync()).actions == {}
    assert len([each async for each in ConflictBook(desk.reconciler.books).dropped()]) == 1


async def test_what_somebody_wrote_since_is_never_overwritten_unseen() -> None:
    for is_synced in (False, True):
        desk, external_id, dropped = await lost()
        desk.crm.put(external_id, {**desk.crm.records[external_id].fields, "name": "newer"})
        if is_synced:
            await desk.sync()
        answer = await undo(desk, dropped)
        here = "newer" if is_synced else "there"
        assert (answer.result, answer.local, answer.external) == (UndoResult.CHANGED, here, "newer")
        desk.local.change("l1", name="newest")
        assert (await undo(desk, dropped, answer)).local == "newest"  # what was seen is outdated
        seen = await undo(desk, dropped)
        assert (await undo(desk, dropped, seen)).result is UndoResult.DONE
        assert desk.names()[0] == ["here"]


async def test_an_edit_between_the_read_and_the_write_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, _, dropped = await lost()
    apply = desk.local.apply

    async def slow(_self: Any, *args: Any, **options: Any) -> Outcome:
        monkeypatch.undo()
        desk.local.change("l1", name="in between")
        return await apply(*args, **options)

    monkeypatch.setattr(type(desk.local), "apply", slow)
    answer = await undo(desk, dropped)
    assert (answer.result, answer.local) == (UndoResult.CHANGED, "in between")


@pytest.mark.parametrize("side", Side)
async def test_a_crash_after_the_write_costs_nothing(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, _, dropped = await lost(side)
    if side is Side.EXTERNAL:
        desk.crm.dies = True  # type: ignore[attr-defined]
    else:
        apply = desk.local.apply

        async def dying(_self: Any, *args: Any, **options: Any) -> Outcome:
            monkeypatch.undo()
            await apply(*args, **options)
            raise KeyboardInterrupt

        monkeypatch.setattr(type(desk.local), "apply", dying)
    with pytest.raises(KeyboardInterrupt):
        await undo(desk, dropped)
    assert (await undo(desk, dropped)).result is UndoResult.DONE
    await desk.sync()
    value = "here" if side is Side.LOCAL else "there"
    assert desk.names() == ([value], [value])


def third(_conflict: FieldConflict) -> Resolution:
    return SetValue("third")


async def test_either_of_two_values_comes_back_over_a_third() -> None:
    desk, _, dropped = await lost(resolve=third)
    assert len(dropped.losers) == 2
    assert (await undo(desk, dropped, number=1)).result is UndoResult.DONE
    await desk.sync()
    assert desk.names() == (["there"], ["there"])


async def test_what_is_gone_or_goes_one_way_is_told() -> None:
    desk, external_id, dropped = await lost()
    pair = desk.reconciler.pair
    one_way = evolve(desk.reconciler, pair=evolve(pair, direction=Direction.PUSH))
    assert (await Undo(one_way).undo(dropped, dropped.losers[0], None)).result is UndoResult.REFUSED
    desk.crm.remove(external_id)
    assert (await undo(desk, dropped)).result is UndoResult.GONE
    await desk.sync()
    assert (await undo(desk, dropped)).result is UndoResult.GONE


async def test_a_value_that_was_dropped_by_an_earlier_version_waits_for_somebody_who_has_seen() -> None:
    desk, _, dropped = await lost()
    old = evolve(dropped, losers=tuple(type(each)(each.name, each.side, each.value) for each in dropped.losers))
    answer = await undo(desk, old)
    assert answer.result is UndoResult.CHANGED
    assert (await undo(desk, old, answer)).result is UndoResult.DONE
