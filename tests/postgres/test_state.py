"""The state store in a PostgreSQL keeps the contract, on asyncio and trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest

from ratesync.postgres import PostgresStateStore
from ratesync.testing.state_suite import StateStoreSuite
from tests.servers.postgres_server import Postgres

_numbers = count()


class TestPostgresStateStore(StateStoreSuite):
    @pytest.fixture
    async def store(self, shared_postgres: Postgres) -> AsyncIterator[PostgresStateStore]:
        store = PostgresStateStore.from_url(shared_postgres.url, schema=f"state{next(_numbers)}")
        await store.open()
        yield store
        await store.close()
