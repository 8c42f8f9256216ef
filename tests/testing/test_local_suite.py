"""The suite of the host's side of a sync notices what breaks the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.memory.records import MemoryRecords
from ratesync.model.change import ChangePage
from ratesync.model.difference import ABSENT, View
from ratesync.model.outcome import Applied, Outcome
from ratesync.testing.local_suite import LocalStoreSuite
from tests.memory.test_records import ROWS, MemoryHost
from tests.testing.suite_run import fails, names_of

pytestmark = pytest.mark.anyio


class Forgetful(MemoryRecords):
    """Makes a record as often as it is asked."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        op_id = f"{op_id} {len(self.records)}" if record_id is None else op_id
        return await super().apply(record_id, patch, if_version=if_version, op_id=op_id)


class Current(MemoryRecords):
    """Answers an operation that comes again with the record as it is by now."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        answer = await super().apply(record_id, patch, if_version=if_version, op_id=op_id)
        known = self.records.get(answer.record_id or "") if isinstance(answer, Applied) else None
        return answer if known is None else Applied(known.record_id, known.version, known)


class Blind(MemoryRecords):
    """Writes whatever the version."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        return await super().apply(record_id, patch, if_version=None, op_id=op_id)


class Ruthless(MemoryRecords):
    """Deletes whatever the version."""

    @override
    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        return await super().delete(record_id, if_version=None, op_id=op_id)


class Replacing(MemoryRecords):
    """Takes a patch for the whole record."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        if record_id is not None:
            patch = (
                {**dict.fromkeys(self.records[record_id].fields, ABSENT), **patch}
                if record_id in self.records
                else patch
            )
        return await super().apply(record_id, patch, if_version=if_version, op_id=op_id)


class Keeping(MemoryRecords):
    """Takes no field away."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        patch = {name: value for name, value in patch.items() if value is not ABSENT}
        return await super().apply(record_id, patch, if_version=if_version, op_id=op_id)


class Silent(MemoryRecords):
    """Tells of no deletes."""

    @override
    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        page = await super().changes(cursor, limit=limit)
        return evolve(page, changes=tuple(change for change in page.changes if not change.is_deleted))


class Skipping(MemoryRecords):
    """Goes on behind one change too many."""

    @override
    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        page = await super().changes(cursor, limit=limit)
        origin, _, number = page.cursor.partition(".")
        return evolve(page, cursor=f"{origin}.{int(number) + 1}") if page.has_more else page


class Absent(MemoryRecords):
    """Answers with a record that is not as it was written."""

    @override
    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        answer = await super().apply(record_id, patch, if_version=if_version, op_id=op_id)
        return evolve(answer, version="0") if isinstance(answer, Applied) else answer


BROKEN = [Forgetful, Current, Blind, Ruthless, Replacing, Keeping, Silent, Skipping, Absent]


def fixtures_of(kind: type[MemoryRecords]) -> Mapping[str, Any]:
    store = kind()
    return {"store": store, "host": MemoryHost(store), "rows": ROWS, "optional": "city"}


async def failed_by(kind: type[MemoryRecords]) -> list[str]:
    return [name for name in names_of(LocalStoreSuite) if await fails(LocalStoreSuite, name, lambda: fixtures_of(kind))]


@pytest.mark.parametrize("kind", BROKEN)
async def test_the_suite_notices_a_broken_store(kind: type[MemoryRecords]) -> None:
    assert await failed_by(kind) != []


async def test_the_suite_accepts_a_store_that_is_not_broken() -> None:
    assert await failed_by(MemoryRecords) == []
