"""How operations end, and how long that is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from ratesync.model.lane import Lane
from ratesync.model.work import Entry
from ratesync.sqlite.book import Book
from ratesync.sqlite.errors import Contradiction
from ratesync.sqlite.lane import CANCELLED, COMPLETED, DEAD, STATES, LaneRow

MOST_FORGOTTEN = 1000
"""Finished operations that one call forgets because of their age."""
MOST_GONE = 1000
"""Letters that are gone and whose place is remembered."""

ENTRY = (
    "SELECT id, provider, connection, key, state, attempts, enqueued_at, at, body, result "
    "FROM item JOIN lane ON lane.number = item.lane"
)


def entry(row: tuple[Any, ...]) -> Entry:
    """What the host may know of an operation, from a row of :data:`ENTRY`."""
    operation_id, provider, connection, key, state, attempts, enqueued_at, at, body, result = row
    is_finished = state >= COMPLETED
    return Entry(
        id=operation_id,
        lane=Lane(provider, connection),
        key=key,
        state=STATES[int(state)],
        attempts=attempts,
        enqueued_at=enqueued_at,
        due_at=None if is_finished else at,
        finished_at=at if is_finished else None,
        body=None if state in {COMPLETED, CANCELLED} else body,
        result=result,
    )


def look_up(book: Book, operation_id: str) -> Entry | None:
    """The operation's entry."""
    row = book.db.execute(f"{ENTRY} WHERE id = ?", (operation_id,)).fetchone()
    return None if row is None else entry(row)


End = tuple[int, str, int, int, bytes | None]
"""Number, id, state before, state after and result."""


def finish(book: Book, lane: LaneRow, ends: Sequence[End]) -> None:
    """Let operations of one lane end."""
    rows: list[tuple[object, ...]] = []
    for number, _, before, after, result in ends:
        lane.count(before, -1)
        if after == DEAD:
            lane.dead += 1
            book.dead += 1
        else:
            book.finished += 1
        rows.append((after, result, book.now, book.next_number(), number))
    book.db.executemany(
        "UPDATE item SET state = ?1, result = ?2, at = ?3, ended = ?4, is_boxed = 0, lead = NULL, is_urgent = NULL, "
        "worker = NULL, token = NULL, is_wished = 0, body = CASE WHEN ?1 = 5 THEN body END WHERE number = ?5",
        rows,
    )
    book.pending -= len(ends)
    book.is_roomier = book.is_roomier or len(ends) > 0
    for _, operation_id, *_ in ends:
        if book.watches.is_awaited(operation_id) and (found := look_up(book, operation_id)) is not None:
            book.ended.append(found)


def forget_surplus(book: Book) -> None:
    """Forget the finished operations that are too many, the oldest first."""
    surplus = book.finished - book.limits.result_capacity
    if surplus > 0:
        _forget(book, surplus, inf)


def forget_old(book: Book) -> None:
    """Forget the operations that finished too long ago, if this transaction has not done so yet."""
    if book.is_fresh or not book.finished:
        return
    book.is_fresh = True
    oldest = book.now - book.limits.result_seconds
    while True:
        row = book.db.execute("SELECT at FROM item WHERE state IN (4, 6) ORDER BY ended LIMIT 1").fetchone()
        if row is None or row[0] > oldest:
            return
        if not _forget(book, MOST_FORGOTTEN, oldest):
            raise Contradiction("an operation that is to be forgotten cannot be found")


def _forget(book: Book, most: int, until: float) -> int:
    rows = book.db.execute(
        "DELETE FROM item WHERE number IN (SELECT number FROM "
        "(SELECT number, at FROM item WHERE state IN (4, 6) ORDER BY ended LIMIT ?) WHERE at <= ?) RETURNING lane",
        (most, until),
    ).fetchall()
    book.finished -= len(rows)
    for (lane,) in rows:
        book.lane(lane).known -= 1
    return len(rows)


def bury_no_more(book: Book, operation_id: str, ended: int) -> None:
    """Note that a dead letter is one no more, so that its place is still known."""
    book.dead -= 1
    book.db.execute("INSERT OR REPLACE INTO gone (id, ended) VALUES (?, ?)", (operation_id, ended))
    book.db.execute("DELETE FROM gone WHERE number <= (SELECT max(number) FROM gone) - ?", (MOST_GONE,))
