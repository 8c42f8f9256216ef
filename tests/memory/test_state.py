from __future__ import annotations

from collections.abc import Sized

import pytest

from ratesync.memory.state import MemoryStateStore
from ratesync.model.stored import Write
from ratesync.testing.state_suite import StateStoreSuite


class TestMemoryStateStore(StateStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryStateStore:
        return MemoryStateStore()

    async def test_nothing_is_remembered_of_deleted_keys(self, store: MemoryStateStore) -> None:
        for number in range(1000):
            await store.commit([Write(f"k{number}", b"value")])
            await store.commit([Write(f"k{number}", None)])
        sizes = [len(value) for value in vars(store).values() if isinstance(value, Sized)]
        assert sizes == [0, 0]
