from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ratesync.sqlite import SqliteStateStore
from ratesync.testing.state_suite import StateStoreSuite


class TestSqliteStateStore(StateStoreSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStateStore]:
        store = SqliteStateStore(tmp_path / "sync.db")
        await store.open()
        yield store
        await store.close()
