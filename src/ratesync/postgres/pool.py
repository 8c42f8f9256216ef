"""A bounded number of connections, used in worker threads, made anew when they break."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled
from anyio.to_thread import run_sync

from ratesync.clock import Clock, sleep_until, timeout_at
from ratesync.errors import ForkedProcess, QueueError
from ratesync.postgres.connect import Source, client
from ratesync.postgres.errors import ServerAway, ServerError
from ratesync.postgres.link import Link
from ratesync.postgres.meaning import After, Meaning, meaning
from ratesync.postgres.work import Simple, Work

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connection

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds before another try, doubled each time."""

NO_SEAT = Meaning(After.GIVE_UP, ServerAway, "all connections are in use")
SILENCE = Meaning(After.RETRY, ServerAway, "no answer within the timeout")


class Pool:
    """The connections of one process and one event loop. Unused until its first ``open``."""

    def __init__(
        self,
        source: Source,
        greet: Callable[[Connection], None],
        *,
        size: int,
        timeout: float,
        patience: float,
        clock: Clock,
        random: Random,
    ) -> None:
        self.timeout = timeout
        self._source = source
        self._greet = greet
        self._size = size
        self.patience = patience
        self._clock = clock
        self._random = random
        self._idle = deque["Connection"]()
        self._seats: anyio.CapacityLimiter | None = None
        self._threads: anyio.CapacityLimiter | None = None
        self._users = 0
        self._process = 0

    async def open(self) -> None:
        """Get ready, if this is the first to open it: connect once, greet the server."""
        await checkpoint()
        self._users += 1
        if self._users == 1:
            self._process = os.getpid()
            self._seats = anyio.CapacityLimiter(self._size)
            self._threads = anyio.CapacityLimiter(math.inf)
        try:
            await self.run(Simple("open", self._greet))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._leave()
            raise

    async def close(self) -> None:
        """Close what is idle, if this is the last to close it; what is in use is closed by its user."""
        await checkpoint()
        with anyio.CancelScope(shield=True):
            await self._leave()

    async def _leave(self) -> None:
        self._users = max(0, self._users - 1)
        threads = self._threads
        if not self._users and threads is not None:
            self._seats = self._threads = None
            await run_sync(self._close_idle, limiter=threads)

    async def run(self, work: Work[T]) -> T:
        """Do some work, and again on another connection if one breaks, until ``patience`` is at its end.

        :raises ServerError: it was refused, or there was no success in time.
        """
        await checkpoint_if_cancelled()
        until = self._clock.now() + self.patience
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._attempt(work, until)
            except _Trouble as trouble:
                found = trouble.meaning
            at = self._clock.now() + pause * self._random.uniform(0.5, 1)
            if at > until:
                raise self._gave_up(work, found)
            await sleep_until(self._clock, at)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _attempt(self, work: Work[T], until: float) -> T:
        seats, threads = self._at_home()
        link = Link()
        try:
            seats.acquire_on_behalf_of_nowait(link)  # without patience, too, a free one is taken
        except anyio.WouldBlock:
            with timeout_at(self._clock, until) as waiting:
                await seats.acquire_on_behalf_of(link)
            if waiting.cancelled_caught:
                raise self._gave_up(work, NO_SEAT) from None
        try:
            # Who is cancelled waits for the answer, at most for the timeout, and so knows that nothing comes later.
            with anyio.move_on_after(self.timeout, shield=True):
                return await run_sync(self._use, work, link, abandon_on_cancel=True, limiter=threads)
            raise _Trouble(SILENCE)
        finally:
            link.cut()
            seats.release_on_behalf_of(link)

    def _gave_up(self, work: Work[T], found: Meaning) -> ServerError:
        unknown = work.is_unknown
        what = "whether it was carried out is unknown" if unknown else "nothing was done"
        return found.kind(f"{work.name} at {self._source.name}: {found.problem}; {what}.", is_unknown=unknown)

    def _at_home(self) -> tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]:
        if self._seats is None or self._threads is None:
            raise QueueError("the PostgreSQL state store is not open: await its open() first")
        if self._process != os.getpid():
            raise ForkedProcess("this process was forked from the one that opened the state store: make a new one here")
        return self._seats, self._threads

    def _use(self, work: Work[T], link: Link) -> T:
        """Do the work with a connection. Runs in a worker thread."""
        psycopg = client()
        connection: Connection | None = None
        try:
            connection = self._take(link)
            return work.attempt()(connection)
        except psycopg.Error as error:
            found = meaning(error)
        finally:
            if connection is not None:
                self._give_back(connection, link)
        # Raised here so that psycopg's error, which knows the password and the values, is not part of it.
        if found.after is After.RETRY:
            raise _Trouble(found)
        raise self._gave_up(work, found)

    def _take(self, link: Link) -> Connection:
        with suppress(IndexError):
            connection = self._idle.pop()
            link.hold(connection)
            return connection
        connection = self._source.take()
        try:
            link.hold(connection)
            link.was_autocommit = connection.autocommit
            if not link.was_autocommit:
                connection.autocommit = True
            if self._source.give_back is None:
                self._greet(connection)
        except BaseException:
            link.cut()
            self._give_back(connection, link)
            raise
        return connection

    def _give_back(self, connection: Connection, link: Link) -> None:
        is_whole = link.release() and not connection.closed and connection.info.transaction_status == 0  # idle
        if self._source.give_back is not None:
            if not is_whole:
                connection.close()
            elif not link.was_autocommit:
                connection.autocommit = False
            self._source.give_back(connection)
        elif is_whole and self._seats is not None:
            self._idle.append(connection)
        else:
            connection.close()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


class _Trouble(Exception):
    """Something that another try may mend."""

    def __init__(self, found: Meaning) -> None:
        super().__init__(found.problem)
        self.meaning = found
