"""Orders to pause and to resume that are not carried through by the one who gave them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ratesync.model.lane import Lane, Selector
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.shard import Shard
from ratesync.redis.server.lua import Argument
from ratesync.testing.queue_actions import claim, item, leases, names, submit
from tests.redis_queue.queues import queue_at
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
ACME = Selector("acme")
LANES = [Lane("acme", f"c{number}") for number in range(2000)]
FEW = LANES[:40]
ENOUGH = 20
"""Claims after which all has been done that claims are to do."""


class Killed(Exception):
    """The process is no more."""


async def claim_all(queue: RedisQueue) -> list[Lane]:
    """The lanes of what can be claimed, by as many claims as it takes."""
    lanes: list[Lane] = []
    for _ in range(ENOUGH):
        claimed = await claim(queue, calls=len(LANES), size=1)
        lanes += [lease.lane for lease in leases(claimed)]
        if claimed.next_at is None:
            return lanes
    raise AssertionError("the claims come to no end")


def at_order(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> None:
    """Do something when the script of pauses is about to be run for the ``number``-th time, if ever."""
    run = Shard.run
    numbers = count(1)

    async def watched(shard: Shard, name: str, *args: Argument) -> Any:
        if name == "pause" and next(numbers) == number:
            act()
        return await run(shard, name, *args)

    monkeypatch.setattr(Shard, "run", watched)


def die() -> None:
    """End the process, as far as the queue can tell."""
    raise Killed


async def cut_short(
    monkeypatch: pytest.MonkeyPatch, scripts: int, order: Callable[[Selector], Awaitable[None]], selector: Selector
) -> None:
    """Give an order, and die when so many scripts of it have run."""
    with monkeypatch.context() as patch:
        at_order(patch, scripts + 1, die)
        with pytest.raises(Killed):
            await order(selector)


async def test_no_lane_is_claimed_from_whose_pause_was_cut_short(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue_at(shared_valkey.url) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES), item("b", lane=Lane("other", "b")))
        await cut_short(monkeypatch, 1, queue.pause, ACME)
        assert await queue.paused() == [ACME]
        assert await claim_all(queue) == []
        assert names(await claim(queue, providers=["other"])) == "b"
        await submit(queue, *(item(f"{lane.connection} again", lane=lane) for lane in LANES[::100]))
        assert await claim_all(queue) == []
        await queue.resume(ACME)
        assert set(await claim_all(queue)) == set(LANES)


async def test_every_lane_is_claimed_from_whose_resuming_was_cut_short(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue_at(shared_valkey.url) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
        await queue.pause(ACME)
        await queue.pause(Selector(*LANES[0]))
        await cut_short(monkeypatch, 1, queue.resume, ACME)
        assert await queue.paused() == []
        assert set(await claim_all(queue)) == set(LANES)


async def test_orders_that_cross_each_other_are_all_in_force(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begins anew to look the lanes over, and where it is cut short the next one goes on."""
    kept = LANES[0]
    async with queue_at(shared_valkey.url) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
        for order, selector in (
            (queue.pause, ACME),
            (queue.pause, Selector(None, kept.connection)),
            (queue.resume, ACME),
            (queue.pause, Selector("other")),
        ):
            await cut_short(monkeypatch, 2, order, selector)
        assert set(await claim_all(queue)) == set(LANES) - {kept}


async def test_an_order_reaches_all_shards_though_it_is_cancelled(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue_at(shared_valkey.url, shards=4) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in FEW))
        for order, selected in ((queue.pause, set[Lane]()), (queue.resume, set(FEW))):
            with monkeypatch.context() as patch, anyio.CancelScope() as scope:
                at_order(patch, 1, scope.cancel)
                await order(ACME)
                await anyio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert set(await claim_all(queue)) == selected


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_order_reaches_all_shards_though_its_task_is_cancelled(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shield keeps off what anyio cancels, but not what asyncio does."""
    async with queue_at(shared_valkey.url, shards=4) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in FEW))
        task: asyncio.Task[None] = asyncio.create_task(queue.pause(ACME))
        at_order(monkeypatch, 1, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await claim_all(queue) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_lane_is_paused_without_a_look_at_the_others(valkey: Valkey) -> None:
    async with queue_at(valkey.url) as queue:
        await submit(queue, *(item(lane.connection, lane=lane) for lane in FEW))
        await queue.pause(Selector(*FEW[0]))
        assert set(await claim_all(queue)) == set(FEW[1:])
        await queue.resume(Selector(*FEW[0]))
        assert await claim_all(queue) == FEW[:1]
        assert "cmdstat_hscan" not in valkey.info("commandstats")
