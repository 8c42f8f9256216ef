"""A sync that runs on and on: a pull now and then, and a look at marks whenever there is a hint."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

import anyio
from attrs import define, field

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.sync_pass import Record
from ratesync.engine.sync.turn import Turn
from ratesync.engine.sync.wake import Wake, WakeBoard
from ratesync.errors import StateConflict
from ratesync.model.event import SyncPutOff
from ratesync.model.policy import RetryPolicy
from ratesync.model.run import RunKind, SyncRun
from ratesync.protocols import QueueBackend
from ratesync.rules.sync_schedule import back_off, next_pull

_GAP = 1.0
"""Least seconds from one pass that a hint woke to the next: what is hinted meanwhile goes together."""

_PAUSED_LOOK = 15.0
"""Least seconds from one look at whether a paused connection was resumed to the next."""
_MOST_LEFT = 20_000
"""Marks that are remembered as left, at most."""


@define
class Order:
    """A pass that is to be made."""

    kind: RunKind
    may_go_on: Callable[[], Awaitable[bool]]
    skips: Mapping[Record, int]
    """Marks to leave out, by the revision that they had when they were left."""
    left: Mapping[Record, int] = field(factory=dict[Record, int])
    """Set by the pass: the marks that it left."""
    run: SyncRun | None = None
    """Set by the pass: its record."""


class _Due(Enum):
    """What is to be done next."""

    PULL = "pull"
    HINT = "hint"
    LOOK = "look"


@define
class Runner:
    """Runs one binding until its engine is left. Whatever a pass raises puts the binding off, and nothing else."""

    binding: Binding
    books: Books
    queue: QueueBackend
    turn: Turn
    wake: Wake
    board: WakeBoard
    make_pass: Callable[[Order], Awaitable[SyncRun]]
    go_on_with_resync: Callable[[Callable[[], Awaitable[bool]]], Awaitable[SyncRun]]
    """Makes the rest of a full resync, as long as it may. Passes may be made meanwhile."""
    clock: Clock
    source: random.Random
    notify: Notifier
    retry: RetryPolicy
    every: float
    look: float
    _pull_at: float = 0.0
    _look_at: float = 0.0
    _hints_from: float = 0.0
    """No pass for hints begins earlier."""
    _off_until: float = 0.0
    """Nothing is done earlier."""
    _failures: int = 0
    _leads: bool = False
    """It is this engine's turn to pull, and to look for hints of other processes."""
    _is_paused: bool = False
    _is_resync_left: bool = False
    """A full resync was broken off, or somebody else makes one."""
    _left: Mapping[Record, int] = field(factory=dict[Record, int])
    _checked_at: float = 0.0

    async def run(self) -> None:
        """Make passes until the engine is left."""
        try:
            while not self.board.is_closing:
                if self._is_resync_left:
                    await self._run_beside_resync()
                else:
                    await self._step()
        finally:
            await self.turn.give_back()

    async def _step(self) -> None:
        """What is due, or wait for it."""
        due = self._due()
        if due is None:
            await self.wake.wait(self.clock, self._next_at())
            return
        try:
            await self._carry_out(due)
        except Exception as error:  # noqa: BLE001  one bad binding must not end its task, and so others
            self._put_off_failed(type(error).__name__, None)

    async def _run_beside_resync(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._resync)
            while self._is_resync_left and not self.board.is_closing:
                await self._step()

    async def _resync(self) -> None:
        """Go on with a full resync, unless another engine does. If it fails, a later pull comes back to it."""
        try:
            run = await self.go_on_with_resync(self._may_resync)
            if run.failed:
                self._put_off_failed("; ".join(run.errors), run.retry_after)
        except StateConflict:
            pass
        except Exception as error:  # noqa: BLE001  as for passes
            self._put_off_failed(type(error).__name__, None)
        finally:
            self._is_resync_left = False

    async def _may_resync(self) -> bool:
        return not (self.board.is_closing or self._is_paused)

    def _due(self) -> _Due | None:
        now = self.clock.now()
        if now < self._off_until:
            return None
        if now >= self._pull_at:
            return _Due.PULL
        if self.wake.is_set and now >= self._hints_from:
            return _Due.HINT
        return _Due.LOOK if self._leads and now >= self._look_at else None

    def _next_at(self) -> float:
        """When something will be due, if nobody wakes us."""
        instants = [self._pull_at]
        if self._leads:
            instants.append(self._look_at)
        if self.wake.is_set:
            instants.append(self._hints_from)
        return max(min(instants), self._off_until)

    async def _carry_out(self, due: _Due) -> None:
        if await self._find_paused():
            return
        if due is not _Due.HINT and not await self._take_turn():
            return
        is_resync_left = await self._find_hints()
        if due is _Due.PULL:
            self._is_resync_left |= is_resync_left
        if due is not _Due.LOOK:
            await self._make_pass(due)

    async def _take_turn(self) -> bool:
        other_until = await self.turn.take()
        self._leads = other_until is None
        if other_until is not None:
            now = self.clock.now()
            again_at = min(other_until, next_pull(now, self.every, self.source.random()))
            self._pull_at = max(again_at, now + _GAP)
        return self._leads

    async def _find_paused(self) -> bool:
        selectors = await self.queue.paused()
        was, self._is_paused = (
            self._is_paused,
            any(each.matches(records.lane) for each in selectors for records in self.binding.providers.values()),
        )
        if self._is_paused:
            self._put_off(max(self.look, _PAUSED_LOOK), "" if was else "paused")
        return self._is_paused

    async def _find_hints(self) -> bool:
        """Find out if another process has left a hint since the last look; whether a full resync is not at its end."""
        self._look_at = self.clock.now() + self.look
        keys = self.books.keys
        hinted, resync = await self.books.state.load([keys.hinted, keys.resync])
        if hinted is not None and hinted.revision > self.wake.revision:
            self.wake.set(hinted.revision)
        return resync is not None

    async def _make_pass(self, due: _Due) -> None:
        is_pull = due is _Due.PULL
        self.wake.take()
        self._hints_from = self.clock.now() + _GAP
        order = Order(RunKind.CHANGES if is_pull else RunKind.MARKS, self._may_go_on, {} if is_pull else self._left)
        try:
            run = await self.make_pass(order)
        except Exception:
            self.wake.set()
            raise
        left = order.left if is_pull else {**self._left, **order.left}
        self._left = left if len(left) <= _MOST_LEFT else order.left
        if run.is_stopped or run.failed:
            self.wake.set()
        elif is_pull:
            self._pull_at = next_pull(self.clock.now(), self.every, self.source.random())
        if run.failed:
            self._put_off_failed("; ".join(run.errors), run.retry_after)
        else:
            self._failures = 0

    async def _may_go_on(self) -> bool:
        """Asked by a pass under way: not if the engine is left, or the connection was paused."""
        now = self.clock.now()
        if self.board.is_closing or now < self._checked_at + self.look:
            return not self.board.is_closing
        self._checked_at = now
        if self._leads:
            await self.turn.take()
        return not await self._find_paused()

    def _put_off_failed(self, reason: str, retry_after: float | None) -> None:
        self._failures += 1
        self._put_off(back_off(self.retry, self._failures, retry_after, self.source.random()), reason)

    def _put_off(self, seconds: float, reason: str) -> None:
        now = self.clock.now()
        self._off_until = now + seconds
        if reason and self.notify.active:
            self.notify(SyncPutOff(now, self.binding.lane, self.binding.resource, self._off_until, reason))
