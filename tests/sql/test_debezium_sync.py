"""What Debezium tells of a table without triggers reaches the other side of a sync."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratesync import SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.errors import CursorExpired
from ratesync.memory import MemoryBackend
from ratesync.model.difference import Side
from ratesync.rules.resolvers import prefer
from ratesync.sql import Outbox, SqlRecords, read_debezium
from tests.sync.adapter import Crm
from tests.sync.desk import PLAIN, Still
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio
META = sa.MetaData()
CUSTOMERS = sa.Table("customers", META, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    database = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    META.create_all(database)
    yield database
    database.dispose()


def event(op: str, **row: Any) -> dict[str, Any]:
    """As Debezium's JSON converter writes it."""
    before, after = (row, None) if op == "d" else (None, row or None)
    source = {"connector": "postgresql", "table": "customers"}
    return {"payload": {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1559033904863}}


async def test_events_go_through_the_outbox_to_the_provider_and_a_truncate_has_all_listed_anew(
    database: sa.Engine,
) -> None:
    outbox = Outbox()
    outbox.create(database)
    crm = Crm(FakeCrm(PLAIN, Still().now, random.Random(0)))
    records = SqlRecords(database, CUSTOMERS, outbox=outbox)
    binding = Binding(local=records, provider="crm", resource="customers", resolve=prefer(Side.LOCAL))

    def write(statement: sa.Executable) -> None:
        with database.begin() as connection:
            connection.execute(statement)

    def consume(value: dict[str, Any]) -> None:
        change = read_debezium(value)
        assert change is not None
        with database.begin() as connection:
            outbox.note(connection, "customers", change.record_id)

    def names() -> list[Any]:
        return sorted(record.fields["name"] for record in crm.inner.records.values())

    async with SyncEngine(backend=MemoryBackend(cold_start=False), providers=[crm], quotas={}) as engine:
        write(sa.insert(CUSTOMERS).values([{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}]))
        await engine.sync(binding)
        assert names() == ["Ada", "Bob"]
        write(sa.update(CUSTOMERS).where(CUSTOMERS.c.id == 1).values(name="Ada Lovelace"))
        write(sa.insert(CUSTOMERS).values(id=3, name="Eve"))
        await engine.sync(binding)
        assert names() == ["Ada", "Bob"], "nobody has told of it yet"
        for told in (event("u", id=1, name="Ada Lovelace"), event("c", id=3, name="Eve"), event("u", id=1, name="old")):
            consume(told)
        await engine.sync(binding)
        assert names() == ["Ada Lovelace", "Bob", "Eve"], "the record is read, whatever an event says of it"
        write(sa.delete(CUSTOMERS).where(CUSTOMERS.c.id == 2))
        consume(event("d", id=2))
        await engine.sync(binding)
        assert names() == ["Ada Lovelace", "Eve"]
        write(sa.delete(CUSTOMERS))
        with pytest.raises(CursorExpired):
            read_debezium(event("t"))
        await engine.syncs.resync(binding, sides=[Side.LOCAL])
        assert (await engine.sync(binding)).held == 2
        assert names() == ["Ada Lovelace", "Eve"]
        assert await engine.syncs.approve_deletes(binding) == 2
        await engine.sync(binding)
        assert names() == []
