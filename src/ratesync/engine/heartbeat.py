"""Signs of life: a task that extends the worker's leases, and a thread that takes over while the loop is blocked.

Calls whose leases are lost all the same are broken off.
"""

from __future__ import annotations

import sys
import threading
import traceback
from itertools import islice
from typing import TYPE_CHECKING

import anyio

from ratesync.clock import Clock
from ratesync.engine.dispatcher import Dispatcher
from ratesync.engine.notifier import Notifier
from ratesync.errors import QueueError
from ratesync.model.event import BackendFailed, LoopBlocked
from ratesync.model.settings import Settings
from ratesync.protocols import QueueBackend

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_BEATS_PER_LEASE = 3
_STACK_DEPTH = 12


class Heartbeat:
    """Keeps the worker's leases while calls are under way; does nothing while there are none."""

    def __init__(
        self,
        *,
        queue: QueueBackend,
        worker: str,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
        notify: Notifier,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock
        self._notify = notify
        self._every = queue.lease_seconds / _BEATS_PER_LEASE
        self._turned_at = 0.0
        self._is_extending = False
        self._stop = threading.Event()

    async def run(self) -> None:
        """Beat until cancelled."""
        watchdog = None if self._clock.is_virtual else self._start_watchdog()
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    await self._dispatcher.busy()
                    await self._beat_while_busy(tasks)
        finally:
            self._stop.set()
            if watchdog is not None:
                watchdog.join()

    async def _beat_while_busy(self, tasks: TaskGroup) -> None:
        tick = self._every if self._clock.is_virtual else min(self._every, self._settings.blocked_after / 4)
        extended_at = self._clock.now()
        while self._dispatcher.busy_since is not None:
            self._turned_at = self._clock.now()
            if self._turned_at - extended_at >= self._every and not self._is_extending:
                extended_at = self._turned_at
                self._is_extending = True
                tasks.start_soon(self._extend, name="ratesync extending leases")  # the loop turns while a queue is slow
            await anyio.sleep(tick)

    async def _extend(self) -> None:
        try:
            await self._extend_calls()
        except QueueError as error:
            self._notify(BackendFailed(self._clock.now(), type(error).__name__, self._every))
        finally:
            self._is_extending = False

    async def _extend_calls(self) -> None:
        # A lease that is younger than the lease time cannot be lost: the claim was a sign of life. So is one that joins
        # a call while the queue is asked.
        asked = [(call, call.leases) for call in self._dispatcher.under_way_since(self._clock.now() - self._every)]
        held = iter(await self._queue.extend(self._worker, [lease for _, leases in asked for lease in leases]))
        for call, leases in asked:
            if not any(list(islice(held, len(leases)))) and len(call.leases) == len(leases):
                call.lose()

    def _start_watchdog(self) -> threading.Thread:
        thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="ratesync-watchdog", daemon=True
        )
        thread.start()
        return thread

    def _watch(self, loop_thread: int) -> None:
        """The watchdog's thread: look now and then whether the loop still turns."""
        reported_turn = None
        kept_at = 0.0
        while not self._stop.wait(self._settings.blocked_after / 2):
            busy_since = self._dispatcher.busy_since
            now = self._clock.now()
            # The first call after a rest may block the loop before the heart has beaten.
            turned_at = now if busy_since is None else max(busy_since, self._turned_at)
            if now - turned_at < self._settings.blocked_after:
                continue
            if turned_at != reported_turn:
                reported_turn = turned_at
                self._notify(LoopBlocked(now, now - turned_at, _stack_of(loop_thread)))
            if now - turned_at <= self._settings.max_block and now - kept_at >= self._every and self._keep_alive(now):
                kept_at = now

    def _keep_alive(self, now: float) -> bool:
        try:
            self._queue.keep_alive(self._worker)
        except QueueError as error:
            self._notify(BackendFailed(now, type(error).__name__, self._settings.blocked_after / 2))
            return False
        return True


def _stack_of(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the documented way
    if frame is None:
        return ""
    # Names and places only: lines of source may hold literals that are secret.
    summary = traceback.extract_stack(frame, limit=None)[-_STACK_DEPTH:]
    return "\n".join(f"{entry.filename}:{entry.lineno} in {entry.name}" for entry in summary)
