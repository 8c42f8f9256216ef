"""A queue in a Redis."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from math import inf
from random import Random
from typing import Any

import anyio
import anyio.lowlevel

from ratesync.clock import Clock, SystemClock, timeout_at
from ratesync.errors import ConfigurationError, QueueError
from ratesync.model.lane import Lane, Selector
from ratesync.model.work import (
    CancelResult,
    Claim,
    ClaimRequest,
    Durability,
    Enqueued,
    Entry,
    Item,
    Lease,
    QueueStats,
    Settlement,
)
from ratesync.randomness import operation_id, system_random
from ratesync.redis.queue import intake, records
from ratesync.redis.queue.claiming import Claimant
from ratesync.redis.queue.flights import Flights
from ratesync.redis.queue.limits import QueueLimits
from ratesync.redis.queue.packing import marked, packed_selector, settled, unpacked_selector
from ratesync.redis.queue.pulse import Pulse
from ratesync.redis.queue.scripts import queue_script
from ratesync.redis.queue.shard import Shard, at_each, by_shard, shard_of
from ratesync.redis.queue.unanswered import Unanswered
from ratesync.redis.queue.watches import Watch, Watches
from ratesync.redis.server.lua import Argument
from ratesync.redis.server.server import RedisServer
from ratesync.rules.lifecycle import FINAL
from ratesync.rules.priority import PRIORITY_STEP

_log = logging.getLogger("ratesync")

_YES = ord("1")
MEBIBYTE = 1_048_576
MOST_CLAIMANTS = 1000


class RedisQueue:
    """A :class:`~ratesync.protocols.queue.QueueBackend` in a Redis or Valkey (6.2 or newer), for many processes.

    Costs depend on what a call is given, not on what is queued. Time is the server's: clocks of workers play no part,
    but for instants that the host names. While nobody waits and nothing is queued, nothing is sent.

    On a cluster, more shards spread the lanes over several nodes. Each shard keeps the whole contract for its lanes.
    Across shards, capacities are divided, an id is only known in the shard of its lane, and a worker asks one shard
    after the other, so lanes are served fairly within a shard. With one shard, the default, nothing of this applies.

    Args:
        server: The Redis.
        shards: Into how many parts the lanes are divided; fixed once the queue has been used. Default 1.
        capacity: Most pending operations. Default 1,000,000.
        dead_letter_capacity: With so many dead letters no more operations are accepted. Default 10,000.
        result_capacity: Most finished operations that are remembered, some 175 bytes and the result each. The oldest
            go first. Have it exceed what finishes within the server's ``patience``: an enqueue whose answer was lost is
            repeated for so long, and known again only by what is remembered. Default 100,000.
        result_seconds: How long finished operations are remembered. Default one hour.
        lease_seconds: How long a worker may give no sign of life. Default 15 s.
        mailbox_max: Most operations of one mailbox in a lease. Default 100.
        claim_bytes: Most bytes of bodies in a claim; one body alone may have more. Default 8 MiB.
        priority_step: Seconds of waiting that one step of priority is worth. Default 60 s.
        clock: Default: the machine's clock. A virtual clock takes the place of the server's time, too.
        random: For names of calls.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        shards: int = 1,
        capacity: int = 1_000_000,
        dead_letter_capacity: int = 10_000,
        result_capacity: int = 100_000,
        result_seconds: float = 3600.0,
        lease_seconds: float = 15.0,
        mailbox_max: int = 100,
        claim_bytes: int = 8 * MEBIBYTE,
        priority_step: float = PRIORITY_STEP,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.server = server
        self._clock = clock or SystemClock()
        self._random = random or system_random()
        self._limits = QueueLimits(
            capacity=capacity,
            dead_letter_capacity=dead_letter_capacity,
            result_capacity=result_capacity,
            result_seconds=result_seconds,
            lease_seconds=lease_seconds,
            mailbox_max=mailbox_max,
            claim_bytes=claim_bytes,
            priority_step=priority_step,
        ).of_shard(shards)
        self._shards = [Shard(server, self._clock, number) for number in range(shards)]
        self._watches = [Watches(shard) for shard in self._shards]
        self._flights = [Flights(shard) for shard in self._shards]
        self._claimants: dict[str, Claimant] = {}
        self._unanswered = Unanswered()
        self._first = 0
        self._users = 0
        self._pulse = Pulse(server.address, server.ssl_context)

    @property
    def durability(self) -> Durability:
        """What an accepted operation survives: as the server is set up."""
        return self.server.durability

    @property
    def lease_seconds(self) -> float:
        """How long a worker may give no sign of life before it loses its leases."""
        return self._limits.lease_seconds

    async def open(self) -> None:
        """Connect, and look whether the queue can be used.

        :raises NewerLayout: it was laid out by a newer version.
        :raises ConfigurationError: it has another number of shards.
        """
        await self.server.open()
        try:
            newest = [await self._open(shard) for shard in self._shards]
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.server.close()
            raise
        self._users += 1
        if self._users == 1:
            for watches, entry in zip(self._watches, newest, strict=True):
                watches.start(entry)
            if self.server.address is None:
                _log.warning(
                    "the client of the Redis queue does not tell where its server is: a worker whose event loop is "
                    "blocked for %g s loses what it works on. Give the server a URL.",
                    self._limits.lease_seconds,
                )

    async def _open(self, shard: Shard) -> str:
        shards, newest = await shard.run("open", len(self._shards))
        if int(shards) != len(self._shards):
            raise ConfigurationError(
                f"the queue in Redis has {int(shards)} shards, not {len(self._shards)}: give shards={int(shards)}, or "
                "another prefix"
            )
        return str(newest, "ascii")

    async def close(self) -> None:
        """Let go of connections and tasks; queued items stay."""
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            self._users -= 1
            if self._users == 0:
                for watches in self._watches:
                    await watches.stop()
                self._pulse.close()
            await self.server.close()

    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        """Accept all items or none; see :meth:`ratesync.protocols.queue.QueueBackend.enqueue`.

        :raises QueueFull: there is no room, or could never be for so many, or Redis is out of memory; nothing was
            enqueued.
        :raises DeadLettersFull: too many dead letters wait for a decision; nothing was enqueued.
        :raises EnqueueUncertain: Redis did not answer. Enqueueing the same items again is safe.
        """
        places = by_shard([item.lane for item in items], len(self._shards))
        if not places:
            await anyio.lowlevel.checkpoint()
            return []
        parts = [
            intake.Part(self._shards[number], self._watches[number], self._limits, [items[place] for place in own])
            for number, own in places.items()
        ]
        send = self._flights[next(iter(places))].enqueue
        found = await intake.enqueue(parts, wait_until, "" if wait_until is None else self._name(), send)
        if len(found) == 1:
            return found[0]
        answers: dict[int, Enqueued] = {}
        for own, part in zip(places.values(), found, strict=True):
            answers.update(zip(own, part, strict=True))
        return [answers[place] for place in range(len(items))]

    def _name(self) -> str:
        return operation_id(self._clock.now(), self._random)

    async def claim(self, request: ClaimRequest) -> Claim:
        """Lease what is due, by fair choice among lanes; never waits for work. Counts as a sign of life."""
        claimant = self._claimants.get(request.worker)
        if claimant is None:
            if len(self._claimants) >= MOST_CLAIMANTS:
                del self._claimants[next(iter(self._claimants))]
            claimant = self._claimants[request.worker] = Claimant(self._name(), self._limits)
        first = self._first = (self._first + 1) % len(self._shards)
        order = [*range(first, len(self._shards)), *range(first)]
        claim, bells = await claimant.claim([self._shards[number] for number in order], request)
        for number, bell in bells.items():
            self._watches[number].saw(bell)
        return Claim(claim.batches, claim.next_at, sum(bells.values()))

    async def wait(self, marker: int, until: float | None) -> None:
        """Return when something may have become claimable since the claim with this ``marker``, or at ``until``."""
        await anyio.lowlevel.checkpoint()
        watch = Watch()
        with ExitStack() as stack:
            for watches in self._watches:
                stack.enter_context(watches.watching(watch, b"n"))
            if sum(watches.bell for watches in self._watches) <= marker:
                with timeout_at(self._clock, until):
                    await watch.wait()

    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle leases; False for each that was refused because it is no longer the mailbox's newest.

        :raises ServerError: Redis refused, or did not answer. The same settlements again get the answer that was lost.
        """
        for settlement in settlements:
            for end in settlement.finished:
                if end.state not in FINAL:
                    raise ValueError(f"operation {end.id}: no settlement can make it {end.state}")
        places = by_shard([settlement.lease.lane for settlement in settlements], len(self._shards))
        if not places:
            await self.extend(worker)
            return []
        answers = [False] * len(settlements)

        async def ask(shard: Shard) -> None:
            own = places[shard.number]
            args = settled([settlements[place] for place in own], shard.server_instant)
            found = await shard.run("settle", worker, self._limits.result_capacity, name, *args)
            for place, answer in zip(own, found, strict=True):
                answers[place] = answer == _YES

        with self._unanswered.naming(worker, settlements, self._name()) as name:
            await at_each([self._shards[number] for number in places], ask)
        return answers

    async def extend(self, worker: str, leases: Sequence[Lease] = ()) -> Sequence[bool]:
        """Give a sign of life; for each of ``leases`` whether the worker holds it. Lost ones stay lost."""
        places = by_shard([lease.lane for lease in leases], len(self._shards))
        answers = [False] * len(leases)

        async def ask(shard: Shard) -> None:
            own = places.get(shard.number, [])
            args: list[Argument] = [worker]
            for place in own:
                lease = leases[place]
                args += [*lease.lane, lease.key, lease.token]
            found = await shard.run("extend", *args)
            for place, answer in zip(own, found, strict=True):
                answers[place] = answer == 1

        await at_each(self._shards, ask)
        return answers

    def keep_alive(self, worker: str) -> None:
        """A sign of life, callable from any thread while the event loop is blocked.

        :raises QueueError: Redis did not answer, or the server was given as a client of the host's that does not tell
            where it is: one of a cluster, behind sentinels, or with a provider of credentials.
        """
        now = repr(self._clock.now()) if self._clock.is_virtual else ""
        text = queue_script("extend").text
        error: QueueError | None = None
        for shard in self._shards:
            words = ["EVAL", text, str(len(shard.keys)), *shard.keys, now, worker]
            try:
                self._pulse.ask(*(word.encode() for word in words))
            except QueueError as problem:
                error = problem
        if error is not None:
            raise error

    async def park(self, lane: Lane, until: float) -> None:
        """Leave the lane alone until the instant ``until``; an instant in the past reopens it."""
        shard = self._shards[shard_of(lane, len(self._shards))]
        await shard.run("park", *lane, shard.server_instant(until))

    async def pause(self, selector: Selector) -> None:
        """Leave the selected lanes alone, also those to come, until they are resumed. Leases held go on."""
        await self._order("pause", selector)

    async def resume(self, selector: Selector) -> None:
        """Undo every pause whose lanes are all selected: ``Selector()`` undoes all. Parked lanes stay parked."""
        await self._order("resume", selector)

    async def _order(self, what: str, selector: Selector) -> None:
        stored = packed_selector(selector)
        await anyio.lowlevel.checkpoint()

        async def ask(shard: Shard) -> None:
            has_more = False
            with anyio.CancelScope(shield=True):  # from here on the order is in force, so it is to be in all shards
                has_more = await shard.run("pause", what, stored)
            while has_more:  # claims would do it, but this is who has the time
                has_more = await shard.run("pause", "review")

        await at_each(self._shards, ask)

    async def paused(self) -> Sequence[Selector]:
        """The pauses in force, be it in one shard only, as after an order that failed in the others."""
        found = [stored for shard in self._shards for stored in await shard.run("paused")]
        return [unpacked_selector(stored) for stored in dict.fromkeys(found)]

    async def set_weight(self, lane: Lane, weight: float) -> None:
        """Give the lane ``weight`` (> 0) times the share of a lane of weight 1, the default.

        :raises ValueError: the weight is not a positive, finite number.
        """
        if not 0 < weight < inf:
            raise ValueError(f"weight of lane {lane}: must be above 0 and finite, is {weight}")
        await self._shards[shard_of(lane, len(self._shards))].run("weigh", *lane, float(weight))

    async def cancel(self, ids: Sequence[str]) -> Sequence[CancelResult]:
        """Take operations back; one answer for each id in order."""
        return await records.cancel(self._shards, self._limits, ids)

    async def get(self, ids: Sequence[str]) -> Sequence[Entry | None]:
        """Look operations up; None for each that is not known (any more)."""
        return await records.get(self._shards, self._limits, ids)

    async def finished(self, operation_id: str, until: float | None) -> Entry | None:
        """Wait until the operation is completed, dead or cancelled; its entry then.

        At ``until`` (an instant; None: never) the entry as it is. None if the id is not known.
        """
        look = partial(records.get_awaited, self._shards, self._limits, operation_id)
        watch = Watch()
        with ExitStack() as stack:
            for watches in self._watches:
                stack.enter_context(watches.watching(watch, b"e", operation_id))
            entry, behind = await look()
            with timeout_at(self._clock, until):
                while _is_pending(entry) and watch.end(behind) is None:
                    await watch.wait()
                    if watch.end(behind) is None:
                        entry, rings = await look()
                        behind = [*map(min, behind, rings)]  # a server that lost its latest rings gives them again
            if _is_pending(entry) and watch.end(behind) is None:
                (entry,) = await self.get([operation_id])
            return watch.end(behind) or entry

    async def drained(self, selector: Selector, until: float | None) -> bool:
        """Wait until the selected lanes have nothing pending, scheduled operations included; False at ``until``."""
        watch = Watch()
        with ExitStack() as stack:
            for watches in self._watches:
                stack.enter_context(watches.watching(watch, b"d"))
            is_drained = await self._is_drained(selector)
            with timeout_at(self._clock, until):
                while not is_drained:
                    await watch.wait()
                    is_drained = await self._is_drained(selector)
            return is_drained

    async def _is_drained(self, selector: Selector) -> bool:
        answers: list[Any] = [await shard.run("drained", *map(marked, selector), "1") for shard in self._shards]
        return all(answers)

    async def dead_letters(self, selector: Selector, *, after: str | None = None, limit: int = 100) -> Sequence[Entry]:
        """Dead letters in the order in which they died, at most ``limit``, from behind the id ``after``.

        ``after`` may have been replayed or discarded meanwhile. With several shards, one shard's letters come after
        the other's.
        """
        return await records.dead_letters(self._shards, selector, after, limit)

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        """Put dead letters back at the end of their mailboxes; False where there is none.

        Attempts, lapses and ``sent_as`` start from 0. They come in even if the queue is full, as they were accepted
        before.
        """
        return await records.decide(self._shards, "replay", ids, self._limits.priority_step)

    async def discard(self, ids: Sequence[str]) -> Sequence[bool]:
        """Forget dead letters; False where there is none."""
        return await records.decide(self._shards, "discard", ids)

    async def stats(self, selector: Selector) -> QueueStats:
        """Count the selected lanes' operations by state."""
        return await records.stats(self._shards, selector)


def _is_pending(entry: Entry | None) -> bool:
    return entry is not None and entry.state not in FINAL
