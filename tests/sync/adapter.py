"""The fake provider, as an adapter of an engine."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve

from ratesync.model.batch import Batch, Capabilities
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.lane import Lane
from ratesync.model.outcome import Outcome

LANE = Lane("crm")


@define
class Crm:
    """Passes everything on, and counts it."""

    inner: Any
    """A :class:`~tests.sync.fake_crm.FakeCrm`, or one that is watched."""
    name: str = "crm"
    calls: int = 0

    @property
    def capabilities(self) -> Capabilities:
        able: Capabilities = self.inner.capabilities
        return evolve(able, concurrency=10)

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        self.calls += 1
        return dict(await self.inner.execute(LANE, batch.operations))

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        self.calls += 1
        page: ChangePage = await self.inner.pull_changes(LANE, resource, cursor, limit)
        return page

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        found: RecordPage = await self.inner.list_records(LANE, resource, page, limit)
        return found

    async def lookup(self, operation: Any) -> Outcome | None:
        found: Outcome | None = await self.inner.lookup(LANE, operation)
        return found
