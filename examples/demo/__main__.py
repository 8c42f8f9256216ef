"""The main job: sync a real data set to a rate-limited API over HTTP, then check every field of every record.

    python -m examples.demo [--quick]

A CRM server starts as a process of its own: with strict quotas for each account, latency, and random failures, half of
which hide a write that was applied. 22,000 cities are created there, updated and deleted. At the end the server's
records are compared with what they should be, and its log of writes with their right order.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import anyio
from attrs import frozen

from ratesync import Lane, Operation, Quota, Rate, SyncEngine
from ratesync.memory import MemoryBackend
from ratesync.model.quota import Demand, Scope

from .crm_adapter import PROVIDER, crm_provider
from .crm_options import DEMO_ACCOUNTS, CrmAccount, CrmOptions, Window
from .crm_process import CrmProcess, running_crm
from .dataset import FULL_SIZE, QUICK_SIZE, RESOURCE, PlannedOperation, plan
from .progress import ConnectionProgress, LiveProgress
from .tally import Tally
from .verification import verify

SEED = 7
CHUNK = 500
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


def _rate(window: Window) -> Rate:
    return Rate(window.permits, per=window.per)


def to_operation(planned: PlannedOperation) -> Operation:
    """What ratesync is told of one step of the plan."""
    connection, action, record_id, _, fields = planned
    if action == "create":
        return Operation.create(PROVIDER, RESOURCE, fields, record_id=record_id, connection=connection)
    if action == "update":
        return Operation.update(PROVIDER, RESOURCE, record_id, fields, connection=connection)
    return Operation.delete(PROVIDER, RESOURCE, record_id, connection=connection)


async def sync(crm: CrmProcess, job: Job) -> Tally:
    """Submit everything and wait until it is done, showing how far it is."""
    tally = Tally()
    backend = MemoryBackend(capacity=50_000, cold_start=False)  # the server is new, so nobody used its quotas before
    async with (
        crm_provider(crm.url, job.accounts) as provider,
        SyncEngine(backend=backend, providers=[provider], quotas=job.quotas, observers=[tally]) as engine,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(show, backend, job, tally)
        for start in range(0, len(job.operations), CHUNK):
            # The queue holds 50,000 operations. When it is full, submitting waits until there is room.
            await engine.submit_many(map(to_operation, job.operations[start : start + CHUNK]), wait=600)
        await engine.drain()
        tasks.cancel_scope.cancel()
    return tally


async def show(backend: MemoryBackend, job: Job, tally: Tally) -> None:
    """Draw the progress until cancelled, and once more then."""
    started_at = time.monotonic()
    with LiveProgress() as display:
        try:
            while True:
                await anyio.sleep(REDRAW_EVERY)
                await draw(display, backend, job, tally, time.monotonic() - started_at)
        finally:
            with anyio.CancelScope(shield=True):
                await draw(display, backend, job, tally, time.monotonic() - started_at)


async def draw(display: LiveProgress, backend: MemoryBackend, job: Job, tally: Tally, elapsed: float) -> None:
    """Draw the progress once."""
    rows: list[ConnectionProgress] = []
    for account in job.accounts:
        scope = Scope(PROVIDER, account.name)
        demands = [Demand(scope, _rate(window)) for window in account.windows]
        used = [use.used for use in await backend.limiter.snapshot(demands)]
        rows.append(tally.progress(account, Lane(PROVIDER, account.name), job.totals[account.name], used))
    display.show(rows, elapsed=elapsed)


def main() -> int:
    """Run the job; 0 if the server ends with exactly the right records."""
    parser = argparse.ArgumentParser(description="Sync a real data set to a rate-limited API and check the result.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE:,} records instead of {FULL_SIZE:,}")
    quick = parser.parse_args().quick
    shares = {account.name: account.per_second for account in DEMO_ACCOUNTS}
    job = Job(DEMO_ACCOUNTS, plan(records=QUICK_SIZE if quick else FULL_SIZE, shares=shares, seed=SEED))
    print(f"{len(job.operations):,} operations on {RESOURCE} over {len(job.accounts)} connections")
    started_at = time.monotonic()
    with running_crm(CrmOptions(accounts=DEMO_ACCOUNTS)) as crm:
        tally = anyio.run(sync, crm, job)
        took = time.monotonic() - started_at
        verification = verify(job.operations, crm.report(), job.accounts)
    print(f"\ndone in {took:.1f} s, dead letters {tally.dead:,}")
    for line in verification.lines():
        print(line)
    print("every record is right" if verification.passed else "SOMETHING IS WRONG")
    return 0 if verification.passed and not tally.dead else 1


if __name__ == "__main__":
    sys.exit(main())
