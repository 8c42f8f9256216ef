"""Calls to enqueue of many tasks, which leave together: one script for all that came while another was under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy

import anyio
import anyio.lowlevel
from attrs import define, field

from ratesync.clock import timeout_at
from ratesync.errors import QueueError, QueueFull
from ratesync.model.work import Enqueued
from ratesync.redis.errors import ServerAway
from ratesync.redis.queue.intake import Part
from ratesync.redis.queue.packing import Run
from ratesync.redis.queue.shard import Shard

MOST_ITEMS = 1000
MOST_BYTES = 1_048_576
"""Items of the calls that leave together, and bytes of their bodies. One call alone may have more."""


@define(eq=False)
class Passenger:
    """A call that waits for the next flight, or for its answer."""

    part: Part
    size: int = field(init=False)
    """Bytes of its bodies."""
    done: anyio.Event = field(factory=anyio.Event, init=False)
    answer: Sequence[Enqueued] | None = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)
    is_sent: bool = field(default=False, init=False)
    is_gone: bool = field(default=False, init=False)
    """Its caller was cancelled, or waits no more."""

    def __attrs_post_init__(self) -> None:
        self.size = sum(len(item.body) for item in self.part.items)

    def fail(self, error: Exception) -> None:
        """Tell the caller."""
        self.error = error
        self.done.set()


@define(eq=False)
class Flights:
    """The calls of this process to one shard. Who comes while none is under way leaves at once and alone.

    Each call is accepted whole or not at all, and has its own answer: if there is no room for all of a flight, each of
    its calls is made for itself.
    """

    shard: Shard
    _waiting: deque[Passenger] = field(factory=deque[Passenger], init=False)
    _is_busy: bool = field(default=False, init=False)

    async def enqueue(self, part: Part) -> Sequence[Enqueued]:
        """Accept the items of one call.

        :raises QueueFull: there is no room.
        :raises ServerError: Redis refused, or did not answer.
        """
        if self._is_busy:
            return await self._join(Passenger(part))
        self._is_busy = True
        try:
            return await part.enqueue("") or []
        finally:
            self._go_on()

    async def _join(self, passenger: Passenger) -> Sequence[Enqueued]:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._waiting.append(passenger)
        clock = self.shard.clock
        try:
            with timeout_at(clock, clock.now() + self.shard.server.patience):
                await passenger.done.wait()
        finally:
            passenger.is_gone = True
        if passenger.error is not None:
            raise passenger.error
        if passenger.answer is None:
            what = "whether it was carried out is unknown" if passenger.is_sent else "it was not carried out"
            raise ServerAway(f"{self._place}: no success in time; {what}.", is_unknown=passenger.is_sent)
        return passenger.answer

    @property
    def _place(self) -> str:
        return self.shard.server.place("queue/enqueue")

    def _go_on(self) -> None:
        if not self._waiting:
            self._is_busy = False
            return
        try:
            self.shard.server.start(self._carry)
        except QueueError as error:
            self._strand(error)

    def _strand(self, error: Exception) -> None:
        """None of those who wait will be sent."""
        self._is_busy = False
        while self._waiting:
            self._waiting.popleft().fail(copy(error))

    async def _carry(self) -> None:
        """Make flights until nobody waits. Those who were answered get a turn to come again before the next one."""
        try:
            while self._waiting:
                await self._fly(self._board())
                await anyio.lowlevel.checkpoint()
        finally:
            self._strand(ServerAway(f"{self._place}: the server was closed; it was not carried out."))

    def _board(self) -> list[Passenger]:
        boarded: list[Passenger] = []
        items = size = 0
        while self._waiting:
            passenger = self._waiting[0]
            items, size = items + len(passenger.part.items), size + passenger.size
            if boarded and (items > MOST_ITEMS or size > MOST_BYTES):
                break
            self._waiting.popleft()
            if not passenger.is_gone:
                boarded.append(passenger)
        return boarded

    async def _fly(self, boarded: Sequence[Passenger]) -> None:
        together = by_kind(boarded)
        for passenger in together:
            passenger.is_sent = True
        try:
            await self._send(together)
        except QueueFull as error:
            if len(together) == 1:
                together[0].fail(error)
                return
            await self._fly_alone(boarded)
        except Exception as error:  # noqa: BLE001  it is raised where the calls came from
            for passenger in together:  # to each its own, as a traceback grows where it is raised
                passenger.fail(copy(error))
        finally:
            for passenger in together:
                passenger.done.set()

    async def _fly_alone(self, boarded: Sequence[Passenger]) -> None:
        """There is no room for all, so nobody was accepted: each makes a flight of its own."""
        for passenger in boarded:
            passenger.is_sent = False
        for passenger in boarded:
            if not passenger.is_gone:
                await self._fly([passenger])

    async def _send(self, together: Sequence[Passenger]) -> None:
        if not together:
            return
        first = together[0].part
        told: list[Run] = [run for passenger in together for run in passenger.part.runs]
        items = [item for passenger in together for item in passenger.part.items]
        answers = await Part(first.shard, first.watches, first.limits, items, told).enqueue("") or []
        at = 0
        for passenger in together:
            end = at + len(passenger.part.items)
            passenger.answer = answers[at:end]
            passenger.done.set()
            at = end


def by_kind(passengers: Sequence[Passenger]) -> list[Passenger]:
    """Those whose first items are of one kind together. Calls that are made at once may be accepted in any order."""
    groups: dict[object, list[Passenger]] = {}
    for passenger in passengers:
        groups.setdefault(passenger.part.runs[0][0], []).append(passenger)
    return [passenger for group in groups.values() for passenger in group]
