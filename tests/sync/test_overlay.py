"""A store on top of another one reads as if all had been written below."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.engine.sync.overlay import Overlay
from ratesync.memory.state import MemoryStateStore
from ratesync.model.stored import Write
from ratesync.protocols import StateStore
from ratesync.testing.virtual_time import run_virtual

keys = st.text("abk/", min_size=1, max_size=3)
writes = st.dictionaries(keys, st.sampled_from([b"1", b"2", None]), max_size=12)


async def read(state: StateStore, prefix: str, after: str | None, limit: int) -> list[tuple[str, bytes]]:
    """Everything, page by page."""
    found: list[tuple[str, bytes]] = []
    while page := await state.scan(prefix, after=after, limit=limit):
        assert len(page) <= limit
        found += [(stored.key, stored.value) for stored in page]
        after = page[-1].key
    return found


@settings(max_examples=200)
@given(writes, writes, keys | st.just(""), st.none() | keys, st.integers(1, 5))
def test_every_page_is_as_if_it_were_written(
    first: dict[str, Any], second: dict[str, Any], prefix: str, after: str | None, limit: int
) -> None:
    async def main() -> None:
        below, together = MemoryStateStore(), MemoryStateStore()
        over = Overlay(below)
        for state, changes in ((below, first), (together, first), (over, second), (together, second)):
            await state.commit([Write(key, value) for key, value in changes.items()])
        assert await read(over, prefix, after, limit) == await read(together, prefix, after, limit)

    run_virtual(main)
