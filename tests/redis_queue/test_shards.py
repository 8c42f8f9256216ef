"""A queue of several shards: what holds for each lane holds for all, and every method asks all shards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

import anyio
import pytest

from ratesync.clock import SystemClock
from ratesync.errors import ConfigurationError, QueueError, QueueFull
from ratesync.model.lane import Lane, Selector
from ratesync.model.operation import OperationState
from ratesync.model.work import CancelResult, Durability, Enqueued, Lease, QueueStats
from ratesync.redis.errors import NewerLayout
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.shard import Shard, shard_of
from ratesync.redis.server.lua import Argument
from ratesync.redis.server.server import RedisServer
from ratesync.testing.queue_actions import (
    EVERYTHING,
    claim,
    complete,
    ended,
    item,
    leases,
    names,
    settle,
    submit,
    take,
)
from tests.clocks import ManualClock
from tests.redis_queue.queues import new_prefix, queue_at
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
SHARDS = 4
LANES = [Lane("acme", f"c{number}") for number in range(12)]


@pytest.fixture
def prefix() -> str:
    return new_prefix()


@pytest.fixture
async def queue(shared_valkey: Valkey, prefix: str) -> AsyncIterator[RedisQueue]:
    async with queue_at(shared_valkey.url, prefix=prefix, shards=SHARDS, capacity=400) as queue:
        yield queue


def test_lanes_are_in_all_shards() -> None:
    assert {shard_of(lane, SHARDS) for lane in LANES} == set(range(SHARDS))


async def test_every_lane_is_served(queue: RedisQueue) -> None:
    new = [item(f"{lane.connection}.{number}", lane=lane) for number in range(3) for lane in LANES]
    assert list(await submit(queue, *new)) == [Enqueued(one.id, duplicate=False) for one in new]
    assert list(await submit(queue, *new[:5])) == [Enqueued(one.id, duplicate=True) for one in new[:5]]
    assert await queue.stats(EVERYTHING) == QueueStats(available=36)
    taken = await take(queue)
    assert sorted(names(taken).split()) == sorted(one.id for one in new)
    assert all(await queue.extend("worker", taken))
    await complete(queue, taken)
    assert await queue.drained(EVERYTHING, None)
    assert {one and one.state for one in await queue.get([one.id for one in new])} == {OperationState.COMPLETED}


async def test_a_claim_takes_no_more_batches_than_it_may(queue: RedisQueue) -> None:
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    seen: set[str] = set()
    for _ in range(4):
        claimed = await claim(queue, calls=3)
        assert len(claimed.batches) == 3
        seen.update(names(claimed).split())
    assert len(seen) == len(LANES)
    assert (await claim(queue)).next_at is None


async def test_all_items_or_none(queue: RedisQueue) -> None:
    full = LANES[0]
    await submit(queue, *(item(f"{number}", lane=full) for number in range(100)))
    with pytest.raises(QueueFull):
        await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    assert await queue.get([lane.connection for lane in LANES]) == [None] * len(LANES)


async def test_room_is_waited_for_in_all_shards(queue: RedisQueue) -> None:
    await submit(queue, *(item(f"{number}", lane=LANES[0]) for number in range(100)))
    held = await take(queue, size=1)
    async with anyio.create_task_group() as tasks:

        async def enqueue() -> None:
            new = [item(lane.connection, lane=lane) for lane in LANES]
            await queue.enqueue(new, wait_until=SystemClock().now() + 20)

        tasks.start_soon(enqueue)
        await anyio.sleep(0.1)
        assert (await queue.stats(EVERYTHING)).pending == 100
        await complete(queue, held[:50])
    assert (await queue.stats(EVERYTHING)).pending == 62


async def test_a_change_in_any_shard_wakes(queue: RedisQueue) -> None:
    for lane in LANES:
        claimed = await claim(queue)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.wait, claimed.marker, None)
            await submit(queue, item(f"w{lane.connection}", lane=lane))
        await complete(queue, leases(await claim(queue)))


async def test_orders_reach_all_shards(queue: RedisQueue) -> None:
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    await queue.pause(Selector("acme"))
    assert names(await claim(queue)) == ""
    assert list(await queue.paused()) == [Selector("acme")]
    await queue.resume(EVERYTHING)
    first, second, third, *_ = [lane.connection for lane in LANES]
    answers = await queue.cancel([first, "nobody", second])
    assert list(answers) == [CancelResult.CANCELLED, CancelResult.UNKNOWN, CancelResult.CANCELLED]
    taken = await take(queue)
    assert len(taken) == len(LANES) - 2
    for lease in taken:
        assert await settle(queue, ended(lease, OperationState.DEAD))
    dead = await queue.dead_letters(EVERYTHING)
    assert len(dead) == len(taken)
    assert len(await queue.dead_letters(EVERYTHING, limit=3)) == 3
    assert list(await queue.discard([third, "nobody"])) == [True, False]
    assert list(await queue.replay([dead[-1].id])) == [dead[-1].id != third]
    assert not await queue.drained(EVERYTHING, SystemClock().now())


async def test_the_number_of_shards_is_fixed(queue: RedisQueue, shared_valkey: Valkey, prefix: str) -> None:
    other = RedisQueue(RedisServer.from_url(shared_valkey.url, prefix=prefix, durability=Durability.PROCESS), shards=2)
    with pytest.raises(ConfigurationError, match="4 shards"):
        await other.open()


def root_of(prefix: str, shard: int) -> str:
    return f"{prefix}:{{queue/{shard}}}:root"


def of_shard(taken: Sequence[Lease], shard: int) -> list[Lease]:
    return [lease for lease in taken if shard_of(lease.lane, SHARDS) == shard]


@pytest.mark.parametrize("broken", range(SHARDS))
async def test_what_the_other_shards_leased_is_not_lost_where_one_fails(
    queue: RedisQueue, shared_valkey: Valkey, prefix: str, broken: int
) -> None:
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    shared_valkey.command("HSET", root_of(prefix, broken), "layout", "2")
    taken: list[Lease] = []

    async def take_all() -> None:
        while True:
            claimed = await claim(queue, calls=2)
            taken.extend(leases(claimed))

    with pytest.raises(NewerLayout):
        await take_all()
    healthy = {lane.connection for lane in LANES if shard_of(lane, SHARDS) != broken}
    assert set(names(taken).split()) == healthy
    shared_valkey.command("HSET", root_of(prefix, broken), "layout", "1")
    rest = await take(queue)
    assert set(names(rest).split()) == {lane.connection for lane in LANES} - healthy
    await complete(queue, [*taken, *rest])


async def test_a_claim_that_is_cancelled_gives_back_what_it_had_of_any_shard(
    queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    run, asked = Shard.run, count()
    third = anyio.Event()

    async def stand_still(shard: Shard, name: str, *args: Argument) -> object:
        if name == "claim" and next(asked) == 2:
            third.set()
            await anyio.sleep_forever()
        return await run(shard, name, *args)

    monkeypatch.setattr(Shard, "run", stand_still)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(claim, queue)
        await third.wait()
        assert (await queue.stats(EVERYTHING)).leased > 0
        tasks.cancel_scope.cancel()
    assert (await queue.stats(EVERYTHING)).leased == 0
    assert len(await take(queue, "other")) == len(LANES)


@pytest.mark.parametrize("broken", range(SHARDS))
async def test_a_sign_of_life_reaches_the_other_shards_where_one_fails(
    shared_valkey: Valkey, prefix: str, broken: int
) -> None:
    clock = ManualClock(1_000_000.0)
    server = RedisServer.from_url(shared_valkey.url, prefix=prefix, durability=Durability.PROCESS)
    queue = RedisQueue(server, shards=SHARDS, clock=clock, lease_seconds=15.0)
    await queue.open()
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    taken = await take(queue)
    shared_valkey.command("HSET", root_of(prefix, broken), "layout", "2")
    clock.at += 10
    with pytest.raises(NewerLayout):
        await queue.extend("worker", taken)
    clock.at += 10
    with pytest.raises(QueueError):
        queue.keep_alive("worker")
    clock.at += 10
    with pytest.raises(NewerLayout):
        await queue.settle("worker", [ended(lease) for lease in taken])
    shared_valkey.command("HSET", root_of(prefix, broken), "layout", "1")
    assert len(of_shard(taken, broken)) == len(await take(queue, "other"))
    assert (await queue.stats(EVERYTHING)).pending == len(of_shard(taken, broken))
    # The same settlements again: those that were carried out are told again, those that lapsed are refused.
    answers = await queue.settle("worker", [ended(lease) for lease in taken])
    assert list(answers) == [shard_of(lease.lane, SHARDS) != broken for lease in taken]
    await queue.close()


@pytest.mark.parametrize("broken", [0, SHARDS - 1])
async def test_an_order_that_failed_in_one_shard_is_seen_and_can_be_given_again(
    queue: RedisQueue, shared_valkey: Valkey, prefix: str, broken: int
) -> None:
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    for order, told in (queue.pause, [EVERYTHING]), (queue.resume, [EVERYTHING]):
        shared_valkey.command("HSET", root_of(prefix, broken), "layout", "2")
        with pytest.raises(NewerLayout):
            await order(EVERYTHING)
        shared_valkey.command("HSET", root_of(prefix, broken), "layout", "1")
        assert await queue.paused() == told
        await order(EVERYTHING)
    assert await queue.paused() == []
    assert len(await take(queue)) == len(LANES)


async def test_a_lane_that_a_scan_finds_twice_is_counted_once(
    queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a hash shrinks, HSCAN may answer some of its fields again."""
    run, looked = Shard.run, list[Argument]()

    async def run_again(shard: Shard, name: str, *args: Argument) -> Any:
        if name != "stats":
            return await run(shard, name, *args)
        looked.append(args[1])
        _, *found = await run(shard, name, args[0], b"0")
        return [b"0" if args[1] == b"again" else b"again", *found]

    monkeypatch.setattr(Shard, "run", run_again)
    await submit(queue, *(item(lane.connection, lane=lane) for lane in LANES))
    assert await queue.stats(EVERYTHING) == QueueStats(available=len(LANES))
    assert looked == [b"0", b"again"] * SHARDS


async def pages(queue: RedisQueue, limit: int, after: str | None = None) -> AsyncIterator[list[str]]:
    """The dead letters, page by page, until there are no more."""
    while found := [letter.id for letter in await queue.dead_letters(EVERYTHING, after=after, limit=limit)]:
        yield found
        after = found[-1]


async def bury_all(queue: RedisQueue, *names: str) -> list[str]:
    """Letters in every lane; their ids in order."""
    await submit(queue, *(item(f"{lane.connection}.{name}", lane=lane) for lane in LANES for name in names))
    for lease in await take(queue):
        assert await settle(queue, ended(lease, OperationState.DEAD))
    return [letter.id for letter in await queue.dead_letters(EVERYTHING)]


@pytest.mark.parametrize("limit", [1, 4, 5, 100])
async def test_each_dead_letter_is_on_one_page(queue: RedisQueue, limit: int) -> None:
    letters = await bury_all(queue, "1", "2")
    assert len(letters) == 2 * len(LANES)
    with anyio.fail_after(20):
        assert [name async for page in pages(queue, limit) for name in page] == letters


async def test_letters_may_go_while_somebody_pages_through_the_shards(queue: RedisQueue) -> None:
    letters = await bury_all(queue, "1", "2")
    seen: list[str] = []
    with anyio.fail_after(20):
        async for page in pages(queue, 5):
            seen += page
            await queue.discard(page)
    assert seen == letters
    assert await queue.dead_letters(EVERYTHING) == []


async def test_behind_a_letter_that_is_not_known_all_begins_anew(queue: RedisQueue) -> None:
    letters = await bury_all(queue, "1")
    assert [letter.id for letter in await queue.dead_letters(EVERYTHING, after="nobody")] == letters


async def test_a_letter_counts_where_it_is_and_not_where_it_was(queue: RedisQueue) -> None:
    """Discarded in the first shard, its id died once more in the last one."""
    first, last = (next(lane for lane in LANES if shard_of(lane, SHARDS) == shard) for shard in (0, SHARDS - 1))
    for lane in (first, last):
        await queue.discard(["twice"])
        await submit(queue, item("twice", lane=lane))
        (lease,) = await take(queue)
        assert await settle(queue, ended(lease, OperationState.DEAD))
    letters = await bury_all(queue, "1")
    place = letters.index("twice")
    assert [letter.id for letter in await queue.dead_letters(EVERYTHING, after="twice")] == letters[place + 1 :]
