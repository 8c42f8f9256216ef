"""A worker process of the chaos test: `python -m tests.chaos.worker URL LOG LEASE [AT_ONCE]`. It works until it ends.

With AT_ONCE all workers together may make so many calls at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
from attrs import frozen

from ratesync import Applied, Batch, Capabilities, CreateIdentity, Limiter, Outcome, RetryPolicy, Settings, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.redis import RedisLimiter, RedisQueue, RedisServer, RedisStateStore
from tests.chaos.ledger import Log

CALL_SECONDS = 0.1
CONCURRENCY = 10


@frozen
class Provider:
    """Takes its time for each call, and keeps a record of it."""

    log: Log
    name: str = "acme"
    seconds: float = CALL_SECONDS
    at_once: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        """One operation a call."""
        return Capabilities(create_identity=CreateIdentity.IDEMPOTENCY_KEY, batch_max=1, concurrency=self.at_once)

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Note the beginning, wait, note the end."""
        (operation,) = batch.operations
        identity, key, number = operation.id or "", str(operation.fields["key"]), int(operation.fields["number"])
        self.log.write("start", identity, key, number, time.monotonic())
        await anyio.sleep(self.seconds)
        self.log.write("end", identity, key, number, time.monotonic())
        return {identity: Applied()}


def engine(
    url: str,
    role: str,
    provider: Provider,
    lease_seconds: float,
    *,
    prefix: str = "ratesync",
    limiter: Limiter | None = None,
) -> SyncEngine:
    """An engine on the queue that all share. Its quotas are its own, unless a limiter is given."""
    server = RedisServer.from_url(url, timeout=1.0, prefix=prefix)
    return SyncEngine(
        queue=RedisQueue(server, lease_seconds=lease_seconds),
        limiter=limiter or MemoryLimiter(),
        state=RedisStateStore(server),
        providers=[provider],
        role=role,
        # So many deaths in so short a time would make poison of the innocent.
        settings=Settings(retry=RetryPolicy(max_lapses=1000)),
    )


async def main(url: str, log: str, lease_seconds: float, at_once: int | None) -> None:
    """Work."""
    # Who is silent for as long as a lease loses its permits too.
    limiter = None if at_once is None else RedisLimiter(url, dead_after=lease_seconds)
    async with engine(url, "work", Provider(Log(Path(log)), at_once=at_once), lease_seconds, limiter=limiter):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    _, url, log, lease_seconds, *at_once = sys.argv
    anyio.run(main, url, log, float(lease_seconds), int(at_once[0]) if at_once else None)
