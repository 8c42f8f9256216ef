from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, evolve

from ratesync.engine.sync.local_side import LocalSide
from ratesync.memory.records import MemoryRecords
from ratesync.model.operation import Fields
from ratesync.testing.local_suite import LocalStoreSuite
from tests.sync.desk import Desk

ROWS: Sequence[Fields] = [
    {"name": "Ada", "city": "London"},
    {"name": "Bob", "city": "Rome"},
    {"name": "Cy", "city": "Pau"},
]


@define
class MemoryHost:
    """Changes records as the host does."""

    store: MemoryRecords
    count: int = 0

    async def put(self, fields: Fields) -> str:
        self.count += 1
        return self.store.put(f"h{self.count}", fields).record_id

    async def change(self, record_id: str, fields: Fields) -> None:
        self.store.change(record_id, **fields)

    async def delete(self, record_id: str) -> None:
        self.store.remove(record_id)


class TestMemoryRecords(LocalStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryRecords:
        return MemoryRecords()

    @pytest.fixture
    def host(self, store: MemoryRecords) -> MemoryHost:
        return MemoryHost(store)

    @pytest.fixture
    def rows(self) -> Sequence[Fields]:
        return ROWS

    @pytest.fixture
    def optional(self) -> str:
        return "city"


@pytest.mark.anyio
async def test_after_a_restart_versions_and_cursors_of_the_old_process_mean_nothing() -> None:
    desk = Desk()
    for number in range(3):
        desk.local.put(str(number), {"name": f"n{number}"})
    await desk.sync()
    await desk.sync()
    new = MemoryRecords()
    new.put("0", {"name": "n0"})
    new.put("1", {"name": "changed"})  # the second change here, as "n1" was there
    pair = desk.reconciler.pair
    desk.reconciler = evolve(desk.reconciler, pair=evolve(pair, local=LocalSide(new)))
    writes = desk.crm.writes
    run = await desk.sync()
    assert run.actions == {"push": 1}
    assert desk.names()[1] == ["changed", "n0", "n2"]
    assert desk.crm.writes == writes + 1
    assert (run.held, run.hold_reason) == (1, "the cursor had expired")
