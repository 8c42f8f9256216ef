"""What comes in: all of the items or none, and those who wait for room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress

import anyio
from attrs import Factory, define

from ratesync.clock import timeout_at
from ratesync.errors import DeadLettersFull, EnqueueUncertain, QueueError, QueueFull
from ratesync.model.work import Enqueued, Item
from ratesync.redis.errors import ServerError, ServerFull
from ratesync.redis.queue.limits import QueueLimits
from ratesync.redis.queue.packing import Run, enqueued, runs, unpacked_id
from ratesync.redis.queue.shard import Shard
from ratesync.redis.queue.watches import Watch, Watches
from ratesync.redis.server.resp import Words

FAREWELL = 1.0
"""Seconds at most to leave the line."""


NOW_OR_NEVER = Words("", 0.0, "")
"""Tells an enqueue that nobody waits for room."""


@define(eq=False)
class Part:
    """The items of one shard."""

    shard: Shard
    watches: Watches
    limits: QueueLimits
    items: Sequence[Item]
    runs: Sequence[Run] = Factory(lambda self: runs(self.items), takes_self=True)
    """The items as they are told."""

    async def enqueue(self, mode: str, waiter: str = "", seconds: float = 0.0) -> Sequence[Enqueued] | None:
        """Accept them; None: ``waiter`` stands in line for room, for so many seconds if it does not ask again.

        :raises QueueFull: there is no room.
        """
        how = NOW_OR_NEVER if not (mode or waiter) else Words(waiter, seconds, mode)
        status, *rest = await self.shard.run("enqueue", self.limits.for_enqueue, how, *enqueued(self.runs))
        if status == b"ok":
            answers = [Enqueued(item.id, False) for item in self.items]
            for place, earlier in zip(rest[::2], rest[1::2], strict=True):
                answers[place - 1] = Enqueued(unpacked_id(earlier), True)
            return answers
        if status == b"wait":
            return None
        raise self._dead() if status == b"dead" else self._full(int(float(rest[0])))

    def _dead(self) -> DeadLettersFull:
        capacity = self.limits.dead_letter_capacity
        return DeadLettersFull(
            f"{capacity} dead letters await a decision; replay or discard some. Nothing enqueued.", capacity=capacity
        )

    def _full(self, pending: int) -> QueueFull:
        capacity = self.limits.capacity
        return QueueFull(
            f"no room for {len(self.items)} more operations: {pending} of {capacity} are pending. Nothing was "
            "enqueued; submit fewer at once, wait for room, or raise the capacity.",
            capacity=capacity,
        )


Send = Callable[[Part], Awaitable[Sequence[Enqueued]]]


async def enqueue(parts: Sequence[Part], wait_until: float | None, name: str, send: Send) -> list[Sequence[Enqueued]]:
    """Accept the items of all parts, or none; the answers of each.

    ``name`` is that of the one who waits; ``send`` accepts one part, without waiting for room.

    :raises QueueFull: there is no room.
    :raises EnqueueUncertain: Redis did not answer.
    """
    try:
        if len(parts) == 1 and wait_until is None:
            return [await send(parts[0])]
        if wait_until is not None:
            return await _enqueue_in_line(parts, wait_until, name)
        for part in parts:
            await part.enqueue("check")
        return await _accept(parts)
    except ServerFull as error:
        capacity = sum(part.limits.capacity for part in parts)
        raise QueueFull(f"{error} Nothing was enqueued.", capacity=capacity) from error
    except ServerError as error:
        if not error.is_unknown:
            raise
        raise _uncertain(parts, error) from error


async def _accept(parts: Sequence[Part], name: str = "") -> list[Sequence[Enqueued]]:
    """Accept what there was found room for. From the first part on that is accepted, it is all, or nobody knows.

    :raises EnqueueUncertain: some of it was accepted.
    """
    answers: list[Sequence[Enqueued]] = []
    try:
        with anyio.CancelScope(shield=True):
            for part in parts:
                found = await part.enqueue("force", name)
                answers.append(found or [])
    except QueueError as error:
        if not answers:
            raise
        raise _uncertain(parts, error) from error
    return answers


def _uncertain(parts: Sequence[Part], error: Exception) -> EnqueueUncertain:
    return EnqueueUncertain(str(error), ids=[item.id for part in parts for item in part.items])


async def _enqueue_in_line(parts: Sequence[Part], wait_until: float, name: str) -> list[Sequence[Enqueued]]:
    watch = Watch()
    clock = parts[0].shard.clock
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part.watches.watching(watch, b"r"))
        is_waiting = False
        try:
            while True:
                is_last = clock.now() >= wait_until
                answers = await _try(parts, name, 0.0 if is_last else wait_until)
                if answers is not None:
                    is_waiting = False
                    return answers
                is_waiting = True
                seconds = parts[0].limits.lease_seconds
                with timeout_at(clock, min(wait_until, clock.now() + seconds / 3)):
                    await watch.wait()
        except BaseException:
            is_waiting = True
            raise
        finally:
            if is_waiting:
                with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL):
                    for part in parts:
                        with suppress(QueueError):  # who is not told finds out: nobody stands in line for long
                            await part.shard.run("leave", name)


async def _try(parts: Sequence[Part], name: str, until: float) -> list[Sequence[Enqueued]] | None:
    seconds = max(0.0, min(until - parts[0].shard.clock.now(), parts[0].limits.lease_seconds))
    if len(parts) == 1:
        answers = await parts[0].enqueue("", name, seconds)
        return None if answers is None else [answers]
    for part in parts:
        if await part.enqueue("check", name, seconds) is None:
            return None
    return await _accept(parts, name)
