"""What users of such systems complain of in public, each with its test.

| complaint | test |
|---|---|
| 1, 2 many records share an instant, and the feed loops | here |
| 3 a cursor moved on by a second drops records | mutants: "a feed by a coarse clock goes on behind the last instant" |
| 11 a record is edited while it syncs | `test_rivals.py`, and every trial of the simulation |
| 12 a resolved conflict comes back | `test_sync_pass.py`: "a conflict waits and its decision holds ..." |
| 13, 21 deleted here, edited there | here, for both policies |
| 14 both values are wanted | here |
| 15 many duplicates of one key abort all | here |
| 16 a sync shows as delete and create, again and again | simulation: "written for nothing", "never idle" |
| 17 killed, and no whole sync afterwards | simulation: deaths |
| 18 records change during the run | simulation: users act between any two steps |
| 19 deleted records come back | `test_sync_pass.py`: "revived deletes ..." |
| 20 a flaky network looks like an empty side | here, and "an empty side deletes nothing" |
| 22 deletes before the listing was whole | `test_rivals.py`: "a listing that broke off ..." |
| 23 the answer to a create is lost, two engines create | `test_provider_side.py`, `test_rivals.py`, simulation |
| 24 a search does not see what was just made | `test_rivals.py`: "a search that lags ..." |
| 25 echoes, loops, late events, losses without trace | `test_sync_pass.py`: "flip-flop ..."; mutants on losers |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from attrs import evolve

from ratesync.engine.sync.side import Keep, keep_all
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome, Unknown
from ratesync.rules.reconcile import GonePolicy
from ratesync.rules.resolvers import concat
from tests.sync.desk import PLAIN, Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


async def test_1_and_2_records_that_share_an_instant_are_all_met_and_the_feed_ends() -> None:
    desk = Desk(evolve(PLAIN, coarse=True), page_size=2)
    for number in range(25):
        desk.crm.put(f"x{number:02}", {"name": f"n{number:02}"})
    await desk.sync()
    assert desk.names()[0] == [f"n{number:02}" for number in range(25)]


@pytest.mark.parametrize("edit_wins", [True, False])
async def test_13_and_21_a_delete_against_an_edit_is_decided_by_the_policy_and_nothing_goes_untold(
    *, edit_wins: bool
) -> None:
    desk = Desk(gone=GonePolicy(edit_wins=edit_wins))
    desk.local.put("l1", {"name": "old"})
    await desk.sync()
    (external_id,) = desk.crm.records
    desk.crm.put(external_id, {"name": "edited"})
    desk.local.remove("l1")
    await desk.sync()
    assert desk.names() == ((["edited"], ["edited"]) if edit_wins else ([], []))
    told = await desk.state.scan(desk.reconciler.books.keys.all_lost)
    assert ["edited" in stored.value.decode() for stored in told] == ([] if edit_wins else [True])


async def test_14_both_values_may_be_kept() -> None:
    desk = Desk(resolve=concat(" / "))
    desk.local.put("l1", {"name": "old"})
    await desk.sync()
    (external_id,) = desk.crm.records
    desk.crm.put(external_id, {"name": "north"})
    desk.local.put("l1", {"name": "south"})
    await desk.sync()
    assert desk.names() == (["north / south"], ["north / south"])


async def test_15_many_records_of_one_key_stop_no_other() -> None:
    desk = Desk(match_keys=("email",))
    for number in range(100):
        desk.crm.put(f"x{number}", {"email": "same@example.org", "name": "twin"})
    desk.crm.put("y", {"email": "ada@example.org", "name": "Ada"})
    run = await desk.sync()
    assert (desk.names()[0], run.left) == (["Ada"], 100)


class Flaky(FakeCrm):
    """Answers no read."""

    is_down = False

    async def execute(
        self, lane: Lane, operations: Sequence[Operation], keep: Keep = keep_all
    ) -> Mapping[str, Outcome]:
        if self.is_down and operations[0].kind is Kind.READ:
            return {operation.id or "": Unknown("connection reset") for operation in operations}
        return await super().execute(lane, operations, keep)


async def test_20_what_cannot_be_read_is_not_taken_for_deleted() -> None:
    desk = Desk(crm=Flaky)
    for number in range(3):
        desk.local.put(f"l{number}", {"name": f"n{number}"})
    await desk.sync()
    assert isinstance(desk.crm, Flaky)
    desk.crm.is_down = True
    for number in range(3):
        desk.local.put(f"l{number}", {"name": f"m{number}"})
    await desk.sync()
    desk.crm.is_down = False
    await desk.sync()
    assert desk.names() == (["m0", "m1", "m2"], ["m0", "m1", "m2"])
