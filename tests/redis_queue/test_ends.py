"""Who waits for the end of an operation is told of that one: of none before it, and whatever the server has lost."""

from __future__ import annotations

from functools import partial

import anyio
import anyio.lowlevel
import pytest

from ratesync.clock import SystemClock
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.redis.queue import watches
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.shard import Shard, shard_of
from ratesync.redis.server.lua import Argument
from ratesync.testing.queue_actions import complete, ended, item, settle, submit, take, take_one
from tests.redis_queue.queues import new_prefix, queue_at
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
SHARDS = 3
LANES = {shard_of(lane, SHARDS): lane for lane in (Lane("acme", f"c{number}") for number in range(20))}
"""A lane of each shard."""
IN_TIME = 20.0
DONE, DEAD = OperationState.COMPLETED, OperationState.DEAD


@pytest.fixture
def prefix() -> str:
    return new_prefix()


async def await_end(queue: RedisQueue, name: str, found: list[OperationState | None]) -> None:
    end = await queue.finished(name, None)
    found.append(None if end is None else end.state)


async def until_awaited(valkey: Valkey, prefix: str, name: str, shards: int = 1) -> None:
    """Until the server knows in each shard, where that has the operation, that its end is waited for."""
    keys = [f"{prefix}:{{queue/{shard}}}:awaited" for shard in range(shards)]
    with anyio.fail_after(IN_TIME):
        while not any(valkey.ask("HEXISTS", key, f"t{name}") for key in keys):  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_the_end_of_an_earlier_life_is_not_told(shared_valkey: Valkey, prefix: str, shard: int) -> None:
    """It died, and that was told to another process; then it was replayed, and is waited for again."""
    lane = LANES[shard]
    told: list[OperationState | None] = []
    found: list[OperationState | None] = []
    others_found: list[OperationState | None] = []
    known = partial(until_awaited, shared_valkey, prefix, shards=SHARDS)
    async with (
        queue_at(shared_valkey.url, prefix=prefix, shards=SHARDS) as queue,
        queue_at(shared_valkey.url, prefix=prefix, shards=SHARDS) as other,
        anyio.create_task_group() as tasks,
    ):
        await submit(queue, item("x", lane=lane))
        tasks.start_soon(await_end, other, "x", told)
        await known("x")
        assert await settle(queue, ended(await take_one(queue), DEAD))
        assert list(await queue.replay(["x"])) == [True]
        tasks.start_soon(await_end, queue, "x", found)
        await known("x")
        reborn = await take_one(queue)
        await submit(queue, item("y", lane=lane))
        async with anyio.create_task_group() as others:
            others.start_soon(await_end, queue, "y", others_found)
            await known("y")
            await complete(queue, await take(queue))
        assert found == [], "what came before the end of the other one was heard"
        await complete(queue, [reborn])
        with anyio.fail_after(IN_TIME):
            while not (told and found):  # noqa: ASYNC110
                await anyio.sleep(0.01)
    assert (told, found) == ([DEAD], [DONE])


async def test_an_end_that_is_heard_before_the_operation_was_looked_up_counts(
    shared_valkey: Valkey, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server had looked it up, and its answer was late: meanwhile the operation ended and was forgotten."""
    run, heard, found = Shard.run, anyio.Event(), list[OperationState | None]()
    async with queue_at(shared_valkey.url, prefix=prefix, result_capacity=1) as queue:
        await submit(queue, item("x"), item("y"))

        async def answer_late(shard: Shard, name: str, *args: Argument) -> object:
            answer = await run(shard, name, *args)
            if name == "get":
                await complete(queue, await take(queue))
                await heard.wait()
            elif name == "hear":
                heard.set()
            return answer

        monkeypatch.setattr(Shard, "run", answer_late)
        with anyio.fail_after(IN_TIME):
            await await_end(queue, "x", found)
        monkeypatch.undo()
        assert found == [DONE]
        assert list(await queue.get(["x"])) == [None]


async def test_an_end_is_told_though_the_server_lost_how_often_it_rang(shared_valkey: Valkey, prefix: str) -> None:
    """As by a failover: it gives numbers once more that were behind the waiter already."""
    found: list[OperationState | None] = []
    async with queue_at(shared_valkey.url, prefix=prefix) as queue:
        await submit(queue, item("x"))
        shared_valkey.command("HSET", f"{prefix}:{{queue/0}}:root", "rings", "100")
        with anyio.fail_after(IN_TIME):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(await_end, queue, "x", found)
                await until_awaited(shared_valkey, prefix, "x")
                shared_valkey.command("HSET", f"{prefix}:{{queue/0}}:root", "rings", "90")
                await complete(queue, await take(queue))
    assert found == [DONE]


async def test_all_who_wait_have_their_turn_to_be_told_again(
    shared_valkey: Valkey, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those behind more others than the server is told of at a time."""
    monkeypatch.setattr(watches, "MOST_CHECKED", 2)
    monkeypatch.setattr(watches, "CHECK", 0.02)
    found: list[OperationState | None] = []
    async with queue_at(shared_valkey.url, prefix=prefix) as queue, anyio.create_task_group() as tasks:
        late = SystemClock().now() + 9999
        for number in range(5):
            await submit(queue, item(f"late{number}", not_before=late))
            tasks.start_soon(await_end, queue, f"late{number}", found)
            await until_awaited(shared_valkey, prefix, f"late{number}")
        await submit(queue, item("x"))
        async with anyio.create_task_group() as mine:
            mine.start_soon(await_end, queue, "x", found)
            await until_awaited(shared_valkey, prefix, "x")
            assert shared_valkey.ask("HDEL", f"{prefix}:{{queue/0}}:awaited", "tx") == 1
            await until_awaited(shared_valkey, prefix, "x")
            await complete(queue, await take(queue))
        tasks.cancel_scope.cancel()
    assert found == [DONE]


@pytest.mark.parametrize("turns", range(12))
async def test_a_queue_that_opens_during_its_close_hears_of_ends(
    shared_valkey: Valkey, prefix: str, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """The opener has asked all shards when the close begins, which then comes to one of them after the other."""
    run, asked, answered = Shard.run, anyio.Event(), anyio.Event()
    async with queue_at(shared_valkey.url, prefix=prefix, shards=SHARDS) as queue:

        async def answer_late(shard: Shard, name: str, *args: Argument) -> object:
            answer = await run(shard, name, *args)
            if shard.number == SHARDS - 1:
                asked.set()
                await answered.wait()
            return answer

        monkeypatch.setattr(Shard, "run", answer_late)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.open)
            await asked.wait()
            tasks.start_soon(queue.close)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            answered.set()
        monkeypatch.undo()
        found: list[OperationState | None] = []
        with anyio.fail_after(IN_TIME):
            for shard in reversed(range(SHARDS)):  # one at a time: what another shard rings would wake the waiter, too
                await submit(queue, item(f"{shard}", lane=LANES[shard]))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(await_end, queue, f"{shard}", found)
                    await until_awaited(shared_valkey, prefix, f"{shard}", SHARDS)
                    await complete(queue, await take(queue))
        assert found == [DONE] * SHARDS
