"""Those who wait for a change. Tasks come and go here; the writer thread wakes them after its commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Lock

import anyio

from ratesync.model.lane import Lane, Selector
from ratesync.model.work import Entry
from ratesync.sqlite.call import post_here, post_quietly


class Watch:
    """One task that waits. ``wanted`` is what it waits for: an operation's id, a selector, or None for any news."""

    __slots__ = ("_event", "_post", "entry", "wanted")

    def __init__(self, wanted: str | Selector | None) -> None:
        self.wanted = wanted
        self.entry: Entry | None = None
        """The operation that was waited for, once it is finished."""
        self._post = post_here()
        self._event = anyio.Event()

    def wake(self) -> None:
        """Let the task look again. From any thread."""
        post_quietly(self._post, self._wake)

    def _wake(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Sleep until woken."""
        await self._event.wait()
        self._event = anyio.Event()


class Watches:
    """All who wait on one queue, in the order in which they came."""

    def __init__(self) -> None:
        self.marker = 0
        """How often the bell has rung, as far as is known here."""
        self._lock = Lock()
        self._for_news: dict[Watch, None] = {}
        self._for_ends: dict[str, dict[Watch, None]] = {}
        self._for_drains: dict[Watch, None] = {}
        self.room: dict[Watch, None] = {}
        """Those who wait for room, who came first is first."""

    @contextmanager
    def news(self) -> Generator[Watch]:
        """Wait for the bell."""
        with self._listed(self._for_news, Watch(None)) as watch:
            yield watch

    @contextmanager
    def drains(self, selector: Selector) -> Generator[Watch]:
        """Wait for selected lanes to run empty."""
        with self._listed(self._for_drains, Watch(selector)) as watch:
            yield watch

    @contextmanager
    def ends(self, operation_id: str) -> Generator[Watch]:
        """Wait for the end of an operation."""
        with self._lock:
            own = self._for_ends.setdefault(operation_id, {})
        try:
            with self._listed(own, Watch(operation_id)) as watch:
                yield watch
        finally:
            with self._lock:
                if not own and self._for_ends.get(operation_id) is own:
                    del self._for_ends[operation_id]

    @contextmanager
    def in_line(self, watch: Watch) -> Generator[None]:
        """Leave the line for room afterwards, whether it was entered or not; the next one has a look then."""
        try:
            yield
        finally:
            with self._lock:
                self.room.pop(watch, None)
                watch.wanted = "gone"
            self.call()

    def enter_line(self, watch: Watch) -> None:
        """Stand in line for room, unless the task is gone already."""
        with self._lock:
            if watch.wanted != "gone":
                self.room.setdefault(watch)

    @contextmanager
    def _listed(self, watches: dict[Watch, None], watch: Watch) -> Generator[Watch]:
        with self._lock:
            watches[watch] = None
        try:
            yield watch
        finally:
            with self._lock:
                watches.pop(watch, None)

    def is_awaited(self, operation_id: str) -> bool:
        """Whether somebody waits for the end of this operation."""
        return operation_id in self._for_ends

    def ring(self, marker: int) -> None:
        """Tell of news."""
        if marker != self.marker:
            self.marker = marker
            with self._lock:
                watches = list(self._for_news)
            for watch in watches:
                watch.wake()

    def finish(self, entries: Iterable[Entry]) -> None:
        """Tell of operations that are finished."""
        for entry in entries:
            with self._lock:
                watches = list(self._for_ends.get(entry.id, ()))
            for watch in watches:
                watch.entry = watch.entry or entry
                watch.wake()

    def drain(self, lanes: Iterable[Lane]) -> None:
        """Tell of lanes that have run empty."""
        with self._lock:
            watches = list(self._for_drains)
        for watch in watches:
            if isinstance(watch.wanted, Selector) and any(watch.wanted.matches(lane) for lane in lanes):
                watch.wake()

    def call(self) -> None:
        """Let the first in line for room have a look."""
        with self._lock:
            first = next(iter(self.room), None)
        if first is not None:
            first.wake()

    def look(self, db: sqlite3.Connection) -> None:
        """Another process has changed something: let everybody look again whom it may concern."""
        row = db.execute("SELECT bell FROM totals").fetchone()
        self.ring(row[0])
        with self._lock:
            watches = [*self._for_drains, *(watch for own in self._for_ends.values() for watch in own)]
        for watch in watches:
            watch.wake()
        self.call()
