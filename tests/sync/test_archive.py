"""Records whose other half was deleted are archived instead, by a patch: once, held if many, never against an edit."""

from __future__ import annotations

from contextlib import suppress

import pytest
from attrs import evolve

from ratesync.model.batch import CreateIdentity
from ratesync.model.difference import Side
from ratesync.model.link import LinkStatus
from ratesync.rules.delete_guard import DeletePolicy
from ratesync.rules.reconcile import GoneMode, GonePolicy
from tests.sync.desk import PLAIN, Desk
from tests.sync.two_crms import Killed, TwoCrms

pytestmark = pytest.mark.anyio

LISTED = evolve(PLAIN, identity=CreateIdentity.IDEMPOTENCY_KEY, tombstones=False)
ARCHIVE = GonePolicy(GoneMode.ARCHIVE, archive={"city": "GONE"})


async def linked(*, policy: GonePolicy = ARCHIVE) -> TwoCrms:
    both = TwoCrms(LISTED, LISTED, gone=policy)
    for note in "abcd":
        both.put(Side.LOCAL, f"h{note}", name=f"name {note}", city="BERN", note=note)
    await both.sync()
    await both.sync()
    return both


@pytest.mark.parametrize("side", Side)
async def test_whenever_the_process_dies_the_record_is_archived_once_and_left_alone(
    side: Side, anyio_backend_name: str
) -> None:
    for fatal in range(1, 200, 1 if anyio_backend_name == "asyncio" else 7):
        both = await linked()
        crm = both.here if side is Side.LOCAL else both.there
        other = both.there if side is Side.LOCAL else both.here
        crm.remove(both.id_of(side, "a"))
        both.boundaries, both.fatal = 0, fatal
        writes = other.writes
        with suppress(Killed):
            await both.sync()
            both.fatal = 0
        is_over, both.fatal = both.fatal == 0, 0
        for _ in range(2):
            await both.sync()
        assert other.writes == writes + 1
        assert both.views(side).keys() == set("bcd")
        left = both.views(side.other)
        assert {note: view["city"] for note, view in left.items()} == {
            "a": "GONE",
            "b": "BERN",
            "c": "BERN",
            "d": "BERN",
        }
        assert [link.status for link in await both.links()].count(LinkStatus.UNLINKED) == 1
        calls = both.calls
        assert (await both.sync()).actions == {}
        assert both.calls == calls
        if is_over:
            assert fatal > 20
            return
    pytest.fail("the pass comes to no end")


async def test_an_edit_brings_the_record_back_and_somebody_who_archives_it_does_not() -> None:
    both = await linked()
    for note in "ab":
        both.there.remove(both.id_of(Side.EXTERNAL, note))
    both.put(Side.LOCAL, "ha", name="edited")
    both.put(Side.LOCAL, "hb", city="GONE")
    writes = both.here.writes
    await both.sync()
    assert both.views(Side.EXTERNAL)["a"]["name"] == "edited"
    assert "b" not in both.views(Side.EXTERNAL)
    assert both.here.writes == writes
    both = await linked(policy=evolve(ARCHIVE, edit_wins=False))
    both.there.remove(both.id_of(Side.EXTERNAL, "a"))
    both.put(Side.LOCAL, "ha", name="edited", city="PARIS")
    await both.sync()
    assert both.views(Side.LOCAL)["a"] == {"name": "edited", "city": "GONE", "note": "a"}
    (dropped,) = [each async for each in both.book.dropped()]
    assert [(loser.name, loser.value, loser.winner) for loser in dropped.losers] == [("city", "PARIS", "GONE")]


async def test_many_at_once_are_held_as_deletes_are() -> None:
    gone = GonePolicy(GoneMode.ARCHIVE, archive={"archived": True})
    desk = Desk(gone=gone, guard=DeletePolicy(max_deletes=2, ratio_applies_above=0, max_delete_ratio=1.0))
    for number in range(4):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    await desk.sync()
    for number in range(3):
        desk.local.remove(f"l{number}")
    run = await desk.sync()
    assert (run.held, run.actions["archive"]) == (3, 0)
    assert not any("archived" in record.fields for record in desk.crm.records.values())
    desk.local.put("l0", {"name": "back"})  # two are few enough
    run = await desk.sync()
    assert (run.held, run.actions["archive"]) == (0, 2)
    assert sum(record.fields.get("archived", False) for record in desk.crm.records.values()) == 2


@pytest.mark.parametrize(("mode", "archive"), [(GoneMode.ARCHIVE, {}), (GoneMode.DELETE, {"archived": True})])
def test_what_is_written_belongs_to_archiving(mode: GoneMode, archive: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="archive"):
        GonePolicy(mode, archive=archive)
