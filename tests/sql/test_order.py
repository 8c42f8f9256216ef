"""Nothing that is committed stays unread, in whatever order transactions end."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Thread
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from ratesync.sql import feed
from ratesync.sql.position import Position
from tests.sql.host import Contact, Host, everything

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What is tested is the database."""
    return "asyncio"


NO_HORIZON = "9223372036854775807::bigint"
"""What a reader would use that takes whatever it sees."""


def begun(host: Host, name: str) -> sa.Connection:
    """A transaction that has added a contact and has not ended."""
    connection = host.engine.connect()
    connection.execute(sa.insert(Contact).values(name=name))
    return connection


def names(known: dict[str, Any]) -> list[str]:
    return [record["name"] for record in known.values()]


async def test_what_is_written_first_and_committed_last_is_not_passed_by(on_postgres: sa.Engine) -> None:
    host = Host(on_postgres)
    _, cursor = await everything(host.records)
    with begun(host, "early") as early:
        host.add("late")
        known, cursor = await everything(host.records, cursor)
        assert names(known) == [], "what is behind an open transaction is not told yet"
        early.commit()
    known, cursor = await everything(host.records, cursor)
    assert names(known) == ["early", "late"]


async def test_without_the_horizon_a_change_would_be_lost(
    on_postgres: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above can fail, and the order of numbers is not enough."""
    monkeypatch.setattr(feed, "HORIZON", NO_HORIZON)
    host = Host(on_postgres)
    host.add("first")
    with begun(host, "early") as early:
        host.add("late")
        with on_postgres.connect() as connection:
            seen = host.records._feed.read(connection, Position(), 10)  # pyright: ignore[reportPrivateUsage]
        early.commit()
    with on_postgres.connect() as connection:
        more = host.records._feed.read(connection, seen[-1][0], 10)  # pyright: ignore[reportPrivateUsage]
    assert (len(seen), len(more)) == (2, 0), "the change that was committed last was never told"


async def test_a_transaction_that_is_rolled_back_holds_nobody_up_afterwards(on_postgres: sa.Engine) -> None:
    host = Host(on_postgres)
    _, cursor = await everything(host.records)
    with begun(host, "never") as never:
        host.add("late")
        never.rollback()
    assert names((await everything(host.records, cursor))[0]) == ["late"]


async def test_a_listing_under_way_and_a_transaction_under_way_leave_no_gap(on_postgres: sa.Engine) -> None:
    host = Host(on_postgres)
    with begun(host, "open") as connection:
        host.add("other")
        known, cursor = await everything(host.records)
        assert names(known) == ["other"]
        connection.commit()
    assert "open" in names((await everything(host.records, cursor))[0])


def writing(host: Host, seed: int, transactions: int) -> Callable[[], None]:
    """One of the application's own processes: transactions of several changes, some rolled back."""
    chance = random.Random(seed)

    def write() -> None:
        for _ in range(transactions):
            with host.engine.connect() as connection:
                if host.engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")  # who reads first may not be able to write then
                for _ in range(chance.randint(1, 3)):
                    ids = [key for (key,) in connection.execute(sa.select(Contact.id).order_by(Contact.id))]
                    change: Any
                    match chance.choice(["insert", "insert", "update", "delete"]) if ids else "insert":
                        case "insert":
                            change = sa.insert(Contact).values(name=f"{seed}-{chance.random()}")
                        case "update":
                            # Of its own, so that two never wait for each other.
                            mine = Contact.name.startswith(f"{seed}-")
                            target = sa.select(sa.func.min(Contact.id)).where(mine).scalar_subquery()
                            change = sa.update(Contact).where(Contact.id == target).values(age=chance.randint(0, 99))
                        case _:
                            mine = Contact.name.startswith(f"{seed}-")
                            target = sa.select(sa.func.max(Contact.id)).where(mine).scalar_subquery()
                            change = sa.delete(Contact).where(Contact.id == target)
                    connection.execute(change)
                if chance.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()

    return write


async def test_a_reader_beside_many_writers_ends_with_what_is_there(engine: sa.Engine) -> None:
    host = Host(engine)
    copy, cursor = await everything(host.records, limit=5)
    threads = [Thread(target=writing(host, seed, 25)) for seed in range(4)]
    for thread in threads:
        thread.start()
    pages = 0
    while any(thread.is_alive() for thread in threads):
        page = await host.records.changes(cursor, limit=5)
        copy |= {change.record_id: None if change.is_deleted else change.fields for change in page.changes}
        cursor, pages = page.cursor, pages + bool(page.changes)
        await anyio.lowlevel.checkpoint()
    rest, cursor = await everything(host.records, cursor)
    there, _ = await everything(host.records, limit=1000)
    assert {key: value for key, value in (copy | rest).items() if value is not None} == there
    assert pages > 1, "nothing was read while others wrote, so nothing was tested"
    assert there
