"""The tables are made, moved forward, and left alone where they are somebody else's."""

from __future__ import annotations

import anyio
import psycopg
import pytest

from ratesync.errors import ConfigurationError
from ratesync.model.stored import Stored, Write
from ratesync.postgres import (
    AccessRefused,
    NewerLayout,
    PostgresStateStore,
    SchemaClash,
    ServerAway,
    ServerError,
    ServerUnfit,
    layout,
)
from tests.servers.postgres_server import PASSWORD, Postgres, within

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Migrations run in a thread, on either loop."""
    return "asyncio"


LATER = ("ALTER TABLE {schema}.state ADD COLUMN note text",)
"""What a later version might do."""


def version(postgres: Postgres, schema: str) -> int:
    ((found,),) = postgres.ask(within(schema, "SELECT version FROM {schema}.layout"))
    return int(found)


async def open_many(url: str, schema: str) -> None:
    """As many processes would at once, each with connections of its own."""
    stores = [PostgresStateStore.from_url(url, schema=schema) for _ in range(8)]
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(store.open)
    for number, store in enumerate(stores):
        await store.commit([Write(f"k{number}", b"")])
        assert len(await store.scan("k")) == number + 1
        await store.close()


async def test_many_may_make_the_tables_at_once(shared_postgres: Postgres, schema: str) -> None:
    await open_many(shared_postgres.url, schema)
    assert version(shared_postgres, schema) == len(layout.MIGRATIONS)


async def test_an_older_layout_moves_forward_and_keeps_its_values(
    shared_postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await old.open()
    await old.commit([Write("old", b"1")])
    await old.close()
    with monkeypatch.context() as of_later:
        of_later.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, LATER))
        await open_many(shared_postgres.url, schema)
        assert version(shared_postgres, schema) == len(layout.MIGRATIONS)
        async with anyio.create_task_group():
            new = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
            await new.open()
            assert list(await new.load(["old"])) == [Stored("old", b"1", 1)]
            await new.close()
    with pytest.raises(NewerLayout, match="Upgrade"):
        await old.open()


async def test_a_worker_that_is_older_than_the_tables_writes_nothing_more(
    shared_postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was connected before."""
    old = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await old.open()
    await old.commit([Write("a", b"1")])
    with monkeypatch.context() as of_later:
        of_later.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, LATER))
        new = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
        await new.open()
        await new.close()
    with pytest.raises(NewerLayout, match=rf"{schema}.*layout {len(layout.MIGRATIONS) + 1}") as error:
        await old.commit([Write("a", b"2")])
    assert not error.value.is_unknown
    assert shared_postgres.ask(within(schema, "SELECT value FROM {schema}.state")) == [(b"1",)]
    await old.close()


async def test_a_migration_lets_those_at_work_finish_and_holds_nobody_up(
    shared_postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await old.open()
    await old.close()
    monkeypatch.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, LATER))
    monkeypatch.setattr(layout, "LOCK_WAIT", "50ms")
    new = PostgresStateStore.from_url(shared_postgres.url, schema=schema, patience=0.1)
    with psycopg.connect(shared_postgres.url) as other:
        other.execute(within(schema, "SELECT FROM {schema}.state").encode())
        with pytest.raises(ServerAway, match="55P03"):
            await new.open()
    await new.open()
    await new.close()
    assert version(shared_postgres, schema) == len(layout.MIGRATIONS)


async def test_a_migration_that_fails_changes_nothing(
    shared_postgres: Postgres, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await old.open()
    await old.close()
    bad = (*LATER, "INSERT INTO {schema}.layout VALUES (1, 1)")
    monkeypatch.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, bad))
    new = PostgresStateStore.from_url(shared_postgres.url, schema=schema, patience=0.1)
    with pytest.raises(ServerError, match="23505"):
        await new.open()
    monkeypatch.undo()
    assert version(shared_postgres, schema) == len(layout.MIGRATIONS)
    await old.open()
    await old.commit([Write("a", b"1")])
    await old.close()


@pytest.mark.parametrize("table", ["state (x int)", "layout (x int)", "writer (x int)"])
async def test_tables_of_somebody_else_are_left_alone(shared_postgres: Postgres, schema: str, table: str) -> None:
    shared_postgres.ask(f"CREATE SCHEMA {schema}")
    shared_postgres.ask(f"CREATE TABLE {schema}.{table}")
    store = PostgresStateStore.from_url(shared_postgres.url, schema=schema, patience=0.1)
    with pytest.raises(SchemaClash):
        await store.open()
    tables = shared_postgres.ask("SELECT tablename FROM pg_tables WHERE schemaname = %s", schema)
    assert tables == [(table.split(maxsplit=1)[0],)]


@pytest.mark.parametrize("name", ['we"ird', "per%cent %s", "Schéma.x", "a" * 63])
async def test_a_schema_may_have_any_name(shared_postgres: Postgres, name: str) -> None:
    store = PostgresStateStore.from_url(shared_postgres.new_database(), schema=name)
    await store.open()
    await store.commit([Write("a", b"1")])
    assert list(await store.load(["a"])) == [Stored("a", b"1", 1)]
    await store.close()


@pytest.mark.parametrize("name", ["", "a" * 64, "pg_state", "a\0b"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="schema"):
        PostgresStateStore.from_url("postgresql://localhost", schema=name)


async def test_a_user_with_few_rights_can_use_what_is_there(shared_postgres: Postgres, schema: str) -> None:
    user = f"user_{schema}"
    shared_postgres.ask(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    url = f"postgresql://{user}:pa55%2Fword%3F@127.0.0.1:{shared_postgres.port}/postgres"
    theirs = PostgresStateStore.from_url(url, schema=schema)
    with pytest.raises(AccessRefused, match="42501"):
        await theirs.open()
    owner = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await owner.open()
    await owner.close()
    shared_postgres.ask(f"GRANT USAGE ON SCHEMA {schema} TO {user}")
    shared_postgres.ask(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}")
    await theirs.open()
    assert list(await theirs.commit([Write("a", b"1")])) == [1]
    await theirs.close()


async def test_a_database_that_cannot_hold_every_key_is_refused(shared_postgres: Postgres, schema: str) -> None:
    shared_postgres.ask(f"CREATE DATABASE {schema} ENCODING 'LATIN1' TEMPLATE template0")
    url = shared_postgres.url.removesuffix("postgres") + schema
    with pytest.raises(ServerUnfit, match="LATIN1"):
        await PostgresStateStore.from_url(url).open()


async def test_rows_of_writers_that_are_gone_are_forgotten(shared_postgres: Postgres, schema: str) -> None:
    store = PostgresStateStore.from_url(shared_postgres.url, schema=schema)
    await store.open()
    await store.commit([Write("a", b"1")])
    await store.commit([Write("a", b"1")])
    await store.close()
    assert shared_postgres.ask(within(schema, "SELECT count(*) FROM {schema}.writer")) == [(1,)]
    shared_postgres.ask(within(schema, "UPDATE {schema}.writer SET at = now() - interval '2 days'"))
    await store.open()
    assert shared_postgres.ask(within(schema, "SELECT count(*) FROM {schema}.writer")) == [(0,)]
    with psycopg.connect(shared_postgres.url):
        await store.commit([Write("a", b"1")])
    await store.close()
