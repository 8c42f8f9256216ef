"""What a claim from a queue in a Redis looks at, and when it is to be followed by another one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState
from ratesync.model.work import Claim, ClaimRequest, Item
from ratesync.redis.queue import shard
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.scripts import queue_script
from ratesync.redis.server.lua import Script
from ratesync.testing.queue_actions import (
    claim,
    complete,
    ended,
    item,
    leases,
    names,
    settle,
    submit,
    take_one,
)
from tests.clocks import ManualClock
from tests.redis_queue.queues import queue_at
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
ENOUGH = 20
"""Claims after which one that is to come to an end has done so."""

COUNTING = """
local redis = setmetatable({ call = function(command, ...)
  local answer = redis.call(command, ...)
  if command == 'HMGET' then
    for _, value in ipairs(answer) do
      redis.call('INCRBY', 'bytes_read', #(value or ''))
    end
  end
  return answer
end }, { __index = redis })
"""
"""Put before a script, it counts what that reads out of hashes."""


async def claims(queue: RedisQueue, clock: ManualClock, request: ClaimRequest) -> list[Claim]:
    """Claim again and again, each time at the instant that the claim before named, until one names none."""
    found = [await queue.claim(request)]
    while (next_at := found[-1].next_at) is not None:
        assert len(found) < ENOUGH, "the claims come to no end"
        clock.at = max(clock.at, next_at)
        found.append(await queue.claim(request))
    return found


async def lease_elsewhere(queue: RedisQueue, workers: int) -> list[str]:
    """So many workers that hold something of another provider; their names."""
    others = [f"other{number}" for number in range(workers)]
    await submit(queue, *(item(name, lane=Lane("other", name)) for name in others))
    for name in others:
        await claim(queue, name, calls=1, providers=["other"])
    return others


@pytest.mark.parametrize("are_alive", [True, False])
async def test_what_a_dead_worker_held_comes_back_behind_many_who_hold_something_elsewhere(
    shared_valkey: Valkey, are_alive: bool
) -> None:
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock, lease_seconds=10.0) as queue:
        others = await lease_elsewhere(queue, 40)
        clock.at += 1
        await submit(queue, item("a"))
        await take_one(queue, "dies")
        died_at = clock.at
        looks = 0
        while not (claimed := await claim(queue, "heir")).batches:
            assert claimed.next_at is not None
            looks += 1
            assert looks < ENOUGH
            assert claimed.next_at > clock.at or not are_alive, "it is asked all the time"
            clock.at = claimed.next_at
            for name in others if are_alive else ():
                await queue.extend(name)
        assert names(claimed) == "a"
        assert clock.at == died_at + 10


async def test_a_claim_is_followed_by_another_while_more_lanes_are_at_their_bound_than_it_may_look_at(
    shared_valkey: Valkey,
) -> None:
    lanes = [Lane("acme", f"c{number:04}") for number in range(3000)]
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock) as queue:
        for name in "ab":
            await submit(queue, *(item(f"{name}{lane.connection}", lane=lane) for lane in lanes))
        taken = leases(await claim(queue, calls=len(lanes), size=1))
        assert len(taken) == len(lanes)
        await complete(queue, [lease for lease in taken if lease.lane == lanes[-1]])
        found = await claims(queue, clock, ClaimRequest("worker", 10, {"acme": 1}, {"acme": 1}))
        assert [names(one) for one in found if one.batches] == [f"b{lanes[-1].connection}"]


async def test_a_claim_is_followed_by_another_while_more_lanes_are_below_its_bound_than_it_may_list(
    shared_valkey: Valkey,
) -> None:
    lanes = [Lane("acme", f"c{number:04}") for number in range(2500)]
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock) as queue:
        for name in "ab":
            await submit(queue, *(item(f"{name}{lane.connection}", lane=lane) for lane in lanes))
        for bound in (1, 2):
            request = ClaimRequest("worker", 2 * len(lanes), {"acme": 1}, {"acme": bound})
            found = await claims(queue, clock, request)
            assert sum(len(one.batches) for one in found) == len(lanes)


async def test_a_mailbox_rests_whose_next_item_is_due_but_was_let_in_by_nobody_yet(shared_valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock) as queue:
        await submit(queue, item("a", "k"), item("b", "k", not_before=clock.at + 1))
        await submit(queue, item("c", "other", not_before=clock.at + 1))
        lease = await take_one(queue)
        clock.at += 2
        end = ended(lease, OperationState.DEAD)._replace(resume_at=clock.at + 5)
        assert await settle(queue, end)
        claimed = await claim(queue)
        assert names(claimed) == "c"
        assert claimed.next_at == clock.at + 5
        clock.at += 5
        assert names(await claim(queue)) == "b"


@pytest.fixture
def counting_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims count what they read, in the key `bytes_read`."""

    def counting(name: str) -> Script:
        script = queue_script(name)
        return Script.of(script.name, COUNTING + script.text) if name == "claim" else script

    monkeypatch.setattr(shard, "queue_script", counting)


def mailboxes(boxes: int, each: int, size: int) -> Iterator[Item]:
    """New items of that size, so many for each of so many mailboxes."""
    for box in range(boxes):
        for number in range(each):
            yield item(f"{box}.{number}", f"k{box}", body=b"x" * size)


@pytest.mark.usefixtures("counting_claims")
@pytest.mark.parametrize(("boxes", "each", "size"), [(100, 100, 1000), (1, 100, 10_000), (1000, 1, 1000)])
async def test_a_claim_reads_little_more_than_it_leases(valkey: Valkey, boxes: int, each: int, size: int) -> None:
    most = 100_000
    async with queue_at(valkey.url, clock=ManualClock(), claim_bytes=most) as queue:
        new = list(mailboxes(boxes, each, size))
        for start in range(0, len(new), 1000):
            await submit(queue, *new[start : start + 1000])
        claimed = await claim(queue, size=1000)
        assert len(names(claimed).split()) == most // size
        assert most < int(valkey.ask("GET", "bytes_read")) < 2 * most


async def test_claims_of_mailboxes_of_all_sizes_leave_nothing_out(shared_valkey: Valkey) -> None:
    """Items are read in pieces, which end anywhere in a mailbox."""
    most = 2500
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock, claim_bytes=most, mailbox_max=50) as queue:
        new = [one for box in range(60) for one in mailboxes_of(box)]
        await submit(queue, *new)
        bodies = {one.id: one.body for one in new}
        claimed: list[str] = []
        while found := names(one := await claim(queue)).split():
            sizes = [len(bodies[name]) for name in found]
            assert sum(sizes) <= most
            assert {leased.id: leased.body for lease in leases(one) for leased in lease.items} == {
                name: bodies[name] for name in found
            }
            claimed += found
            await complete(queue, leases(one))
        assert sorted(claimed) == sorted(bodies)
        for box, own in groupby(sorted(claimed, key=lambda name: int(name.split(".")[0])), lambda n: n.split(".")[0]):
            assert [int(name.split(".")[1]) for name in own] == list(range(int(box) * 7 % 61)), "out of order"


def mailboxes_of(box: int) -> Iterator[Item]:
    """The items of one mailbox; others have more or fewer, of other sizes."""
    for number in range(box * 7 % 61):
        yield item(f"{box}.{number}", f"k{box}", body=b"x" * (box * number * 13 % 250))
