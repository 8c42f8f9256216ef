"""Rows that a sync makes in SQLite have numbers that no row had before them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from attrs import evolve

from ratesync.engine.sync.local_side import LocalSide
from ratesync.model.outcome import Applied
from ratesync.sql import Outbox, SqlRecords
from ratesync.sql.free_ids import FreeIds
from tests.sql.host import Contact, Host
from tests.sync.desk import Desk

pytestmark = pytest.mark.anyio


async def made(records: SqlRecords, op_id: str) -> str:
    answer = await records.apply(None, {"name": op_id}, if_version=None, op_id=op_id)
    assert isinstance(answer, Applied), answer
    return answer.record_id or ""


async def test_a_new_row_has_none_of_the_ids_that_the_outbox_names(on_sqlite: sa.Engine) -> None:
    host = Host(on_sqlite)
    assert [host.add(f"n{number}") for number in range(3)] == ["1", "2", "3"]
    host.say("DELETE FROM contact WHERE id > 1")
    assert await made(host.records, "a") == "4"
    host.say("DELETE FROM contact WHERE id > 1")
    host.say("INSERT INTO contact (id, name, tenant) VALUES (9, 'elsewhere', 2)")
    assert await made(host.records, "b") == "10"
    host.say("DELETE FROM contact WHERE id > 1")
    assert await made(SqlRecords(on_sqlite, Contact, outbox=host.outbox), "c") == "11"
    assert await made(host.records, "c") == "11"


async def test_a_table_that_counts_for_itself_is_left_to_it(on_sqlite: sa.Engine) -> None:
    metadata, outbox = sa.MetaData(), Outbox()
    notes = sa.Table(
        "note", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text),
        sqlite_autoincrement=True,
    )  # fmt: skip
    metadata.create_all(on_sqlite)
    outbox.create(on_sqlite)
    records = SqlRecords(on_sqlite, notes, outbox=outbox)
    with on_sqlite.begin() as connection:
        connection.execute(sa.insert(notes).values(id=7, name="gone"))
        connection.execute(sa.delete(notes))  # and the outbox was trimmed
    assert await made(records, "a") == "8"


async def a_record_comes_while_the_delete_of_the_newest_row_waits(host: Host) -> Desk:
    desk = Desk()
    pair = evolve(desk.reconciler.pair, local=LocalSide(host.records))
    desk.reconciler = evolve(desk.reconciler, pair=pair)
    for number in range(3):
        host.add(f"n{number}")
    await desk.sync()
    host.say("DELETE FROM contact WHERE name = 'n2'")
    desk.crm.put("x9", {"name": "new", "email": None, "age": None})
    for _ in range(3):
        await desk.sync()
    return desk


async def test_a_record_is_not_taken_for_one_whose_delete_waits(on_sqlite: sa.Engine) -> None:
    host = Host(on_sqlite)
    desk = await a_record_comes_while_the_delete_of_the_newest_row_waits(host)
    assert sorted(str(record.fields["name"]) for record in desk.crm.records.values()) == ["n0", "n1", "new"]
    assert sorted(name for (name,) in host.say("SELECT name FROM contact")) == ["n0", "n1", "new"]


async def test_with_the_id_that_sqlite_gives_a_record_would_be_there_twice(
    on_sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_sqlite_chooses(*_: object) -> None:
        return None

    monkeypatch.setattr(FreeIds, "next", as_sqlite_chooses)
    desk = await a_record_comes_while_the_delete_of_the_newest_row_waits(Host(on_sqlite))
    assert sorted(str(record.fields["name"]) for record in desk.crm.records.values()) == ["n0", "n1", "new", "new"]
