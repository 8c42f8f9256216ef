"""The thread that owns the connection and makes every change, as many as have gathered in one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any

from ratesync.clock import Clock
from ratesync.errors import RateSyncError
from ratesync.model.work import Durability
from ratesync.sqlite.call import Call, Post, Transaction, post_quietly
from ratesync.sqlite.connection import connect, sync_log
from ratesync.sqlite.errors import OF_THE_FILE, FileError, kind_of, told
from ratesync.sqlite.forks import note_closed

MOST_CALLS = 512
"""Calls in one transaction."""
LOOK_AFTER = 0.05
"""Seconds between two looks for changes by other processes, while somebody waits for one."""
SYNC_AFTER = 1.0
"""Seconds until what was written is on disk, with ``fsync-1s``."""
BUSY_TRIES = 10
"""How often a transaction is tried to begin; each try lasts a second."""

AnyCall = Call[Any]


class Uncertain(FileError):
    """The commit failed in a way that leaves open whether it is on disk."""


class Writer(threading.Thread):
    """Carries out calls until it is told to end."""

    def __init__(
        self, path: str, durability: Durability, clock: Clock, look_elsewhere: Callable[[sqlite3.Connection], None]
    ) -> None:
        super().__init__(name=f"ratesync {path}", daemon=True)
        self._path = path
        self._durability = durability
        self._clock = clock
        self._look_elsewhere = look_elsewhere
        self._calls: SimpleQueue[AnyCall | None] = SimpleQueue()
        self._failure: Exception | None = None
        self._farewell: AnyCall | None = None
        self._unsynced_at: float | None = None
        self._data_version = 0
        self.watchers = 0
        """How many wait for changes by other processes."""
        self.under_way = set[AnyCall]()
        """Calls whose answer has not come to their tasks yet."""

    def give(self, call: AnyCall) -> None:
        """Have a call carried out."""
        if call.post is not None:
            self.under_way.add(call)
        self._calls.put(call)

    def end(self, farewell: AnyCall | None) -> None:
        """End when everything that was given before is done, close the file, and answer ``farewell``."""
        self._farewell = farewell
        if farewell is not None:
            self.under_way.add(farewell)
        self._calls.put(None)

    def run(self) -> None:
        """Carry out calls."""
        try:
            self._db = connect(self._path, self._durability)
        except Exception as failure:  # noqa: BLE001 - it is raised where calls come from
            self._failure = failure
        is_going_on = True
        while is_going_on:
            calls, is_going_on = self._gather()
            if self._failure is not None:
                self._fail(calls, self._failure)
                self._deliver(calls)
                continue
            if calls:
                going = [call for call in calls if not call.is_given_up]
                if going:
                    self._carry_out(going)
                self._deliver(calls)
            self._watch()
            self._sync()
        if self._failure is None:
            self._sync(is_last=True)
            with suppress(sqlite3.Error):
                self._db.close()
            note_closed(self._path)
        if self._farewell is not None:
            self._deliver([self._farewell])

    def _gather(self) -> tuple[list[AnyCall], bool]:
        """The calls that have come, after a wait for the first; whether there may be more."""
        calls: list[AnyCall] = []
        try:
            call = self._calls.get(timeout=self._patience())
            while call is not None:
                calls.append(call)
                if len(calls) >= MOST_CALLS:
                    return calls, True
                call = self._calls.get_nowait()
        except Empty:
            return calls, True
        return calls, False

    def _patience(self) -> float | None:
        if self.watchers:
            return LOOK_AFTER
        return None if self._unsynced_at is None else SYNC_AFTER

    def _carry_out(self, calls: Sequence[AnyCall]) -> None:
        try:
            self._begin()
        except sqlite3.Error as error:
            self._fail(calls, told(error, self._path))
            return
        transaction = Transaction(self._db, self._clock.now())
        try:
            for _, own in groupby(calls, _same_work):
                _do([*own], transaction)
            transaction.close()
        except Exception as error:  # noqa: BLE001 - it is raised where the call came from
            self._undo()
            if len(calls) == 1:
                self._fail(calls, told(error, self._path) if isinstance(error, OF_THE_FILE) else error)
                return
            for call in calls:  # one of them may be at fault, and the others must not pay for it
                call.error = None
                self._carry_out([call])
            return
        if self._commit(calls):
            for tell in transaction.after:
                tell()

    def _begin(self) -> None:
        for tries_left in reversed(range(BUSY_TRIES)):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if kind_of(error) != sqlite3.SQLITE_BUSY or not tries_left:
                    raise

    def _fail(self, calls: Sequence[AnyCall], failure: Exception) -> None:
        """Refuse calls of which nothing was done. Each gets its own error, as a traceback grows where it is raised."""
        for call in calls:
            call.error = call.error or (copy(failure) if len(calls) > 1 else failure)

    def _commit(self, calls: Sequence[AnyCall]) -> bool:
        if not self._db.in_transaction:
            return False
        changes = self._db.total_changes
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            failure = told(error, self._path)
            if type(failure) is FileError:
                failure = Uncertain(*failure.args)
            self._fail(calls, failure)
            return False
        if self._durability is Durability.FSYNC_1S and changes and self._unsynced_at is None:
            self._unsynced_at = self._clock.now()
        return True

    def _undo(self) -> None:
        if self._db.in_transaction:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")

    def _watch(self) -> None:
        """Look whether another process has changed anything, if somebody waits for that."""
        if not self.watchers:
            return
        with suppress(*OF_THE_FILE):  # the next call will meet it, too, and report it
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
            if version != self._data_version:
                self._data_version = version
                self._look_elsewhere(self._db)

    def _sync(self, *, is_last: bool = False) -> None:
        """Bring what was committed to disk, a second after at the latest."""
        if self._unsynced_at is None or (self._clock.now() < self._unsynced_at + SYNC_AFTER and not is_last):
            return
        with suppress(sqlite3.Error, OSError):  # it is tried again, and the next commit meets what stays wrong
            is_busy, logged, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if is_busy or moved < logged:  # others read or move what is in the log, so it may not even be synced
                sync_log(self._db)
            self._unsynced_at = None

    def _deliver(self, calls: Sequence[AnyCall]) -> None:
        """Tell those who wait, each event loop once."""
        by_loop: dict[Post, list[AnyCall]] = {}
        for call in calls:
            if call.post is not None:
                by_loop.setdefault(call.post, []).append(call)
        for post, own in by_loop.items():
            post_quietly(post, partial(self._answer, own))

    def _answer(self, calls: Sequence[AnyCall]) -> None:
        """Runs in the event loop of the calls."""
        for call in calls:
            call.answered()
        self.under_way.difference_update(calls)


def _same_work(call: AnyCall) -> object:
    return call if call.joint is None else call.joint.together


def _do(calls: Sequence[AnyCall], transaction: Transaction) -> None:
    """One call, or several that ask for the same."""
    joints = [call.joint for call in calls if call.joint is not None]
    answers: Sequence[object]
    try:
        if joints:
            answers = joints[0].together(transaction, [joint.subject for joint in joints])
        else:
            answers = [call.work(transaction) for call in calls]
    except RateSyncError as refusal:
        answers = [refusal]
    for call, answer in zip(calls, answers, strict=True):
        if isinstance(answer, RateSyncError):
            call.error = answer
        else:
            call.result = answer
