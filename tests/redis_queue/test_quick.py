"""One item is accepted by a part of the script that is quick, and leaves what the rest of the script would leave."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ratesync.model.lane import Lane, Selector
from ratesync.redis.queue import shard
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.queue.scripts import queue_script
from ratesync.redis.server.address import Address
from ratesync.redis.server.lua import Script
from ratesync.redis.server.wires import wire_opener
from ratesync.testing import queue_actions as act
from ratesync.testing.queue_actions import item, submit
from tests.clocks import ManualClock
from tests.redis_queue.queues import queue_at
from tests.redis_queue.test_failures import calls
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
LANES = [Lane("acme", "a"), Lane("acme", "b"), Lane("zeta", "a")]
MOST_COMMANDS = 12


def without_quick(name: str) -> Script:
    """The scripts as they are without that part."""
    return Script.load("queue", "shard", "box", "ends", name) if name == "enqueue" else queue_script(name)


async def contents(valkey: Valkey, prefix: str) -> dict[bytes, Any]:
    """All that a queue keeps, but for what is named at random."""
    open_wire = wire_opener(Address.parse(valkey.url), 5.0, None)
    assert open_wire is not None
    found: dict[bytes, Any] = {}
    begin = f"{prefix}:{{queue/0}}:"
    async with open_wire() as wire:
        for key in await wire.ask(["KEYS", f"{begin}*"], 5.0):
            name = key[len(begin) :]
            kind = await wire.ask(["TYPE", key], 5.0)
            if kind == b"hash":
                fields = await wire.ask(["HGETALL", key], 5.0)
                found[name] = dict(zip(fields[::2], fields[1::2], strict=True))
                found[name].pop(b"c", None)
            elif kind == b"zset":
                found[name] = await wire.ask(["ZRANGE", key, 0, -1, "WITHSCORES"], 5.0)
            elif kind == b"stream":
                found[name] = [fields for _, fields in await wire.ask(["XRANGE", key, "-", "+"], 5.0)]
    return found


async def step(queue: RedisQueue, clock: ManualClock, choose: random.Random, number: int) -> None:
    """Something that may happen to a queue; most often one item comes."""
    lane = choose.choice(LANES)
    match choose.choice(["submit"] * 8 + ["claim", "settle", "bury", "pause", "resume", "park", "later"]):
        case "submit":
            name = f"i{choose.choice([number, number, number - 3])}"
            later = choose.choice([None] * 6 + [clock.at + 5])
            key = choose.choice(["x", "y", f"k{number}", f"k{number}"])
            dedupe = choose.choice([None] * 6 + ["once"])
            priority = choose.choice([0, 0, 2, -1])
            await submit(queue, item(name, key, lane=lane, not_before=later, priority=priority, dedupe=dedupe))
        case "claim":
            await act.claim(queue, calls=2, size=2)
        case "settle":
            await act.complete(queue, await act.take(queue, calls=1, size=2))
        case "bury":
            await act.complete(queue, await act.take(queue, calls=3, size=3))
        case "pause":
            await queue.pause(Selector(*lane))
        case "resume":
            await queue.resume(Selector())
        case "park":
            await queue.park(lane, clock.at + choose.choice([-1, 3]))
        case _:
            clock.at += 4
            await queue.stats(Selector())  # what is due by then is carried out for both at the same time


@pytest.mark.parametrize("seed", range(6))
async def test_it_leaves_what_the_rest_of_the_script_would(
    shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    found: list[dict[bytes, Any]] = []
    for scripts in (queue_script, without_quick):
        monkeypatch.setattr(shard, "queue_script", scripts)
        clock, choose, prefix = ManualClock(), random.Random(seed), f"{scripts.__name__}{seed}"
        async with queue_at(shared_valkey.url, prefix=prefix, clock=clock, lease_seconds=1000.0) as queue:
            for number in range(80):
                await step(queue, clock, choose, number)
        found.append(await contents(shared_valkey, prefix))
    assert found[0] == found[1]
    assert found[0][b"items"]


async def test_it_takes_few_commands(valkey: Valkey) -> None:
    async with queue_at(valkey.url) as queue:
        await submit(queue, item("warm"))
        before = calls(valkey)
        for number in range(20):
            await submit(queue, item(f"i{number}", f"k{number}"))
        assert calls(valkey) - before <= 20 * MOST_COMMANDS


async def test_what_is_due_by_then_comes_first(shared_valkey: Valkey) -> None:
    clock = ManualClock()
    async with queue_at(shared_valkey.url, clock=clock) as queue:
        await submit(queue, item("later", "x", not_before=clock.at + 5))
        clock.at += 6
        await submit(queue, item("now", "x"))
        assert act.names(await act.claim(queue)) == "later now"
