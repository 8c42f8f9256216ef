from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from errno import EIO
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from ratesync.errors import ConfigurationError, QueueError
from ratesync.model.lane import Selector
from ratesync.model.work import CancelResult, Durability
from ratesync.sqlite import SqliteQueue
from ratesync.sqlite.connection import check_library
from ratesync.sqlite.errors import FileBusy, FileCorrupt, FileError, FileFull, NewerLayout, SqliteTooOld
from ratesync.sqlite.file import SqliteFile
from ratesync.sqlite.layout import MIGRATIONS
from ratesync.testing.queue_actions import bury, claim, complete, count, item, leases, names, submit, take
from tests.servers.valkey_server import wait_for
from tests.sqlite.processes import FORKED, HOLDER, WORKER, said, start, tell

pytestmark = pytest.mark.anyio

SUBMITTER = """
import sys, anyio
from ratesync.sqlite import SqliteQueue
from ratesync.testing.queue_actions import items, submit

async def main():
    queue = SqliteQueue(sys.argv[1])
    await queue.open()
    for number in range(100_000):
        await submit(queue, *items(f"a{number} b{number}", f"k{number % 7}"))
        print(number, flush=True)

anyio.run(main)
"""


async def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    with start(SUBMITTER, str(path)) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
        process.kill()
        acknowledged += map(int, process.stdout.read().splitlines())
    queue = SqliteQueue(path)
    await queue.open()
    ids = [f"{letter}{number}" for number in acknowledged for letter in "ab"]
    assert all(await queue.get(ids)), "something acknowledged was lost"
    assert (await count(queue)).pending - len(ids) in {0, 2}, "a call was done by half"
    await queue.close()


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path)
    await queue.open()
    await submit(queue, *(item(f"i{number}") for number in range(400)))
    workers = [start(WORKER, str(path), name) for name in ("w1", "w2")]
    with anyio.fail_after(30):
        assert await queue.drained(Selector(), None), "the end in another process is noticed"
    done = [name for worker in workers for name in worker.communicate()[0].split()]
    assert sorted(done) == sorted(f"i{number}" for number in range(400))
    await queue.close()


async def test_work_from_another_process_wakes_a_worker(tmp_path: Path) -> None:
    here, there = (SqliteQueue(tmp_path / "sync.db") for _ in range(2))
    await here.open()
    await there.open()
    idle = await claim(here)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.wait, idle.marker, None)
            await anyio.sleep(0.1)
            await submit(there, item("a"))
    assert names(await claim(here)) == "a"
    await there.close()
    await here.close()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(FileCorrupt, match=r"sync\.db"):
        await SqliteQueue(path).open()


async def test_a_newer_layout_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path)
    await queue.open()
    await queue.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NewerLayout, match="99"):
        await SqliteQueue(path).open()


async def test_a_full_disk_is_reported_and_harms_nothing(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "sync.db", durability=Durability.FSYNC, clock=None)
    queue = SqliteQueue(file)
    await queue.open()
    await submit(queue, item("a"))

    def limit(pages: int) -> None:
        file.tell(lambda transaction: transaction.db.execute(f"PRAGMA max_page_count = {pages}"))

    limit(1)
    with pytest.raises(FileFull, match="disk is full"):
        await submit(queue, *(item(f"b{number}", body=bytes(10_000)) for number in range(20)))
    assert (await count(queue)).pending == 1
    await complete(queue, leases(await claim(queue)))
    limit(1_000_000)
    await submit(queue, item("c"))
    assert names(await take(queue)) == "c"
    await queue.close()


async def test_a_file_that_stays_locked_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.BUSY_TRIES", 1)
    queue = SqliteQueue(tmp_path / "sync.db")
    await queue.open()
    other = sqlite3.connect(tmp_path / "sync.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(FileBusy, match="another process"):
        await submit(queue, item("a"))
    other.execute("COMMIT")
    other.close()
    await submit(queue, item("a"))
    await queue.close()


async def test_a_claim_that_is_cancelled_while_the_file_is_busy_leaves_nothing_leased(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "sync.db")
    await queue.open()
    await submit(queue, item("a"))
    other = sqlite3.connect(tmp_path / "sync.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(claim, queue, "cancelled")
        await anyio.sleep(0.1)  # so that the writer has begun with it
        tasks.cancel_scope.cancel()
        other.execute("COMMIT")
    other.close()
    assert (await count(queue)).leased == 0
    (lease,) = await take(queue, worker="other")
    assert [(one.lapses, one.sent_as) for one in lease.items] == [(0, 0)]
    await queue.close()


async def test_an_older_layout_is_brought_up_to_date_and_keeps_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path)
    await queue.open()
    await submit(queue, item("a"))
    await queue.close()
    later = ("ALTER TABLE worker ADD COLUMN host TEXT", "CREATE INDEX worker_host ON worker (host)")
    monkeypatch.setattr("ratesync.sqlite.connection.MIGRATIONS", (*MIGRATIONS, later))
    for _ in range(2):  # once only
        await queue.open()
        assert [entry.id for entry in await queue.get(["a"]) if entry is not None] == ["a"]
        await queue.close()
    monkeypatch.undo()
    with pytest.raises(NewerLayout, match="has layout 2"):
        await queue.open()


async def test_a_migration_that_fails_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path)
    await queue.open()
    await queue.close()
    with monkeypatch.context() as patch:
        broken = ("ALTER TABLE worker ADD COLUMN host TEXT", "ALTER TABLE nobody ADD COLUMN host TEXT")
        patch.setattr("ratesync.sqlite.connection.MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(FileError):
            await queue.open()
    await queue.open()
    await submit(queue, item("a"))
    await queue.close()


class Syncs:
    """Notes how often a file is brought to disk by ``os.fsync``, whose first tries fail."""

    def __init__(self, path: Path, failures: int = 0) -> None:
        self._path, self._failures, self._fsync = path, failures, os.fsync
        self.tries = 0

    def __call__(self, file: int) -> None:
        if os.path.samestat(os.fstat(file), self._path.stat()):
            self.tries += 1
            if self.tries <= self._failures:
                raise OSError(EIO, "the disk failed")
        self._fsync(file)

    async def reached(self, tries: int) -> None:
        """Return when it was tried so often."""
        await anyio.to_thread.run_sync(wait_for, lambda: self.tries >= tries)


def reading(path: Path) -> closing[sqlite3.Connection]:
    """A program that reads for long: what is committed after its first look cannot be moved out of the log."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM item").fetchone()
    return closing(reader)


async def test_the_log_is_brought_to_disk_within_a_second_also_while_somebody_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.SYNC_AFTER", 0.01)
    queue = SqliteQueue(tmp_path / "sync.db", durability=Durability.FSYNC_1S)
    await queue.open()
    await submit(queue, item("a"))
    with reading(tmp_path / "sync.db"):
        syncs = Syncs(tmp_path / "sync.db-wal")
        monkeypatch.setattr("os.fsync", syncs)
        for number in range(3):
            before = syncs.tries
            await submit(queue, item(f"b{number}"))
            await syncs.reached(before + 1)
    await queue.close()


async def test_a_log_that_cannot_be_brought_to_disk_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.SYNC_AFTER", 0.01)
    queue = SqliteQueue(tmp_path / "sync.db", durability=Durability.FSYNC_1S)
    await queue.open()
    with reading(tmp_path / "sync.db"):
        syncs = Syncs(tmp_path / "sync.db-wal", failures=2)
        monkeypatch.setattr("os.fsync", syncs)
        await submit(queue, item("a"))
        await syncs.reached(3)
    await queue.close()


class Busy:
    """A connection whose checkpoints come while another process makes one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, *values: Any) -> Any:
        return self._db.execute("SELECT 1, -1, -1" if "wal_checkpoint" in statement else statement, *values)


async def test_the_log_is_brought_to_disk_while_another_process_makes_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.SYNC_AFTER", 0.01)
    file = SqliteFile(tmp_path / "sync.db", durability=Durability.FSYNC_1S, clock=None)
    queue = SqliteQueue(file)
    await queue.open()
    writer: Any = vars(file)["_writer"]
    writer._db = Busy(writer._db)
    syncs = Syncs(tmp_path / "sync.db-wal")
    monkeypatch.setattr("os.fsync", syncs)
    await submit(queue, item("a"))
    await syncs.reached(1)
    await queue.close()


async def test_closing_a_locked_file_lets_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.BUSY_TRIES", 1)
    queue = SqliteQueue(tmp_path / "sync.db")
    await queue.open()
    turns = before = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.01)
            turns += 1

    async def too_late() -> None:
        with pytest.raises(FileBusy):
            await submit(queue, item("a"))

    with start(HOLDER, str(tmp_path / "sync.db")) as holder:
        assert said(holder) == "locked\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            tasks.start_soon(too_late)
            await anyio.sleep(0.1)
            before = turns
            await queue.close()
            tasks.cancel_scope.cancel()
        tell(holder)
    assert turns > before + 10


async def test_a_forked_process_is_told_to_fork_before_it_opens_the_file(tmp_path: Path) -> None:
    with start(FORKED, str(tmp_path / "sync.db")) as process:
        assert "Fork before you open it" in said(process)
        assert process.wait(20) == 0


async def test_a_forked_process_can_close_what_was_opened_before(tmp_path: Path) -> None:
    with start(FORKED, str(tmp_path / "sync.db")) as process:
        said(process)
        assert said(process) == "closed\n"
        assert process.wait(20) == 0


async def test_a_forked_process_may_not_open_what_its_parent_has_open(tmp_path: Path) -> None:
    """SQLite would take the parent's locks for its own, and the parent would take the log away under the child."""
    with start(FORKED, str(tmp_path / "sync.db")) as process:
        assert [said(process) for _ in range(2)][-1] == "closed\n"
        assert said(process) == "FileForked\n"
        assert said(process) == "1 of another file\n"
        assert process.wait(20) == 0


async def test_it_must_be_open(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="not open"):
        await SqliteQueue(tmp_path / "sync.db").get(["a"])


def test_an_old_library_is_refused() -> None:
    with pytest.raises(SqliteTooOld, match=r"3\.35\.0"):
        check_library((3, 34, 1))


def test_a_file_cannot_replicate(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="replicated"):
        SqliteQueue(tmp_path / "sync.db", durability=Durability.REPLICATED)


@pytest.mark.parametrize(("durability", "synchronous"), [(Durability.FSYNC, 2), (Durability.FSYNC_1S, 1)])
async def test_it_gives_the_durability_that_it_names(tmp_path: Path, durability: Durability, synchronous: int) -> None:
    file = SqliteFile(tmp_path / "sync.db", durability=durability, clock=None)
    queue = SqliteQueue(file)
    await queue.open()
    asked = await file.ask(lambda transaction: transaction.db.execute("PRAGMA synchronous").fetchone())
    await queue.close()
    assert queue.durability is durability
    assert asked == (synchronous,)


def test_what_is_accepted_is_on_disk_by_default(tmp_path: Path) -> None:
    assert SqliteQueue(tmp_path / "sync.db").durability is Durability.FSYNC


async def test_a_name_that_cannot_be_stored_is_one_that_nobody_has(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "sync.db")
    await queue.open()
    odd = "half \ud800"
    await submit(queue, item("a"))
    assert await queue.cancel([odd, "b"]) == [CancelResult.UNKNOWN] * 2
    assert await queue.get([odd]) == [None]
    assert await queue.finished(odd, None) is None
    assert await queue.replay([odd]) == await queue.discard([odd]) == [False]
    assert not await queue.dead_letters(Selector(), after=odd)
    for nowhere in (Selector(odd), Selector("acme", odd)):
        await queue.pause(nowhere)
        assert not await queue.paused()
        await queue.resume(nowhere)
        assert await queue.drained(nowhere, None)
        assert not (await queue.stats(nowhere)).pending
        assert not await queue.dead_letters(nowhere)
    assert names(await take(queue)) == "a"
    await queue.close()


async def test_a_page_may_be_larger_than_what_sqlite_can_count(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "sync.db")
    await queue.open()
    await bury(queue, item("a"))
    assert [letter.id for letter in await queue.dead_letters(Selector(), limit=10**20)] == ["a"]
    await queue.close()
