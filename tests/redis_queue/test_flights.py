"""Calls to enqueue that leave together: each is accepted whole or not at all, and has its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import pytest

from ratesync.errors import EnqueueUncertain, QueueError, QueueFull
from ratesync.model.work import Enqueued, Item
from ratesync.redis.errors import ServerAway
from ratesync.redis.queue.queue import RedisQueue
from ratesync.redis.server.lua import Argument, Script
from ratesync.testing.queue_actions import EVERYTHING, claim, item, items, names, submit
from tests.redis_queue.queues import queue_at
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.valkey_server import Valkey

pytestmark = pytest.mark.anyio
Answers = dict[int, Sequence[Enqueued] | QueueError]


def calls_of(queue: RedisQueue) -> list[int]:
    """How many items each script that is run from now on was given."""
    told: list[int] = []
    run = queue.server.run

    async def counting(script: Script, keys: Sequence[str | bytes], args: Sequence[Argument], **options: Any) -> Any:
        if script.name == "queue/enqueue":
            told.append(sum(isinstance(arg, bytes) for arg in args) // 2)
        return await run(script, keys, args, **options)

    queue.server.run = counting  # type: ignore[method-assign]
    return told


async def enqueue_all(queue: RedisQueue, calls: Sequence[Sequence[Item]]) -> Answers:
    answers: Answers = {}

    async def one(place: int, own: Sequence[Item]) -> None:
        try:
            answers[place] = await queue.enqueue(own)
        except QueueError as error:
            answers[place] = error

    async with anyio.create_task_group() as tasks:
        for place, own in enumerate(calls):
            tasks.start_soon(partial(one, place, own))
    return answers


async def test_calls_of_many_tasks_leave_together(shared_valkey: Valkey) -> None:
    async with queue_at(shared_valkey.url) as queue:
        told = calls_of(queue)
        calls = [[item(f"a{number}"), item(f"b{number}", f"key{number % 7}")] for number in range(50)]
        answers = await enqueue_all(queue, calls)
        assert told == [2, 98]
        for place, own in enumerate(calls):
            assert answers[place] == [Enqueued(one.id, duplicate=False) for one in own]
        found = names(await claim(queue, calls=50)).split()
        assert sorted(found) == sorted(one.id for own in calls for one in own)


async def test_an_id_of_two_calls_is_a_duplicate_in_one_of_them(shared_valkey: Valkey) -> None:
    async with queue_at(shared_valkey.url) as queue:
        answers = await enqueue_all(queue, [items("first"), items("same x"), items("y same")])
        flags = [one.duplicate for own in answers.values() if not isinstance(own, QueueError) for one in own]
        assert len(flags) == 5
        assert sum(flags) == 1
        assert (await queue.stats(EVERYTHING)).available == 4


async def test_each_call_is_accepted_whole_or_not_at_all(shared_valkey: Valkey) -> None:
    async with queue_at(shared_valkey.url, capacity=6) as queue:
        calls = ["a", "b c d", "e f g", "h", "i"]
        answers = await enqueue_all(queue, [items(own) for own in calls])
        accepted = [own for place, own in enumerate(calls) if not isinstance(answers[place], QueueFull)]
        assert len(accepted) < len(calls)
        found = names(await claim(queue, calls=9)).split()
        assert sorted(found) == sorted(" ".join(accepted).split())
        assert len(found) > 3


async def test_who_is_cancelled_before_the_flight_enqueues_nothing(shared_valkey: Valkey) -> None:
    async with queue_at(shared_valkey.url) as queue:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.enqueue, items("first"))
            await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as doomed:
                doomed.start_soon(queue.enqueue, items("never"))
                tasks.start_soon(queue.enqueue, items("second"))
                await anyio.lowlevel.checkpoint()
                doomed.cancel_scope.cancel()
        assert sorted(names(await claim(queue, calls=9)).split()) == ["first", "second"]


async def test_cancelling_the_first_call_leaves_the_others_on_their_way(shared_valkey: Valkey) -> None:
    async with queue_at(shared_valkey.url) as queue:
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as doomed:
            doomed.start_soon(queue.enqueue, items("first"))
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(queue.enqueue, items("second"))
            tasks.start_soon(queue.enqueue, items("third"))
            await anyio.lowlevel.checkpoint()
            doomed.cancel_scope.cancel()
        found = names(await claim(queue, calls=9)).split()
        assert {"second", "third"} <= set(found)
        await submit(queue, item("fourth"))
        assert names(await claim(queue, calls=9)) == "fourth"


async def test_without_an_answer_each_call_is_told_the_truth(valkey: Valkey, cutting_proxy: CuttingProxy) -> None:
    """What was not sent is surely not enqueued; what was sent may be."""
    async with queue_at(cutting_proxy.url, timeout=0.3, patience=0.8) as queue:
        cutting_proxy.swallow_replies()
        answers = await enqueue_all(queue, [items("a"), items("b"), items("c")])
        cutting_proxy.heal()
        uncertain = 0
        for place, name in enumerate("abc"):
            error = answers[place]
            assert isinstance(error, EnqueueUncertain | ServerAway)
            if isinstance(error, EnqueueUncertain):
                uncertain += 1
                assert error.ids == (name,)
        assert uncertain
        again = await enqueue_all(queue, [items("a"), items("b"), items("c")])
        assert not any(isinstance(one, QueueError) for one in again.values())
        assert (await queue.stats(EVERYTHING)).available == 3
