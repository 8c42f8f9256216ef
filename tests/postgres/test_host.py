"""What the host gives: a URL, a function, a pool. Its secrets stay its own."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from ratesync.errors import ConfigurationError, ForkedProcess, QueueError
from ratesync.model.stored import Stored, Write
from ratesync.postgres import AccessRefused, PostgresStateStore, ServerAway
from ratesync.postgres.statements import above
from tests.servers.postgres_server import PASSWORD, Postgres
from tests.servers.valkey_server import free_port

pytestmark = pytest.mark.anyio


async def is_used(store: PostgresStateStore) -> None:
    await store.open()
    await store.commit([Write("a", b"1"), Write("b", b"1")])
    await store.commit([Write("a", None), Write("b", b"\0", if_revision=1)])
    assert list(await store.load(["a", "b"])) == [None, Stored("b", b"\0", 2)]
    await store.close()


def test_a_url_is_enough(shared_postgres: Postgres) -> None:
    anyio.run(is_used, PostgresStateStore(shared_postgres.url, schema="by_url"))


def test_a_function_of_the_hosts_makes_connections(shared_postgres: Postgres) -> None:
    made: list[psycopg.Connection[dict[str, Any]]] = []

    def connect() -> psycopg.Connection[dict[str, Any]]:
        made.append(psycopg.Connection[dict[str, Any]].connect(shared_postgres.url, row_factory=dict_row))
        return made[-1]

    anyio.run(is_used, PostgresStateStore(connect, schema="by_function"))
    assert len(made) == 1
    assert made[0].closed


def test_a_pool_of_the_hosts_gets_its_connections_back_as_they_were(shared_postgres: Postgres) -> None:
    pool: ConnectionPool[psycopg.Connection[dict[str, Any]]] = ConnectionPool(
        shared_postgres.url, min_size=1, max_size=1, kwargs={"row_factory": dict_row}, open=True
    )
    with pool:
        anyio.run(is_used, PostgresStateStore(pool, schema="by_pool"))
        with pool.connection() as connection:
            assert not connection.autocommit
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        assert pool.get_stats().get("connections_num") == 1, "none was broken"


def test_a_wrong_password_is_told_at_once(shared_postgres: Postgres) -> None:
    shared_postgres.ask(f"CREATE ROLE wrong LOGIN PASSWORD '{PASSWORD}'")
    url = f"postgresql://wrong:not-this-one@127.0.0.1:{shared_postgres.port}/postgres"
    with pytest.raises(AccessRefused, match="the password is wrong") as error:
        anyio.run(PostgresStateStore(url).open)
    assert "not-this-one" not in "".join(traceback.format_exception(error.value))


def test_a_database_that_is_not_there_is_told_at_once(shared_postgres: Postgres) -> None:
    with pytest.raises(AccessRefused, match="no such database"):
        anyio.run(PostgresStateStore(shared_postgres.url + "x").open)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret/word@127.0.0.1:5432/db",
        "postgresql://ada:s3cret@word@127.0.0.1:5432/db",
        "postgresql://ada:s3cret@127.0.0.1:port/db",
        "postgresql://ada:s3cret%zz@127.0.0.1/db",
        "postgresql://ada:s3cret@127.0.0.1/db?unknown=1",
        "host=127.0.0.1 password='s3cret",
        "s3cret",
    ],
)
def test_a_url_that_cannot_be_read_shows_nothing_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL") as error:
        PostgresStateStore(url)
    assert "s3cret" not in "".join(traceback.format_exception(error.value))


def test_nothing_shows_the_password(shared_postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    url = f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/db"
    store = PostgresStateStore(url, patience=0.1)
    with pytest.raises(ServerAway, match="refused") as error:
        anyio.run(store.open)
    trace = error.value.__traceback__
    assert trace is not None
    behind_this_function = traceback.TracebackException(ServerAway, error.value, trace.tb_next, capture_locals=True)
    shown = "".join(behind_this_function.format())
    assert "s3cret" not in f"{shown}{store!r}{[vars(part) for part in vars(store).values()]!r}{caplog.text}"


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"ratesync\[postgres\]"):
        PostgresStateStore("postgresql://localhost")


async def test_keys_that_cannot_be_are_not_there(shared_postgres: Postgres, schema: str) -> None:
    store = PostgresStateStore(shared_postgres.url, schema=schema)
    await store.open()
    await store.commit([Write("a", b"1")])
    assert list(await store.load(["\0", "a", ""])) == [None, Stored("a", b"1", 1), None]
    assert list(await store.load(["\0"])) == [None]
    await store.close()


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"timeout": 0}, {"patience": -1}])
def test_numbers_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PostgresStateStore("postgresql://localhost", **wrong)


async def test_a_store_that_is_not_open_says_so(shared_postgres: Postgres) -> None:
    store = PostgresStateStore(shared_postgres.url)
    with pytest.raises(QueueError, match="open"):
        await store.load(["a"])
    await store.open()
    await store.close()
    with pytest.raises(QueueError, match="open"):
        await store.commit([Write("a", b"")])


def in_a_child(store: PostgresStateStore) -> int:
    child = os.fork()
    if not child:
        try:
            anyio.run(store.load, ["a"])
        except ForkedProcess:
            os._exit(7)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_is_refused_and_harms_nothing(shared_postgres: Postgres) -> None:
    url = shared_postgres.new_database()
    asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s", url.rpartition("/")[2]
    store = PostgresStateStore(url)
    anyio.run(store.open)
    before = shared_postgres.ask(*asked)
    assert in_a_child(store) == 7
    assert list(anyio.run(store.load, ["a"])) == [None]
    assert shared_postgres.ask(*asked) == before, "the connection is another one"
    assert len(before) == 1
    anyio.run(store.close)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("a/", "a0"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("\ud7ff", "\ue000"),
        ("\uffff", "\U00010000"),
    ],
    ids=ascii,
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    assert above(prefix) == end
