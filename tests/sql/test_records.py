"""A table keeps the contract of a local store, in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from ratesync.errors import ConfigurationError, CursorExpired
from ratesync.model.difference import ABSENT
from ratesync.model.outcome import Applied, Conflict, Rejected
from ratesync.sql import Outbox, SqlRecords
from tests.sql.host import OURS, Contact, Host, everything

pytestmark = pytest.mark.anyio


@pytest.fixture
def host(engine: sa.Engine) -> Host:
    return Host(engine)


def fields(name: str, email: str | None = None, age: int | None = None) -> dict[str, object]:
    return {"name": name, "email": email, "age": age}


async def test_a_reader_learns_of_all_records_and_then_of_each_change(host: Host) -> None:
    ids = [host.add(f"n{number}") for number in range(7)]
    known, cursor = await everything(host.records)
    assert known == {record_id: fields(f"n{number}") for number, record_id in enumerate(ids)}
    assert await everything(host.records, cursor) == ({}, cursor)
    host.say("UPDATE contact SET name = 'new' WHERE id = :id", id=int(ids[2]))
    host.say("DELETE FROM contact WHERE id = :id", id=int(ids[3]))
    added = host.add("added")
    news, cursor = await everything(host.records, cursor)
    assert news == {ids[2]: fields("new"), ids[3]: None, added: fields("added")}
    assert (await everything(host.records, cursor))[0] == {}


async def test_what_changes_during_a_listing_is_told_after_it(host: Host) -> None:
    ids = [host.add(f"n{number}") for number in range(6)]
    page = await host.records.changes(None, limit=2)
    host.say("UPDATE contact SET name = 'new' WHERE id = :id", id=int(ids[0]))
    host.say("DELETE FROM contact WHERE id = :id", id=int(ids[1]))
    known = {change.record_id: change.fields for change in page.changes}
    rest, cursor = await everything(host.records, page.cursor)
    news, _ = await everything(host.records, cursor)
    assert known | rest | news == {
        ids[0]: fields("new"),
        ids[1]: None,
        **{record_id: fields(f"n{number}") for number, record_id in enumerate(ids) if number > 1},
    }


async def test_what_the_host_rolls_back_is_not_told(host: Host) -> None:
    _, cursor = await everything(host.records)
    with host.engine.connect() as connection:
        connection.execute(sa.insert(Contact).values(name="never"))
        host.outbox.note(connection, "contact", 99)
        connection.rollback()
    assert (await everything(host.records, cursor))[0] == {}


async def test_a_host_without_triggers_notes_its_writes_itself(engine: sa.Engine) -> None:
    notes = sa.Table("note", sa.MetaData(), sa.Column("key", sa.String, primary_key=True), sa.Column("text", sa.Text))
    notes.metadata.create_all(engine)
    outbox = Outbox(name="changed")
    outbox.create(engine)
    records = SqlRecords(engine, notes, outbox=outbox, fields={"body": "text"})
    _, cursor = await everything(records)
    with engine.begin() as connection:
        connection.execute(sa.insert(notes).values(key="a", text="1"))
        outbox.note(connection, "note", "a")
    with Session(engine) as session:
        session.execute(sa.insert(notes).values(key="b", text="2"))
        outbox.note(session, "note", "b")
        session.commit()
    assert (await everything(records, cursor))[0] == {"a": {"body": "1"}, "b": {"body": "2"}}
    made = await records.apply(None, {"body": "3"}, if_version=None, op_id="op-1")
    assert isinstance(made, Applied)
    assert made.record_id == "op-1", "a text key is the operation's id"


async def test_only_changes_of_the_key_touch_two_records(host: Host) -> None:
    record_id = host.add("ada")
    _, cursor = await everything(host.records)
    host.say("UPDATE contact SET id = id + 1000")
    assert (await everything(host.records, cursor))[0] == {record_id: None, str(int(record_id) + 1000): fields("ada")}


async def test_a_table_that_is_emptied_at_once_is_told_record_by_record(on_postgres: sa.Engine) -> None:
    host = Host(on_postgres)
    ids = [host.add("ada"), host.add("bob")]
    _, cursor = await everything(host.records)
    host.say("TRUNCATE contact")
    assert (await everything(host.records, cursor))[0] == dict.fromkeys(ids)


async def test_a_record_is_made_changed_and_deleted(host: Host) -> None:
    made = await host.records.apply(None, {"name": "ada", "age": 36, "email": ABSENT}, if_version=None, op_id="o1")
    assert isinstance(made, Applied)
    assert made.record is not None
    assert made.record_id is not None
    assert made.record.fields == fields("ada", None, 36)
    changed = await host.records.apply(made.record_id, {"age": ABSENT}, if_version=made.version, op_id="o2")
    assert isinstance(changed, Applied)
    assert changed.record is not None
    assert changed.record.fields == fields("ada")
    assert changed.version == changed.record.version != made.version
    assert await host.records.read([made.record_id, "999", "x", "", "\0", str(2**63), "9" * 40]) == {
        made.record_id: changed.record
    }
    back = await host.records.apply(made.record_id, {"age": 36}, if_version=changed.version, op_id="o3")
    assert isinstance(back, Applied)
    assert back.version == made.version, "a version is what the fields are"
    assert await host.records.delete(made.record_id, if_version=back.version, op_id="o4") == Applied(made.record_id)
    assert await host.records.delete(made.record_id, if_version=back.version, op_id="o5") == Applied(made.record_id)
    assert await host.records.read([made.record_id]) == {}
    ops = host.say("SELECT op_id FROM ratesync_outbox WHERE op_id IS NOT NULL ORDER BY number")
    assert ops == [("o1",), ("o2",), ("o3",), ("o4",)], "our own writes can be told from the host's"


async def test_a_record_is_made_once_for_each_operation(host: Host) -> None:
    first = await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1")
    host.say("UPDATE contact SET name = 'changed'")
    assert await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1") == first
    host.say("DELETE FROM contact")
    assert await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1") == first
    assert host.say("SELECT count(*) FROM contact") == [(0,)]


async def test_of_many_who_make_the_same_one_record_comes(host: Host) -> None:
    outcomes: list[object] = []

    @event.listens_for(host.engine, "after_cursor_execute")
    def linger(connection: object, cursor: object, statement: str, *others: object) -> None:
        if statement.startswith("INSERT INTO contact"):
            Event().wait(0.02)  # so that the others come before this one has ended

    async def make() -> None:
        outcomes.append(await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1"))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(make)
    assert host.say("SELECT count(*) FROM contact") == [(1,)]
    assert outcomes == [outcomes[0]] * 8
    assert isinstance(outcomes[0], Applied)


async def test_of_many_who_change_one_version_one_wins(host: Host) -> None:
    record_id = host.add("ada", age=0)

    async def count_up() -> None:
        while True:
            record = (await host.records.read([record_id]))[record_id]
            patch = {"age": record.fields["age"] + 1}
            outcome = await host.records.apply(record_id, patch, if_version=record.version, op_id="op")
            if isinstance(outcome, Applied):
                return
            assert isinstance(outcome, Conflict)
            assert outcome.current is not None
            assert outcome.current.version != record.version

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(count_up)
    assert host.say("SELECT age FROM contact") == [(8,)]


async def test_another_version_is_a_conflict(host: Host) -> None:
    record_id = host.add("ada")
    assert isinstance(await host.records.apply(record_id, {"age": 1}, if_version="old", op_id="o"), Conflict)
    assert isinstance(await host.records.delete(record_id, if_version="old", op_id="o"), Conflict)
    assert isinstance(await host.records.apply("999", {"age": 1}, if_version=None, op_id="o"), Conflict)
    assert isinstance(await host.records.apply("no key", {"age": 1}, if_version=None, op_id="o"), Conflict)
    assert host.say("SELECT name, age FROM contact") == [("ada", None)]


WRONG: dict[str, dict[str, object]] = {
    "age: ": {"name": "s3cret", "age": "s3cret"},
    "name: ": {"name": "s3cret\ud800"},
    "unknown: ": {"name": "s3cret", "unknown": 1},
    "tenant: ": {"name": "s3cret", "tenant": 2},
    "NotNullViolation|IntegrityError": {"name": None, "email": "s3cret"},
    "UniqueViolation|IntegrityError": {"name": "s3cret", "email": "taken"},
}


async def test_what_the_table_cannot_hold_is_rejected_and_not_shown(host: Host) -> None:
    host.add("other", email="taken")
    record_id = host.add("ada")
    for told, patch in WRONG.items():
        outcome = await host.records.apply(None, patch, if_version=None, op_id="o1")
        assert isinstance(outcome, Rejected)
        assert any(word in outcome.reason for word in told.split("|"))
        assert "s3cret" not in outcome.reason
        assert isinstance(await host.records.apply(record_id, patch, if_version=None, op_id="o2"), Rejected)
    assert host.say("SELECT count(*) FROM ratesync_outbox WHERE op_id IS NOT NULL") == [(0,)]
    fixed = await host.records.apply(None, {"name": "right"}, if_version=None, op_id="o1")
    assert isinstance(fixed, Applied), "nothing is remembered of what was rejected"


async def test_records_are_found_by_a_field(host: Host) -> None:
    ada, bob = host.add("ada", email=" Ada@Example.org", age=36), host.add("bob", age=36)
    host.add("eve", email="eve@example.org")
    assert [found.record_id for found in await host.records.find("email", ["ada@example.org", 7, "x"])] == [ada]
    assert sorted(found.record_id for found in await host.records.find("age", [36, "36"])) == [ada, bob]
    assert list(await host.records.find("name", [])) == []
    assert list(await host.records.find("age", ["x"])) == []


async def test_rows_outside_of_the_scope_are_no_records(host: Host) -> None:
    theirs = host.add("theirs", tenant=2)
    ours = host.add("ours")
    known, cursor = await everything(host.records)
    assert known == {ours: fields("ours")}
    assert await host.records.read([theirs]) == {}
    assert list(await host.records.find("name", ["theirs"])) == []
    assert isinstance(await host.records.apply(theirs, {"age": 1}, if_version=None, op_id="o"), Conflict)
    assert await host.records.delete(theirs, if_version=None, op_id="o") == Applied(theirs)
    host.say("UPDATE contact SET tenant = 2 WHERE name = 'ours'")
    assert (await everything(host.records, cursor))[0][ours] is None
    assert host.say("SELECT name FROM contact ORDER BY id") == [("theirs",), ("ours",)]


async def test_what_is_rejected_after_it_was_inserted_is_taken_back(on_sqlite: sa.Engine) -> None:
    host = Host(on_sqlite)
    host.say("CREATE TRIGGER moves AFTER INSERT ON contact BEGIN UPDATE contact SET tenant = 2; END")
    assert isinstance(await host.records.apply(None, {"name": "a"}, if_version=None, op_id="o1"), Rejected)
    assert host.say("SELECT count(*) FROM contact") == host.say("SELECT count(*) FROM ratesync_outbox") == [(0,)]


async def test_a_trimmed_outbox_sends_readers_to_the_beginning(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.add("old")
    _, before = await everything(host.records)
    host.add("new")
    known, after = await everything(host.records, before)
    assert len(known) == 1
    assert host.outbox.trim(host.engine) == 0
    assert (await everything(host.records, before))[0] == known
    host.say("UPDATE ratesync_outbox SET at = '2020-01-01 00:00:00'")
    monkeypatch.setattr("ratesync.sql.outbox.AT_ONCE", 1)
    assert host.outbox.trim(host.engine) == 2
    assert (await everything(host.records, after))[0] == {}
    with pytest.raises(CursorExpired, match="trimmed"):
        await host.records.changes(before, limit=3)
    host.add("newest")
    assert len((await everything(host.records, after))[0]) == 1
    everyone, end = await everything(host.records)
    assert len(everyone) == 3
    assert (await everything(host.records, end))[0] == {}


async def test_a_cursor_that_is_not_of_this_outbox_is_expired(host: Host) -> None:
    for cursor in ["", "x", "[]", "[1]", '["a", 1]', "7", "[9223372036854775000, 9]"]:
        with pytest.raises(CursorExpired):
            await host.records.changes(cursor, limit=3)


async def test_tables_and_triggers_may_be_made_again_and_by_many_at_once(host: Host) -> None:
    outboxes = [Outbox(name="other") for _ in range(6)]

    def make(outbox: Outbox) -> None:
        for _ in range(3):
            outbox.create(host.engine)
            outbox.watch(host.engine, Contact)

    async with anyio.create_task_group() as tasks:
        for outbox in outboxes:
            tasks.start_soon(anyio.to_thread.run_sync, make, outbox)
    other = SqlRecords(host.engine, Contact, outbox=outboxes[0], scope=OURS)
    for records in (host.records, other):
        _, cursor = await everything(records)
        record_id = host.add("ada")
        assert list((await everything(records, cursor))[0]) == [record_id]
    assert host.say("SELECT count(*) FROM other") == [(2,)], "each change is noted once"


async def test_a_migration_of_the_hosts_makes_them_in_its_own_transaction(on_postgres: sa.Engine) -> None:
    table = sa.Table("late", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text))
    outbox = Outbox()
    for is_kept in (False, True):
        with on_postgres.connect() as connection:
            table.create(connection)
            outbox.create(connection)
            outbox.watch(connection, table)
            assert outbox.trim(connection) == 0
            if is_kept:
                connection.commit()
        assert sorted(sa.inspect(on_postgres).get_table_names()) == (
            ["late", "ratesync_outbox", "ratesync_outbox_floor", "ratesync_outbox_made"] if is_kept else []
        )
    records = SqlRecords(on_postgres, table, outbox=outbox)
    _, cursor = await everything(records)
    with on_postgres.begin() as connection:
        connection.execute(sa.insert(table).values(x="1"))
    assert (await everything(records, cursor))[0] == {"1": {"x": "1"}}


async def test_long_names_and_odd_ones_do_as_well(engine: sa.Engine) -> None:
    table = sa.Table(
        'we"ird: 100%', sa.MetaData(), sa.Column("the key", sa.Integer, primary_key=True), sa.Column("x", sa.Text)
    )
    table.metadata.create_all(engine)
    outbox = Outbox(name='out"box')
    outbox.create(engine)
    outbox.watch(engine, table, resource="it's a " + "very " * 20 + "long name: 100%")
    records = SqlRecords(engine, table, outbox=outbox, resource="it's a " + "very " * 20 + "long name: 100%")
    _, cursor = await everything(records)
    made = await records.apply(None, {"x": "1"}, if_version=None, op_id="o1")
    assert isinstance(made, Applied)
    with engine.begin() as connection:
        connection.execute(sa.update(table).values(x="2"))
    assert (await everything(records, cursor))[0] == {made.record_id: {"x": "2"}}
    with engine.begin() as connection:
        (notes,) = connection.execute(sa.select(sa.func.count()).select_from(outbox.rows)).one()
    assert notes == 3, "two by the triggers, one by the sync itself"


def test_what_cannot_be_synced_is_refused(host: Host) -> None:
    two = sa.Table("two", sa.MetaData(), *(sa.Column(name, sa.Integer, primary_key=True) for name in "ab"))
    with pytest.raises(ConfigurationError, match="primary key"):
        SqlRecords(host.engine, two, outbox=host.outbox)
    with pytest.raises(ConfigurationError, match="neither"):
        SqlRecords(host.engine, "contact", outbox=host.outbox)
    with pytest.raises(ConfigurationError, match="no column 'nick'"):
        SqlRecords(host.engine, Contact, outbox=host.outbox, fields=["name", "nick"])
    with pytest.raises(ConfigurationError, match="use a file"):
        SqlRecords(sa.create_engine("sqlite://"), Contact, outbox=host.outbox)


async def test_a_column_may_tell_when_a_row_was_changed(engine: sa.Engine) -> None:
    outbox = Outbox()
    notes = sa.Table(
        "note", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text),
        sa.Column("changed", sa.DateTime(timezone=True)),
    )  # fmt: skip
    notes.metadata.create_all(engine)
    outbox.create(engine)
    records = SqlRecords(engine, notes, outbox=outbox, changed_at="changed")
    at = datetime(2026, 11, 27, 4, 30, tzinfo=UTC)
    with engine.begin() as connection:
        connection.execute(sa.insert(notes), [{"id": 1, "changed": at}, {"id": 2, "changed": None}])
    found = await records.read(["1", "2"])
    assert {record_id: record.changed_at for record_id, record in found.items()} == {"1": at.timestamp(), "2": None}
    assert found["1"].fields == {"name": None}
    with pytest.raises(ConfigurationError, match="DateTime"):
        SqlRecords(engine, notes, outbox=outbox, changed_at="name")
