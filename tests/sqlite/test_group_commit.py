"""What happens when calls of several tasks share one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Event

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from ratesync.errors import QueueError, QueueFull
from ratesync.model.lane import Lane, Selector
from ratesync.model.work import Durability, Enqueued, Item, Settlement
from ratesync.sqlite import SqliteQueue, intake, settlement
from ratesync.sqlite.book import Book
from ratesync.sqlite.call import Transaction
from ratesync.sqlite.errors import FileBusy
from ratesync.sqlite.file import SqliteFile
from ratesync.sqlite.watches import Watch
from ratesync.testing.queue_actions import (
    ADA,
    BOB,
    bury,
    claim,
    complete,
    count,
    item,
    items,
    leases,
    names,
    only,
    submit,
    take,
)
from tests.clocks import ManualClock
from tests.sqlite.processes import HOLDER, said, start, tell

pytestmark = pytest.mark.anyio
STEPS = 20
"""Of the event loop, in which a cancellation surely arrives."""


class Meeting:
    """Lets calls gather while the writer thread is held up, so that they share its next transaction."""

    def __init__(self, path: Path, capacity: int = 1_000) -> None:
        self.file = SqliteFile(path, durability=Durability.FSYNC, clock=None)
        self.queue = SqliteQueue(self.file, capacity=capacity, result_capacity=0)
        self.answers: dict[str, object] = {}
        self._go_on = Event()
        self.commits = 0

    async def hold(self) -> None:
        def work(transaction: Transaction) -> None:
            transaction.db.set_trace_callback(self._count)
            self._go_on.wait(10)

        await self.file.ask(work)

    def _count(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    async def call(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            self.answers[name] = await call()
        except (QueueError, ValueError) as error:
            self.answers[name] = error

    async def gather(self, **calls: Callable[[], Awaitable[object]]) -> None:
        """Make the calls in this order, all in one transaction unless one of them fails."""
        self._go_on.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.hold)
            await anyio.wait_all_tasks_blocked()
            for name, call in calls.items():
                tasks.start_soon(self.call, name, call)
                await anyio.wait_all_tasks_blocked()
            self.commits = 0
            self._go_on.set()


@asynccontextmanager
async def meeting(path: Path, capacity: int = 1_000) -> AsyncGenerator[Meeting]:
    meeting = Meeting(path, capacity)
    await meeting.queue.open()
    try:
        yield meeting
    finally:
        await meeting.queue.close()


async def test_calls_that_come_together_are_one_commit(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db") as at:
        await at.gather(a=lambda: submit(at.queue, item("a")), b=lambda: submit(at.queue, item("b")))
        assert at.commits <= 2, "that of the one who held them up, and theirs"
        assert names(await claim(at.queue)) == "a b"


async def test_one_that_fails_harms_no_other(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db") as at:
        odd = item("odd", key="\ud800", lane=Lane("acme", "new"))
        await at.gather(
            a=lambda: submit(at.queue, item("a")),
            odd=lambda: submit(at.queue, odd),
            b=lambda: submit(at.queue, item("b")),
        )
        assert isinstance(at.answers["odd"], UnicodeEncodeError)
        assert (await count(at.queue)).pending == 2
        assert names(await claim(at.queue)) == "a b"


async def test_those_who_come_first_get_the_room(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db", capacity=3) as at:
        await at.gather(
            two=lambda: submit(at.queue, item("a"), item("b")),
            too_many=lambda: submit(at.queue, item("c"), item("d")),
            again=lambda: submit(at.queue, item("a")),
            one=lambda: submit(at.queue, item("e")),
        )
        assert isinstance(at.answers["too_many"], QueueFull)
        assert at.answers["again"] == [("a", True)]
        assert names(await claim(at.queue)) == "a b e"


async def test_who_claims_before_news_of_the_same_commit_is_told_of_it(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db") as at:
        await at.gather(
            earlier=lambda: submit(at.queue, item("a")),
            idle=lambda: claim(at.queue, providers=["elsewhere"]),
            later=lambda: submit(at.queue, item("b", lane=Lane("elsewhere", "ada"))),
        )
        idle = at.answers["idle"]
        with anyio.fail_after(5):
            await at.queue.wait(idle.marker, None)  # type: ignore[attr-defined]


async def test_lanes_change_between_the_calls_of_a_commit(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db") as at:
        bob = Lane("acme", "bob")
        await at.gather(
            submit=lambda: submit(at.queue, item("a"), item("b", lane=bob)),
            pause=lambda: at.queue.pause(Selector("acme", "bob")),
            claim=lambda: claim(at.queue),
            stats=lambda: count(at.queue),
            drained=lambda: at.queue.drained(Selector("acme", "ada"), 0.0),
        )
        assert names(at.answers["claim"]) == "a"  # type: ignore[arg-type]
        assert at.answers["stats"].leased == 1  # type: ignore[attr-defined]
        assert at.answers["drained"] is False


async def test_a_lane_that_was_idle_is_not_forgotten_while_something_comes_in(tmp_path: Path) -> None:
    async with meeting(tmp_path / "sync.db") as at:
        await submit(at.queue, item("a"))
        await complete(at.queue, await take(at.queue))
        new = [item(f"n{number}", lane=Lane("acme", f"new{number}")) for number in range(3)]
        await submit(at.queue, item("again"), *new)
        assert sorted(names(await claim(at.queue)).split()) == ["again", "n0", "n1", "n2"]
        assert (await count(at.queue)).leased == 4


async def test_all_who_wait_for_a_locked_file_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratesync.sqlite.writer.BUSY_TRIES", 1)
    async with meeting(tmp_path / "sync.db") as at:
        with start(HOLDER, str(tmp_path / "sync.db")) as holder:
            assert said(holder) == "locked\n"
            with anyio.fail_after(8):
                async with anyio.create_task_group() as tasks:
                    for number in range(10):
                        tasks.start_soon(at.call, f"{number}", partial(submit, at.queue, item(f"{number}")))
            tell(holder)
        assert all(isinstance(answer, FileBusy) for answer in at.answers.values())
        assert not (await count(at.queue)).pending


async def test_a_replay_takes_no_longer_with_more_that_is_due(tmp_path: Path) -> None:
    """It is one transaction, in which nobody else gets a turn."""
    clock = ManualClock()
    file = SqliteFile(tmp_path / "sync.db", durability=Durability.FSYNC, clock=clock)
    queue = SqliteQueue(file)
    await queue.open()
    await bury(queue, *items("dead1 dead2"))
    statements: list[str] = []
    costs: list[int] = []

    def trace(transaction: Transaction) -> None:
        transaction.db.set_trace_callback(statements.append)

    await file.ask(trace)
    for name, amount in (("dead1", 2000), ("dead2", 6000)):
        await submit(queue, *(item(f"{name}.{number}", not_before=clock.at + 1) for number in range(amount)))
        clock.at += 2
        statements.clear()
        assert await queue.replay([name]) == [True]
        costs.append(len(statements))
    assert costs[1] <= costs[0] + 10
    await queue.close()


async def test_what_is_scheduled_with_work_of_a_new_lane_becomes_due(tmp_path: Path) -> None:
    """A new lane has the others written, and the next timer of one looked up."""
    async with meeting(tmp_path / "sync.db") as at:
        due = at.file.clock.now() + 1000
        await submit(at.queue, item("former", not_before=due + 1000))
        await at.gather(
            cancel=lambda: at.queue.cancel(["former"]),
            submit=lambda: submit(at.queue, item("due", lane=ADA, not_before=due), item("now", lane=BOB)),
        )
        idle = await claim(at.queue)
        assert names(idle) == "now"
        assert idle.next_at == due


async def test_who_has_waited_for_room_is_never_told_of_a_duplicate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time runs out while the writer is at it."""
    is_at_it, go_on = Event(), Event()
    is_waiting = anyio.Event()
    scopes: list[anyio.CancelScope] = []

    def scope(*_: object) -> anyio.CancelScope:
        scopes.append(anyio.CancelScope())
        is_waiting.set()
        return scopes[-1]

    def slowly(book: Book, items: Sequence[Item], watch: Watch | None) -> list[Enqueued] | None:
        answers = enqueue(book, items, watch)
        if watch is not None and answers is not None:
            is_at_it.set()
            go_on.wait(10)
        return answers

    enqueue = intake.enqueue
    monkeypatch.setattr(intake, "enqueue", slowly)
    monkeypatch.setattr("ratesync.sqlite.queue.timeout_at", scope)
    async with meeting(tmp_path / "sync.db", capacity=1) as at:
        await submit(at.queue, item("first"))
        taken = await take(at.queue)
        async with anyio.create_task_group() as tasks:
            until = at.file.clock.now() + 1000
            tasks.start_soon(at.call, "new", lambda: at.queue.enqueue([item("new")], wait_until=until))
            await is_waiting.wait()
            tasks.start_soon(complete, at.queue, taken)  # it may share a commit with what waits
            assert await anyio.to_thread.run_sync(is_at_it.wait, 10)
            scopes[-1].cancel()
            for _ in range(STEPS):
                await anyio.lowlevel.checkpoint()
            go_on.set()
        assert at.answers["new"] == [Enqueued("new", duplicate=False)]


async def test_a_cancelled_claim_that_cannot_be_given_back_is_so_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [FileBusy("with the next claim"), FileBusy("at once")]

    def settle(book: Book, worker: str, settlements: Sequence[Settlement]) -> list[bool]:
        if refusals:
            raise refusals.pop()
        return settle_now(book, worker, settlements)

    settle_now = settlement.settle
    monkeypatch.setattr(settlement, "settle", settle)
    async with meeting(tmp_path / "sync.db") as at:
        await submit(at.queue, item("a"))
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await claim(at.queue)

        async def cancel() -> None:
            scope.cancel()

        await at.gather(claim=cancelled, cancel=cancel)
        assert scope.cancelled_caught
        assert (await count(at.queue)).leased == 1
        with pytest.raises(FileBusy, match="with the next claim"):
            await claim(at.queue)
        (lease,) = leases(await claim(at.queue))
        assert (only(lease).id, only(lease).lapses, only(lease).sent_as) == ("a", 0, 0)
