"""Waiting for room: by whatever clock, in several shards, by those who die or give up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.errors import EnqueueUncertain
from ratesync.model.lane import Lane
from ratesync.model.work import Item
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.shard import Shard, shard_of
from ratesync.redis.server.lua import Argument
from ratesync.testing.queue_actions import EVERYTHING, item, items, submit
from tests.clocks import ManualClock, SkewedClock
from tests.redis_queue.queues import queue_at
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
WAIT = 60.0
LANES = {shard_of(lane, 2): lane for lane in (Lane("acme", f"c{number}") for number in range(20))}
"""A lane of each of two shards."""


async def wait_for_room(queue: RedisQueue, clock: SystemClock | SkewedClock, new: Sequence[Item]) -> None:
    assert len(await queue.enqueue(new, wait_until=clock.now() + WAIT)) == len(new)


async def stand_in_line(valkey: Valkey, prefix: str, waiting: int, shards: int = 1) -> None:
    """Until so many stand in the lines of the shards."""
    lines = [f"{prefix}:{{queue/{shard}}}:line" for shard in range(shards)]
    with anyio.fail_after(20):
        while sum(valkey.ask("ZCARD", line) for line in lines) < waiting:  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("by", [-3600.0, 3600.0])
async def test_whoever_has_a_wrong_clock_waits_like_others(valkey: Valkey, by: float) -> None:
    """Of a process that only submits nobody knows how wrong its clock is."""
    clock = SkewedClock(by)
    async with (
        queue_at(valkey.url, prefix="room", capacity=1) as queue,
        queue_at(valkey.url, prefix="room", capacity=1, clock=clock) as skewed,
    ):
        await submit(queue, item("a"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_room, skewed, clock, [item("b")])
            await stand_in_line(valkey, "room", 1)
            await queue.cancel(["a"])
        assert (await queue.stats(EVERYTHING)).available == 1


async def test_one_with_a_wrong_clock_who_dies_in_line_is_out_of_it_soon(
    valkey: Valkey, cutting_proxy: CuttingProxy
) -> None:
    clock = SkewedClock(3600.0)
    options: dict[str, Any] = {"prefix": "room", "capacity": 1, "lease_seconds": 0.5}
    async with queue_at(valkey.url, **options) as queue, queue_at(cutting_proxy.url, clock=clock, **options) as dying:
        await submit(queue, item("a"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_room, dying, clock, [item("b")])
            await stand_in_line(valkey, "room", 1)
            cutting_proxy.cut_all(refuse=True)
            tasks.cancel_scope.cancel()
        await queue.cancel(["a"])
        with anyio.fail_after(20):
            await wait_for_room(queue, SystemClock(), [item("c")])
        cutting_proxy.heal()


async def test_a_line_goes_on_after_the_servers_clock_was_put_back(shared_valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock, capacity=1) as queue:
        await submit(queue, item("a"))
        shard = Shard(queue.server, clock, 0)
        waiting: list[Argument] = ["1", "10", "10", "10", "60", "dead", 15.0, "", "acme", "ada", "", "0", "1"]
        assert (await shard.run("enqueue", *waiting, b"tb", b"\0" * 6))[0] == b"wait"
        clock.at -= 3600
        await queue.cancel(["a"])
        assert (await shard.run("enqueue", *waiting[:5], "", 0.0, *waiting[7:], b"tc", b"\0" * 6))[0] == b"full"
        clock.at += 16
        assert await submit(queue, item("d"))


async def test_two_who_wait_for_room_in_the_same_shards_do_not_wait_for_each_other(valkey: Valkey) -> None:
    async with queue_at(valkey.url, prefix="room", shards=2, capacity=2) as queue:
        full = [item(f"full{shard}", lane=lane) for shard, lane in LANES.items()]
        await submit(queue, *full)
        number = count()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for order in (0, 1), (1, 0):
                    new = [item(f"new{next(number)}", lane=LANES[shard]) for shard in order]
                    tasks.start_soon(wait_for_room, queue, SystemClock(), new)
                await stand_in_line(valkey, "room", 2, shards=2)
                for one in full:
                    await queue.cancel([one.id])
                    await anyio.sleep(0.1)
                while (await queue.stats(EVERYTHING)).pending < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                first = [f"new{place}" for place in range(4)]
                known = await queue.get(first)
                await queue.cancel([name for name, entry in zip(first, known, strict=True) if entry is not None])
        assert (await queue.stats(EVERYTHING)).pending == 2


async def test_nobody_is_told_that_nothing_was_enqueued_where_half_of_it_was(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is used up after one of two shards has accepted its part."""
    run, number = Shard.run, count(1)

    async def run_then_fill(shard: Shard, name: str, *args: Argument) -> Any:
        answer = await run(shard, name, *args)
        if name == "enqueue" and next(number) == 3:  # both had room, and the first has accepted
            valkey.command("CONFIG", "SET", "maxmemory", "1")
        return answer

    async with queue_at(valkey.url, prefix="half", shards=2) as queue:
        monkeypatch.setattr(Shard, "run", run_then_fill)
        new = [item(f"new{shard}", lane=lane) for shard, lane in LANES.items()]
        with pytest.raises(EnqueueUncertain) as caught:
            await submit(queue, *new)
        monkeypatch.undo()
        assert set(caught.value.ids) == {one.id for one in new}
        valkey.command("CONFIG", "SET", "maxmemory", "0")
        assert sorted(answer.duplicate for answer in await submit(queue, *new)) == [False, True]


async def test_a_waiter_is_cancelled_cleanly_after_its_queue_was_closed(valkey: Valkey) -> None:
    async with queue_at(valkey.url, prefix="room", capacity=1) as queue:
        await submit(queue, *items("a"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_room, queue, SystemClock(), [item("b")])
            await stand_in_line(valkey, "room", 1)
            await queue.close()
            tasks.cancel_scope.cancel()
        await queue.open()
