"""The file as tasks see it: they hand work to its writer thread and await the answer."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from ratesync.clock import Clock, SystemClock
from ratesync.errors import ConfigurationError, QueueError
from ratesync.model.work import Durability
from ratesync.sqlite.call import Call, Transaction, Work, post_here
from ratesync.sqlite.connection import SYNCHRONOUS, check_library
from ratesync.sqlite.writer import Writer

T = TypeVar("T")

Look = Callable[[sqlite3.Connection], None]


class SqliteFile:
    """A database file, shared by what is kept in it. Its writer thread lives from the first open to the last close."""

    def __init__(self, path: str | os.PathLike[str], *, durability: Durability, clock: Clock | None) -> None:
        check_library()
        if durability not in SYNCHRONOUS:
            raise ConfigurationError(
                f"durability {str(durability)!r}: a file offers {' and '.join(map(repr, map(str, SYNCHRONOUS)))}."
            )
        self.path = os.fspath(path)
        self.durability = durability
        self.clock = SystemClock() if clock is None else clock
        self._writer: Writer | None = None
        self._ending = set[Writer]()
        self._opened = 0
        self._looks: list[Look] = []
        self._lock = Lock()

    @property
    def is_at_work(self) -> bool:
        """Whether calls are under way whose answers have not come to their tasks."""
        return any(writer.under_way for writer in (self._writer, *self._ending) if writer is not None)

    def look_elsewhere(self, look: Look) -> None:
        """Have ``look`` called in the writer thread when another process has changed something."""
        self._looks.append(look)

    async def open(self) -> None:
        """Start the thread, if this is the first to open it.

        :raises FileError: the file cannot be used.
        """
        await checkpoint()
        self.clock.now()
        with self._lock:
            self._opened += 1
            if self._writer is None:
                self._writer = Writer(self.path, self.durability, self.clock, self._look)
                self._writer.start()
        try:
            await self.ask(_nothing)
        except BaseException:
            self._release()
            raise

    async def close(self) -> None:
        """End the thread, if this is the last to close it."""
        await checkpoint()
        farewell = Call(_nothing, post_here())
        writer = self._release(farewell)
        if writer is not None:
            # It may take a while, and the event loop goes on meanwhile.
            self._ending.add(writer)
            try:
                await farewell.answer()
                writer.join()
            finally:
                self._ending.discard(writer)

    def _release(self, farewell: Call[None] | None = None) -> Writer | None:
        with self._lock:
            self._opened = max(0, self._opened - 1)
            if self._opened or self._writer is None:
                return None
            if not self._writer.is_alive():  # after a fork, where not even closing the connection would be safe
                return None
            writer, self._writer = self._writer, None
            writer.end(farewell)
            return writer

    def _look(self, db: sqlite3.Connection) -> None:
        for look in self._looks:
            look(db)

    async def ask(self, work: Work[T]) -> T:
        """Have work done in a transaction, and wait until it is committed. If cancelled, it is done or it is not.

        :raises FileError: nothing was done.
        """
        await checkpoint_if_cancelled()
        call = Call(work, post_here())
        self._open_writer().give(call)
        return await call.answer()

    def tell(self, work: Work[object]) -> None:
        """Have work done, and wait for nothing. From any thread."""
        with self._lock:
            if self._writer is not None:
                self._writer.give(Call(work, None))

    def _open_writer(self) -> Writer:
        writer = self._writer
        if writer is None:
            raise QueueError(f"{self.path}: is not open. Await open() before its use, as an engine does.")
        if not writer.is_alive():
            raise QueueError(
                f"{self.path}: was opened in another process. Fork before you open it, or start processes anew."
            )
        return writer

    @contextmanager
    def watching(self) -> Generator[None]:
        """While in it, changes by other processes are looked for."""
        with self._lock:
            writer = self._open_writer()
            writer.watchers += 1
            if writer.watchers == 1:
                writer.give(Call(_nothing, None))
        try:
            yield
        finally:
            with self._lock:
                writer.watchers -= 1


def _nothing(_transaction: Transaction) -> None:
    """Tell that the file is open."""
