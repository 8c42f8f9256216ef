"""A table as a side of a sync, in both databases: the suite of the contract."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from attrs import define

from ratesync.model.operation import Fields
from ratesync.sql import Outbox, SqlRecords
from ratesync.testing.local_suite import LocalStoreSuite

PEOPLE = sa.Table(
    "person",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("email", sa.Text),
    sqlite_autoincrement=True,  # the id of a deleted one is never given to another
)


@define
class TableHost:
    """Changes rows as the host does."""

    engine: sa.Engine

    async def put(self, fields: Fields) -> str:
        with self.engine.begin() as connection:
            key = connection.execute(sa.insert(PEOPLE).values(fields)).inserted_primary_key
        assert key is not None
        return str(key[0])

    async def change(self, record_id: str, fields: Fields) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(PEOPLE).where(PEOPLE.c.id == int(record_id)).values(fields))

    async def delete(self, record_id: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(PEOPLE).where(PEOPLE.c.id == int(record_id)))


class TestSqlRecords(LocalStoreSuite):
    @pytest.fixture
    def anyio_backend(self) -> str:
        """One event loop: the work is done in threads."""
        return "asyncio"

    @pytest.fixture
    def store(self, engine: sa.Engine) -> SqlRecords:
        PEOPLE.metadata.create_all(engine)
        outbox = Outbox()
        outbox.create(engine)
        outbox.watch(engine, PEOPLE)
        return SqlRecords(engine, PEOPLE, outbox=outbox)

    @pytest.fixture
    def host(self, engine: sa.Engine) -> TableHost:
        return TableHost(engine)

    @pytest.fixture
    def rows(self) -> Sequence[Fields]:
        return [{"name": name, "email": f"{name}@example.org"} for name in ("ada", "bob", "cy")]

    @pytest.fixture
    def optional(self) -> str:
        return "email"
