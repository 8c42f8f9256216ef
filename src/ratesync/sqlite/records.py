"""What is asked and ordered about single operations."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.model.lane import Selector
from ratesync.model.work import CancelResult, Entry, QueueStats
from ratesync.rules.priority import score
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.ends import ENTRY, bury_no_more, entry, finish, forget_old, forget_surplus, look_up
from ratesync.sqlite.lane import CANCELLED, COMPLETED, DEAD, LEASED, SCHEDULED
from ratesync.sqlite.many import bounded


def get(book: Book, ids: Sequence[str]) -> list[Entry | None]:
    """Look operations up."""
    forget_old(book)
    boxes.advance_all(book)
    return [look_up(book, operation_id) for operation_id in ids]


def cancel(book: Book, ids: Sequence[str]) -> list[CancelResult]:
    """Take operations back."""
    forget_old(book)
    boxes.advance_all(book)
    answers = [_cancel(book, operation_id) for operation_id in ids]
    forget_surplus(book)
    return answers


def _cancel(book: Book, operation_id: str) -> CancelResult:
    row = book.db.execute("SELECT number, lane, key, state, lead FROM item WHERE id = ?", (operation_id,)).fetchone()
    if row is None:
        return CancelResult.UNKNOWN
    number, lane_number, key, state, lead = row
    if state >= COMPLETED:
        return CancelResult.FINISHED
    if state == LEASED:
        book.db.execute("UPDATE item SET is_wished = 1 WHERE number = ?", (number,))
        return CancelResult.REQUESTED
    lane = book.lane(lane_number)
    finish(book, lane, [(number, operation_id, state, CANCELLED, None)])
    if state == SCHEDULED:
        lane.has_timer_change = True
    else:
        boxes.withdraw(book, lane, key, has_led=lead is not None)
    forget_surplus(book)
    return CancelResult.CANCELLED


def replay(book: Book, ids: Sequence[str]) -> list[bool]:
    """Put dead letters back at the end of their mailboxes."""
    boxes.advance_all(book)
    return [_replay(book, operation_id) for operation_id in ids]


def _replay(book: Book, operation_id: str) -> bool:
    row = book.db.execute(
        "SELECT number, lane, key, priority, ended FROM item WHERE id = ? AND state = 5", (operation_id,)
    ).fetchone()
    if row is None:
        return False
    number, lane_number, key, priority, ended = row
    lane = book.lane(lane_number)
    bury_no_more(book, operation_id, ended)
    rank = score(book.now, priority, book.limits.priority_step)
    book.db.execute(
        "UPDATE item SET score = ?, attempts = 0, lapses = 0, sent_as = 0, result = NULL, ended = NULL "
        "WHERE number = ?",
        (rank, number),
    )
    lane.dead -= 1
    book.pending += 1
    book.is_news = True
    if lane.timer_at is not None and lane.timer_at <= book.now:  # due behind what there was no time for
        boxes.schedule(book, lane, number)
    else:
        boxes.enter(book, lane, number, key, rank)
    return True


def discard(book: Book, ids: Sequence[str]) -> list[bool]:
    """Forget dead letters."""
    return [_discard(book, operation_id) for operation_id in ids]


def _discard(book: Book, operation_id: str) -> bool:
    row = book.db.execute("SELECT number, lane, ended FROM item WHERE id = ? AND state = 5", (operation_id,)).fetchone()
    if row is None:
        return False
    bury_no_more(book, operation_id, row[2])
    book.db.execute("DELETE FROM item WHERE number = ?", row[:1])
    lane = book.lane(row[1])
    lane.dead -= 1
    lane.known -= 1
    return True


def dead_letters(book: Book, selector: Selector, after: str | None, limit: int) -> list[Entry]:
    """A page of the dead letters."""
    behind = 0
    if after is not None:
        row = book.db.execute(
            "SELECT ended FROM item WHERE id = ?1 AND state = ?2 UNION ALL SELECT ended FROM gone WHERE id = ?1",
            (after, DEAD),
        ).fetchone()
        behind = 0 if row is None else row[0]
    rows = book.db.execute(
        f"{ENTRY} WHERE state = 5 AND ended > ?1 AND (?2 IS NULL OR provider = ?2) "
        "AND (?3 IS NULL OR connection = ?3) ORDER BY ended LIMIT ?4",
        (behind, *selector, bounded(limit)),
    )
    return [entry(row) for row in rows]


def stats(book: Book, selector: Selector) -> QueueStats:
    """Count the selected lanes' operations."""
    boxes.advance_all(book)
    book.write()
    row = book.db.execute(
        "SELECT total(scheduled), total(available), total(leased), total(retryable), total(dead) FROM lane "
        "WHERE (?1 IS NULL OR provider = ?1) AND (?2 IS NULL OR connection = ?2)",
        tuple(selector),
    ).fetchone()
    return QueueStats(*map(int, row))
