"""Databases of a host: SQLite, and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.servers.postgres_server import Postgres, running_postgres

_numbers = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, one for all tests: give each test a schema of its own."""
    with running_postgres() as server:
        yield server


def postgres_engine(url: str) -> sa.Engine:
    """An engine for a URL of libpq's."""
    return sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


@pytest.fixture
def on_postgres(postgres: Postgres) -> Iterator[sa.Engine]:
    """A new schema in PostgreSQL."""
    schema = f"host{next(_numbers)}"
    postgres.ask(f"CREATE SCHEMA {schema}")
    engine = postgres_engine(f"{postgres.url}?options=-csearch_path%3D{schema}")
    yield engine
    engine.dispose()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    """A new database in SQLite."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'host.db'}")

    @event.listens_for(engine, "connect")
    def set_up(connection: sa.engine.interfaces.DBAPIConnection, record: object) -> None:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
        connection.cursor().execute("PRAGMA synchronous = OFF")

    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> sa.Engine:
    """A new database of each kind."""
    engine: sa.Engine = request.getfixturevalue(f"on_{request.param}")
    return engine
