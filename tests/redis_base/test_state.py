"""The state store in a Redis keeps the contract, on asyncio and trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest

from ratesync.redis.server.server import RedisServer
from ratesync.redis.state import RedisStateStore
from ratesync.testing.state_suite import StateStoreSuite
from tests.servers.valkey_server import Valkey

_numbers = count()


class TestRedisStateStore(StateStoreSuite):
    @pytest.fixture
    async def store(self, shared_valkey: Valkey) -> AsyncIterator[RedisStateStore]:
        store = RedisStateStore(RedisServer.from_url(shared_valkey.url, prefix=f"state{next(_numbers)}"))
        await store.open()
        yield store
        await store.close()
