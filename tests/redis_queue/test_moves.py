"""Case 34 of the failure catalogue for a queue: the slot of a shard moves to another node of the cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.errors import QueueError
from ratesync.model.work import Durability
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.server import RedisServer
from ratesync.testing.queue_actions import (
    EVERYTHING,
    claim,
    complete,
    ended,
    item,
    items,
    names,
    settle,
    submit,
    take,
    take_one,
)
from tests.servers.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.anyio
ROOT = "ratesync:{queue/0}:root"
WORKERS = 3
PATIENT = 30.0


@pytest.fixture
async def queue(valkey_cluster: ValkeyCluster) -> AsyncIterator[RedisQueue]:
    server = RedisServer.from_url(valkey_cluster.url, durability=Durability.PROCESS, timeout=1, patience=PATIENT)
    queue = RedisQueue(server, lease_seconds=PATIENT)
    await queue.open()
    yield queue
    await queue.close()


async def test_34_work_goes_on_over_the_move_of_a_slot(queue: RedisQueue, valkey_cluster: ValkeyCluster) -> None:
    """First of nothing, then of the root alone, then of the rest. Each operation is carried out once."""
    submitted: list[str] = []
    done: list[str] = []
    is_over = False

    async def deliver() -> None:
        while not is_over:
            name = f"i{len(submitted)}"
            submitted.append(name)
            await submit(queue, item(name, f"k{len(submitted) % 7}"))

    async def work(worker: str) -> None:
        while not is_over or (await queue.stats(EVERYTHING)).pending:
            claimed = await claim(queue, worker, calls=2, size=3)
            for batch in claimed.batches:
                done.extend(one.id for lease in batch for one in lease.items)
                assert all(await queue.settle(worker, [ended(lease) for lease in batch]))
            if not claimed.batches:
                await queue.wait(claimed.marker, SystemClock().now() + 0.1)

    target = valkey_cluster.other(ROOT)
    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver)
            for number in range(WORKERS):
                tasks.start_soon(work, f"w{number}")
            for step in (
                partial(valkey_cluster.begin_migration, ROOT, target),
                partial(valkey_cluster.move, [ROOT], target),
                partial(valkey_cluster.migrate, ROOT, target),
                partial(valkey_cluster.end_migration, ROOT, target),
            ):
                await anyio.sleep(0.2)
                await anyio.to_thread.run_sync(step)
            before = len(submitted)
            while len(submitted) < before + 20:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            is_over = True
    assert target.ask("EXISTS", ROOT) == 1
    assert sorted(done) == sorted(submitted)


async def test_34_while_a_slot_moves_nothing_is_done_and_nothing_is_lost(
    queue: RedisQueue, valkey_cluster: ValkeyCluster
) -> None:
    """Callers without the patience for it are told so, and a lease from before counts after."""
    await submit(queue, *items("a b c"))
    lease = await take_one(queue)
    queue.keep_alive("worker")
    target = valkey_cluster.other(ROOT)
    queue.server.patience = 0.3

    async def beat() -> None:
        await anyio.to_thread.run_sync(queue.keep_alive, "worker")

    async def all_wait() -> None:
        for call in (
            partial(submit, queue, item("new")),
            partial(claim, queue),
            partial(settle, queue, ended(lease)),
            partial(queue.stats, EVERYTHING),
            beat,
        ):
            with pytest.raises(
                QueueError, match=r"was not carried out|unknown|no sign of life was given: (TRYAGAIN|ASK)\."
            ):
                await call()

    await anyio.to_thread.run_sync(valkey_cluster.begin_migration, ROOT, target)
    await all_wait()
    await anyio.to_thread.run_sync(valkey_cluster.move, [ROOT], target)
    await all_wait()
    await anyio.to_thread.run_sync(valkey_cluster.migrate, ROOT, target)
    await all_wait()
    await anyio.to_thread.run_sync(valkey_cluster.end_migration, ROOT, target)
    queue.server.patience = PATIENT
    queue.keep_alive("worker")
    assert await settle(queue, ended(lease))
    taken = await take(queue)
    assert names(taken) == "b c"
    await complete(queue, taken)
