"""The benchmark of two-way sync must count what is asked and notice sides that differ, or its figures say nothing."""

from __future__ import annotations

import anyio
import pytest

from benchmarks import sync
from benchmarks._sync_sides import Crm, Ours, contact


def test_sides_that_differ_end_the_benchmark() -> None:
    ours, crm = Ours(), Crm()
    ours.put("1", contact(1))
    with pytest.raises(SystemExit):
        sync.same(ours, crm)
    crm.put("x", contact(1))
    sync.same(ours, crm)
    crm.change_all(city="Paris")
    with pytest.raises(SystemExit):
        sync.same(ours, crm)


def test_every_read_and_write_is_counted() -> None:
    async def run() -> None:
        crm = Crm()
        async with sync.in_step(crm, 3) as (engine, binding, ours, state):
            assert ours.done["writes"] == 3
            await sync.passes(engine, binding)
            for counter in (crm.done, ours.done, state.done):
                counter.clear()
            crm.change_all(city="Paris")
            await sync.passes(engine, binding)
            assert (crm.done["reads"], crm.done["writes"], crm.done["calls"]) == (3, 0, 1)
            assert (ours.done["reads"], ours.done["writes"]) == (3, 3)
            assert state.done["keys written"] > 3
            sync.same(ours, crm)

    anyio.run(run)


def test_a_pass_over_computed_records_links_all_of_them() -> None:
    assert sync.peak(250)["records"] == 250
