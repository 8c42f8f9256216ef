"""A PostgreSQL for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.postgres_server import Postgres, running_postgres

_names = count()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, one for all tests: give each test a schema of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def schema() -> str:
    """A name that nobody has used."""
    return f"schema{next(_names)}"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL that tests may break, and start again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def proxy(shared_postgres: Postgres) -> Iterator[CuttingProxy]:
    """A proxy before the shared server, which cuts what passes as told."""
    with CuttingProxy(shared_postgres.port) as proxy:
        yield proxy
