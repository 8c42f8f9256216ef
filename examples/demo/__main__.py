"""The main job: sync a real data set to a rate-limited API over HTTP, then check every field of every record.

    python -m examples.demo [--quick] [--folder FOLDER]

A CRM server starts as a process of its own: with strict quotas for each account, latency, and random failures, half of
which hide a write that was applied. 22,000 cities are created there, updated and deleted. At the end the server's
records are compared with what they should be, and its log of writes with their right order.

The queue is a SQLite file in the folder. Kill the process half-way, as hard as you like, and start it again: it goes
on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import anyio
from attrs import frozen

from ratesync import Lane, Operation, Quota, Rate, SyncEngine
from ratesync.memory import MemoryLimiter
from ratesync.model.quota import Demand, Scope
from ratesync.sqlite import SqliteBackend

from .course import CHUNK, Course, look_back, note, opened, operation_id
from .crm_adapter import PROVIDER, crm_provider
from .crm_options import DEMO_ACCOUNTS, CrmAccount, CrmOptions, Window
from .crm_process import REPOSITORY, CrmProcess
from .dataset import FULL_SIZE, QUICK_SIZE, RESOURCE, PlannedOperation, plan
from .progress import ConnectionProgress, LiveProgress
from .run_folder import FolderRefused, RunFolder
from .tally import Tally
from .verification import verify

SEED = 7
CAPACITY = 50_000
LEASE_SECONDS = 5.0
FOLDER = REPOSITORY / "build" / "demo"
REDRAW_EVERY = 0.25


@frozen
class Job:
    """The accounts to sync to and what is to be done there."""

    accounts: tuple[CrmAccount, ...]
    operations: list[PlannedOperation]

    @property
    def totals(self) -> Counter[str]:
        """Operations by connection."""
        return Counter(operation.connection for operation in self.operations)

    @property
    def quotas(self) -> dict[str | tuple[str, str], list[Quota]]:
        """What the CRM documents: every account has its own windows."""
        return {(PROVIDER, account.name): [_rate(window) for window in account.windows] for account in self.accounts}


@frozen
class Report:
    """Where the job stood when it began, and how many operations are dead letters at its end."""

    course: Course
    dead: int


def _rate(window: Window) -> Rate:
    return Rate(window.permits, per=window.per)


def to_operation(number: int, planned: PlannedOperation) -> Operation:
    """What ratesync is told of one step of the plan. Its id is always the same, so that it is accepted once only."""
    connection, action, record_id, _, fields = planned
    name = operation_id(number)
    if action == "create":
        return Operation.create(PROVIDER, RESOURCE, fields, record_id=record_id, connection=connection, id=name)
    if action == "update":
        return Operation.update(PROVIDER, RESOURCE, record_id, fields, connection=connection, id=name)
    return Operation.delete(PROVIDER, RESOURCE, record_id, connection=connection, id=name)


async def sync(crm: CrmProcess, job: Job, queue: Path, *, is_new: bool) -> Report:
    """Submit what is not submitted yet and wait until all is done, showing how far it is."""
    limiter = MemoryLimiter(cold_start=not is_new)  # of a new server, nobody used the quotas before
    backend = SqliteBackend(queue, limiter=limiter, capacity=CAPACITY, lease_seconds=LEASE_SECONDS)
    async with opened(backend), crm_provider(crm.url, job.accounts) as provider:
        course = await look_back(backend, job.operations)
        if course.is_begun:
            print(course)
        tally, dead = Tally(course.done), 0
        async with (
            SyncEngine(backend=backend, providers=[provider], quotas=job.quotas, observers=[tally]) as engine,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(show, limiter, job, tally)
            await submit(engine, backend, job, course)
            await engine.drain()
            dead = (await engine.stats()).dead
            tasks.cancel_scope.cancel()
    return Report(course, dead)


async def submit(engine: SyncEngine, backend: SqliteBackend, job: Job, course: Course) -> None:
    """Submit the rest of the plan. When the queue is full, wait until there is room."""
    for start in range(course.submitted, len(job.operations), CHUNK):
        chunk = job.operations[start : start + CHUNK]
        await engine.submit_many([to_operation(start + number, one) for number, one in enumerate(chunk)], wait=600)
        await note(backend, start + len(chunk))


async def show(limiter: MemoryLimiter, job: Job, tally: Tally) -> None:
    """Draw the progress until cancelled, and once more then."""
    started_at = time.monotonic()
    with LiveProgress() as display:
        try:
            while True:
                await anyio.sleep(REDRAW_EVERY)
                await draw(display, limiter, job, tally, time.monotonic() - started_at)
        finally:
            with anyio.CancelScope(shield=True):
                await draw(display, limiter, job, tally, time.monotonic() - started_at)


async def draw(display: LiveProgress, limiter: MemoryLimiter, job: Job, tally: Tally, elapsed: float) -> None:
    """Draw the progress once."""
    rows: list[ConnectionProgress] = []
    for account in job.accounts:
        scope = Scope(PROVIDER, account.name)
        demands = [Demand(scope, _rate(window)) for window in account.windows]
        used = [use.used for use in await limiter.snapshot(demands)]
        rows.append(tally.progress(account, Lane(PROVIDER, account.name), job.totals[account.name], used))
    display.show(rows, elapsed=elapsed)


def main() -> int:
    """Run the job; 0 if the server ends with exactly the right records."""
    parser = argparse.ArgumentParser(description="Sync a real data set to a rate-limited API and check the result.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE:,} records instead of {FULL_SIZE:,}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the queue is kept; default: build/demo")
    arguments = parser.parse_args()
    records = QUICK_SIZE if arguments.quick else FULL_SIZE
    try:
        with RunFolder.entered(arguments.folder) as folder:
            return run(folder, records)
    except FolderRefused as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted: start it again within ten minutes, and it goes on", file=sys.stderr)
    return 1


def run(folder: RunFolder, records: int) -> int:
    """Run the job on that many records, or what is left of it."""
    shares = {account.name: account.per_second for account in DEMO_ACCOUNTS}
    job = Job(DEMO_ACCOUNTS, plan(records=records, shares=shares, seed=SEED))
    print(f"{len(job.operations):,} operations on {RESOURCE} over {len(job.accounts)} connections")
    crm, is_new = folder.crm(CrmOptions(accounts=DEMO_ACCOUNTS), f"{records} records, seed {SEED}")
    print(f"the queue is in {folder.queue}: kill this process if you like, and start it again", flush=True)
    started_at = time.monotonic()
    report = anyio.run(partial(sync, crm, job, folder.queue, is_new=is_new))
    took = time.monotonic() - started_at
    verification = verify(job.operations, crm.report(), job.accounts, report.course.in_doubt)
    folder.finish(crm)
    print(f"\ndone in {took:.1f} s, dead letters {report.dead:,}")
    for line in verification.lines():
        print(line)
    print("every record is right" if verification.passed else "SOMETHING IS WRONG")
    return 0 if verification.passed and not report.dead else 1


if __name__ == "__main__":
    sys.exit(main())
