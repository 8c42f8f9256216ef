"""What a database may do to a store: locks, stricter isolation, no writes, few connections."""

from __future__ import annotations

from functools import partial

import anyio
import psycopg
import pytest

from ratesync.clock import Clock
from ratesync.errors import StateConflict
from ratesync.model.stored import Stored, Write
from ratesync.postgres import ServerAway, ServerError, ServerReadsOnly, pool
from ratesync.postgres.commit import stripe_of
from tests.postgres.stores import happens, impatient, opened
from tests.servers.postgres_server import Postgres, within

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What is tested is the database."""
    return "asyncio"


async def test_there_are_no_more_connections_than_allowed(shared_postgres: Postgres) -> None:
    url = shared_postgres.new_database()
    counting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    async with opened(url, connections=2, timeout=5.0) as store:
        most = 0
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(store.commit, [Write(f"k{number}", b"")])
            for _ in range(5):
                ((seen,),) = await anyio.to_thread.run_sync(shared_postgres.ask, counting, url.rpartition("/")[2])
                most = max(most, seen)
        assert 0 < most <= 2
        assert len(await store.scan("k")) == 40


async def test_a_deadlock_is_tried_again(shared_postgres: Postgres, schema: str) -> None:
    """One with somebody who locks in another order, which no commit of ours does."""
    first, second = sorted("ab", key=stripe_of)
    async with opened(shared_postgres.url, schema=schema, timeout=3.0) as store:
        lock = within(schema, "SELECT FROM {schema}.stripe WHERE stripe = %s FOR UPDATE").encode()
        with psycopg.connect(shared_postgres.url) as other:
            other.execute(b"SET deadlock_timeout = '1min'")  # so that it is ours that gives way
            other.execute(lock, [stripe_of(second)])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.commit, [Write("a", b""), Write("b", b"")])
                waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                await happens(lambda: shared_postgres.ask(waiting))
                await anyio.to_thread.run_sync(partial(other.execute, lock, [stripe_of(first)]))
                other.commit()
        assert [stored.revision for stored in await store.scan("")] == [1, 1]


async def test_who_gets_no_connection_is_told(shared_postgres: Postgres, schema: str) -> None:
    async with opened(shared_postgres.url, schema=schema, connections=1, timeout=3.0) as store:
        with psycopg.connect(shared_postgres.url) as other:
            other.execute(within(schema, "SELECT FROM {schema}.stripe FOR UPDATE").encode())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.commit, [Write("a", b"1")])
                waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                await happens(lambda: shared_postgres.ask(waiting))
                with impatient(store), pytest.raises(ServerAway, match="all connections are in use"):
                    await store.load(["a"])
                other.rollback()
        assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]


async def test_a_free_connection_is_taken_even_if_there_is_no_time_to_wait(
    shared_postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a busy event loop comes back to it after the end of ``patience``."""

    def too_late(clock: Clock, at: float) -> anyio.CancelScope:
        return anyio.move_on_after(-1)

    monkeypatch.setattr(pool, "timeout_at", too_late)
    async with opened(shared_postgres.url, schema=schema, timeout=30.0, patience=0.0) as store:
        assert list(await store.commit([Write("a", b"1")])) == [1]


async def test_what_the_server_refuses_was_certainly_not_done(shared_postgres: Postgres, schema: str) -> None:
    """Here by a trigger of somebody's; so might a policy or a full tablespace."""
    async with opened(shared_postgres.url, schema=schema) as store:
        refusal = "BEGIN RAISE EXCEPTION 'no'; END"
        shared_postgres.ask(f"CREATE FUNCTION {schema}.no() RETURNS trigger LANGUAGE plpgsql AS $${refusal}$$")
        when = f"BEFORE INSERT ON {schema}.state FOR EACH ROW EXECUTE FUNCTION {schema}.no()"
        shared_postgres.ask(f"CREATE TRIGGER no {when}")
        with pytest.raises(ServerError, match="P0001") as error:
            await store.commit([Write("a", b"1")])
        assert not error.value.is_unknown
        shared_postgres.ask(f"DROP TRIGGER no ON {schema}.state")
        assert list(await store.commit([Write("a", b"1")])) == [1]


async def test_who_waits_for_a_lock_too_long_is_told(shared_postgres: Postgres, schema: str) -> None:
    async with opened(shared_postgres.url, schema=schema, timeout=3.0) as store:
        with impatient(store), psycopg.connect(shared_postgres.url) as other:
            other.execute(within(schema, "SELECT FROM {schema}.stripe FOR UPDATE").encode())
            with pytest.raises(ServerAway) as error:
                await store.commit([Write("a", b"1")])
            assert not error.value.is_unknown
        assert list(await store.commit([Write("a", b"1")])) == [1]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_a_database_with_stricter_isolation_makes_no_difference(
    shared_postgres: Postgres, isolation: str
) -> None:
    url = shared_postgres.new_database()
    name = url.rpartition("/")[2]
    shared_postgres.ask(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
    async with opened(url, timeout=30.0, patience=0.0, connections=16) as store:  # nothing need be tried again

        async def count_up() -> None:
            while True:
                (stored,) = await store.load(["a"])
                value, revision = (b"0", 0) if stored is None else (stored.value, stored.revision)
                try:
                    await store.commit([Write("a", b"%d" % (int(value) + 1), if_revision=revision)])
                except StateConflict:
                    continue
                return

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(count_up)
        assert list(await store.load(["a"])) == [Stored("a", b"8", 8)]


async def test_a_server_that_takes_no_writes_is_told(shared_postgres: Postgres) -> None:
    url = shared_postgres.new_database()
    async with opened(url) as store:
        await store.commit([Write("a", b"1")])
        shared_postgres.ask(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
        name = url.rpartition("/")[2]
        shared_postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]
        with impatient(store, timeout=3.0), pytest.raises(ServerReadsOnly, match="25006"):
            await store.commit([Write("a", b"2")])
