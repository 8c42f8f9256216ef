"""Kills, cuts, lost answers, silence and pauses in any order: each commit is made exactly once."""

from __future__ import annotations

import random

import anyio
import pytest
from attrs import define, field

from ratesync.errors import StateConflict
from ratesync.model.stored import Write
from ratesync.postgres import PostgresStateStore
from tests.postgres.stores import happens, opened
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.postgres_server import Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FAULTS = ("kill", "cut", "lose", "silence", "pause")
SILENCE = 0.7
"""Seconds, longer than the timeout of a try."""


@define
class Writers:
    """Tasks that write until they are told to stop, and count what was acknowledged."""

    made: dict[str, int] = field(factory=lambda: dict.fromkeys("abcdef", 0))
    """By key, the writes that do not look at what is there."""
    counted: int = 0
    """Those that compare and set."""
    is_over: bool = False

    @property
    def total(self) -> int:
        """All that was acknowledged."""
        return sum(self.made.values()) + self.counted

    async def write(self, store: PostgresStateStore, key: str) -> None:
        """Had one been made twice, or not at all, the revision would show it."""
        while not self.is_over:
            (revision,) = await store.commit([Write(key, b"value")])
            self.made[key] += 1
            assert revision == self.made[key]

    async def count_up(self, store: PostgresStateStore) -> None:
        """Who is told of a conflict has not written."""
        while not self.is_over:
            (stored,) = await store.load(["count"])
            value, revision = (0, 0) if stored is None else (int(stored.value), stored.revision)
            try:
                count = Write("count", b"%d" % (value + 1), if_revision=revision)
                await store.commit([count, Write(f"mark/{value}", b"", if_revision=0)])
            except StateConflict:
                continue
            self.counted += 1


async def strike(fault: str, postgres: Postgres, proxy: CuttingProxy, chance: random.Random) -> None:
    """Do some harm, and undo it."""
    match fault:
        case "kill":
            await anyio.to_thread.run_sync(postgres.kill)
            await anyio.to_thread.run_sync(postgres.start)
        case "cut":
            proxy.cut_all()
        case "lose":
            proxy.cut_replies(chance.randint(1, 4), after=chance.choice([0, 0, 5, 30]))
        case "silence":
            proxy.black_hole()
            await anyio.sleep(SILENCE)
            proxy.heal()
        case _:
            postgres.pause()
            await anyio.sleep(SILENCE)
            postgres.resume()


async def test_each_commit_is_made_exactly_once_whatever_happens(postgres: Postgres) -> None:
    chance, writers = random.Random(11), Writers()
    with CuttingProxy(postgres.port) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
        async with opened(url, timeout=0.6, patience=40.0, connections=8) as store:
            async with anyio.create_task_group() as tasks:
                for key in writers.made:
                    tasks.start_soon(writers.write, store, key)
                for _ in range(3):
                    tasks.start_soon(writers.count_up, store)
                for fault in chance.sample(FAULTS, len(FAULTS)):
                    await anyio.sleep(chance.uniform(0.02, 0.15))
                    await strike(fault, postgres, proxy, chance)
                    before = writers.total
                    await happens(lambda before=before: writers.total > before)  # type: ignore[misc]
                writers.is_over = True
            found = {stored.key: stored.revision for stored in await store.scan("", limit=100_000)}
    assert {key: found[key] for key in writers.made} == writers.made
    assert found["count"] == writers.counted == sum(key.startswith("mark/") for key in found) > 0
