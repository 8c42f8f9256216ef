"""State stores for tests of what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import anyio

from ratesync.postgres import PostgresStateStore
from ratesync.postgres.pool import Pool
from tests.servers.valkey_server import wait_for

_numbers = count()


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncGenerator[PostgresStateStore]:
    """A store in a schema of its own, open for a while. Each try is short, but there are many."""
    settings: dict[str, Any] = {"schema": f"outage{next(_numbers)}", "timeout": 0.4, "patience": 8.0} | options
    store = PostgresStateStore.from_url(url, **settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def impatient(store: PostgresStateStore, timeout: float = 0.2, patience: float = 0.3) -> Generator[None]:
    """Give up soon for a while, where nothing would come anyway."""
    pool: Pool = vars(store)["_pool"]
    usual = pool.timeout, pool.patience
    pool.timeout, pool.patience = timeout, patience
    yield
    pool.timeout, pool.patience = usual


async def happens(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    await anyio.to_thread.run_sync(wait_for, condition)
