"""Processes that end or stand still at any point: failure cases 1 to 7 on a SQLite file."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from ratesync.model.lane import Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import Durability, Entry, QueueStats
from ratesync.sqlite import SqliteQueue
from ratesync.sqlite.call import Transaction
from ratesync.sqlite.file import SqliteFile
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    attempted,
    complete,
    count,
    ended,
    item,
    items,
    only,
    settle,
    submit,
    take,
    take_one,
)
from tests.clocks import ManualClock
from tests.sqlite.processes import HOLDER, LIFE, OPENER, PAUSED, said, start, tell

pytestmark = pytest.mark.anyio

Look = tuple[list[Entry | None], QueueStats, list[Entry], list[Selector]]
KNOWN = ["a1", "a2", "a3", "b1", "b2", "late", "c1"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_process_killed_at_random_points_loses_nothing(tmp_path: Path) -> None:
    path, draw = tmp_path / "sync.db", random.Random(4)
    accepted, settled, in_flight = set[str](), set[str](), set[str]()
    calls: list[str] = []
    for turn in range(8):
        with start(LIFE, str(path), f"w{turn}", str(turn * 1_000_000 // 4 * 4)) as process:
            assert said(process), "it began"
            await anyio.sleep(draw.uniform(0.0, 0.4))
            process.kill()
            assert process.stdout is not None
            lines = [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        for what, *names in lines:
            if what == "accepted":
                accepted.update(names)
            elif what == "called":
                calls += names
            else:
                settled.update(names)
        in_flight |= {name for name in calls if name not in settled}
    queue = SqliteQueue(path, lease_seconds=0.3, mailbox_max=2)
    await queue.open()
    await anyio.sleep(0.4)
    while taken := await take(queue, calls=10):
        calls += [leased.id for lease in taken for leased in lease.items]
        await complete(queue, taken)
    assert not (await count(queue)).pending
    await queue.close()
    assert accepted <= set(calls), "something that was accepted never came"
    twice = {name for name in calls if calls.count(name) > 1}
    assert twice <= in_flight, "only what was in flight at a kill comes again"
    for key in range(5):
        of_key = list(dict.fromkeys(name for name in calls if int(name) // 4 % 5 == key))
        assert all(earlier < later for earlier, later in pairwise(of_key)), "out of order"


async def look(queue: SqliteQueue) -> Look:
    entries = await queue.get(KNOWN)
    letters = await queue.dead_letters(Selector())
    return list(entries), await queue.stats(Selector()), list(letters), list(await queue.paused())


def calls_of_a_life(queue: SqliteQueue, clock: ManualClock) -> list[Callable[[], Awaitable[object]]]:
    """Each method that changes something, in an order in which there is something to change."""

    async def settle_one(state: OperationState | None) -> None:
        lease = await take_one(queue)
        await settle(queue, attempted(lease, resume_at=clock.at + 5) if state is None else ended(lease, state))

    async def later() -> None:
        clock.at += 20.0
        await take(queue, "another", calls=1, size=1)

    return [
        lambda: submit(queue, *items("a1 a2", "k"), item("b1", lane=BOB), item("late", not_before=clock.at + 10)),
        lambda: settle_one(OperationState.COMPLETED),
        lambda: submit(queue, *items("a3", "k"), item("b2", lane=BOB, priority=3)),
        lambda: settle_one(None),
        lambda: settle_one(OperationState.DEAD),
        lambda: queue.pause(Selector("acme", "bob")),
        lambda: queue.park(ADA, clock.at + 3),
        lambda: queue.cancel(["a2", "b2"]),
        lambda: queue.resume(Selector()),
        lambda: queue.set_weight(BOB, 2.0),
        later,
        lambda: queue.replay(["a1", "a2", "a3", "b1", "b2"]),
        later,
        lambda: settle_one(OperationState.DEAD),
        lambda: queue.discard(KNOWN),
        lambda: submit(queue, item("c1")),
    ]


async def test_a_kill_at_any_statement_leaves_each_call_done_or_not_done(tmp_path: Path) -> None:
    """A copy of the files at any moment is what a process killed then would leave."""
    clock = ManualClock()
    file = SqliteFile(tmp_path / "sync.db", durability=Durability.FSYNC, clock=clock)
    queue = SqliteQueue(file, lease_seconds=15.0)
    await queue.open()
    copies: list[tuple[Path, float]] = []
    commits: list[int] = []

    def copy(statement: str) -> None:
        folder = tmp_path / f"{len(copies)}"
        folder.mkdir()
        for name in ("sync.db", "sync.db-wal"):
            shutil.copy(tmp_path / name, folder / name)
        copies.append((folder / "sync.db", clock.at))
        if statement == "COMMIT":
            commits.append(len(copies))

    async def trace(callback: Callable[[str], None] | None) -> None:
        def work(transaction: Transaction) -> None:
            transaction.db.set_trace_callback(callback)

        await file.ask(work)

    for call in calls_of_a_life(queue, clock):
        before = await look(queue)
        seen, committed = len(copies), len(commits)
        await trace(copy)
        await call()
        await trace(None)
        states = [before, *[await at(path, then) for path, then in copies[seen:]]]
        changes = [later for earlier, later in pairwise(states) if later != earlier]
        assert len(changes) <= len(commits) - committed, "half of a transaction was found"
        assert states[-1] == await look(queue), "what is answered stays"
    assert len(copies) > 150
    await queue.close()


async def at(path: Path, now: float) -> Look:
    """What is found in a copy."""
    queue = SqliteQueue(path, clock=ManualClock(now))
    await queue.open()
    try:
        return await look(queue)
    finally:
        await queue.close()


async def test_a_worker_that_was_stopped_past_its_lease_cannot_settle(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path, lease_seconds=0.5)
    await queue.open()
    await submit(queue, item("a"))
    with start(PAUSED, str(path)) as paused:
        assert said(paused) == "claimed\n"
        paused.send_signal(signal.SIGSTOP)
        await anyio.sleep(0.6)
        lease = await take_one(queue, "here")
        assert only(lease).lapses == 1
        paused.send_signal(signal.SIGCONT)
        tell(paused)
        assert said(paused) == "[False] False\n"
    assert await settle(queue, ended(lease), "here"), "who holds it settles it"
    await queue.close()


async def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "sync.db"
    queue = SqliteQueue(path)
    await queue.open()
    await submit(queue, item("a"))
    with start(HOLDER, str(path)) as holder:
        assert said(holder) == "locked\n"
        holder.kill()
    await submit(queue, item("b"))
    assert (await count(queue)).pending == 2
    await queue.close()


async def test_processes_that_make_the_same_file_at_once_all_get_it(tmp_path: Path) -> None:
    for turn in range(2):
        path = tmp_path / f"{turn}.db"
        openers = [start(OPENER, str(path), f"i{number}") for number in range(4)]
        for opener in openers:
            assert said(opener) == "ready\n"
        for opener in openers:
            tell(opener)
        assert [opener.wait(20) for opener in openers] == [0] * 4
        for opener in openers:
            opener.communicate()
        db = sqlite3.connect(path)
        assert db.execute("SELECT count(*) FROM item").fetchone() == (4,)
        db.close()
