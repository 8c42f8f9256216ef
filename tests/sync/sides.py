"""Records of one kind on both sides, as users see them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from ratesync.engine.sync.keys import Keys
from ratesync.memory.records import MemoryRecords
from ratesync.model.difference import Side
from ratesync.model.operation import Fields
from tests.sync.fake_crm import FakeCrm
from tests.sync.trial import Trial, tidy


@frozen
class Sides:
    """The host's store, and a resource of the provider's."""

    resource: str
    local: MemoryRecords
    crm: FakeCrm
    keys: Keys
    """Where the state of their binding stands."""

    @classmethod
    def of(
        cls, resource: str, trial: Trial, now: Callable[[], float], meanwhile: Callable[[], Awaitable[None]]
    ) -> Sides:
        """Both are empty."""
        local = MemoryRecords(lambda fields: tidy(trial.tidy_local, fields))
        crm = FakeCrm(trial, now, random.Random(trial.seed), meanwhile=meanwhile)
        return cls(resource, local, crm, Keys.of("crm", "default", resource))

    def records(self, side: Side) -> Mapping[str, Any]:
        """All records of a side by id."""
        return self.local.records if side is Side.LOCAL else self.crm.records

    def put(self, side: Side, record_id: str, fields: Fields) -> None:
        """Make a record, or give one all its fields anew."""
        if side is Side.LOCAL:
            self.local.put(record_id, fields)
        else:
            self.crm.put(record_id, fields)

    def remove(self, side: Side, record_id: str) -> None:
        """Delete a record."""
        if side is Side.LOCAL:
            self.local.remove(record_id)
        else:
            self.crm.remove(record_id)

    async def deleted(self) -> set[tuple[Side, str]]:
        """Records that were there, and are not any more."""
        told = await self.local.changes(None, limit=10_000)
        here = {change.record_id for change in told.changes if change.is_deleted}
        there = self.crm.removed - self.crm.records.keys()
        return {(Side.LOCAL, record_id) for record_id in here} | {(Side.EXTERNAL, record_id) for record_id in there}
