"""Mailboxes: the queued operations of one key, in order, found in their lane by the most urgent of them.

An operation that is less urgent than none before it needs no mark: then the first of the mailbox leads. One that is
more urgent than some before it is marked, so that the leader is found without a look at the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.sqlite.book import Book
from ratesync.sqlite.errors import Contradiction
from ratesync.sqlite.lane import AVAILABLE, LEASED, SCHEDULED, LaneRow
from ratesync.sqlite.many import parts

MOST_DUE = 1000
"""Timers that one call carries out. What is left is done by the next one, so that no call takes long."""

TAILS = (
    "WITH wanted (key) AS (VALUES {}) SELECT wanted.key, score, is_urgent FROM wanted CROSS JOIN item "
    "ON number = (SELECT max(own.number) FROM item AS own WHERE own.lane = ? AND own.key = wanted.key AND own.is_boxed)"
)
FILLED = (
    "WITH wanted (key) AS (VALUES {}) SELECT key FROM wanted "
    "WHERE EXISTS (SELECT 1 FROM item AS own WHERE own.lane = ? AND own.key = wanted.key AND own.is_boxed)"
)

Tail = tuple[float, int | None]
"""Score and mark of the last operation in a mailbox."""


def tail(book: Book, lane: LaneRow, key: str) -> Tail | None:
    """The last operation of the mailbox; None if it is empty."""
    tail: Tail | None = book.db.execute(
        "SELECT score, is_urgent FROM item WHERE lane = ? AND key = ? AND is_boxed ORDER BY number DESC LIMIT 1",
        (lane.number, key),
    ).fetchone()
    return tail


def tails(book: Book, lane: LaneRow, keys: Sequence[str]) -> dict[str, Tail]:
    """The last operation of each of the mailboxes that are not empty."""
    found: dict[str, Tail] = {}
    for marks, part in parts(keys, "(?)"):
        rows = book.db.execute(TAILS.format(marks), (*part, lane.number))
        found.update((key, (score, urgent)) for key, score, urgent in rows)
    return found


def filled(book: Book, lane: LaneRow, keys: Sequence[str]) -> set[str]:
    """Those of the mailboxes in which there is an operation."""
    found = set[str]()
    for marks, part in parts(keys, "(?)"):
        found.update(key for (key,) in book.db.execute(FILLED.format(marks), (*part, lane.number)))
    return found


def is_urgent(tail: Tail, score: float) -> bool:
    """Whether an operation that comes behind this one must be marked."""
    return tail[1] is not None or score < tail[0]


def leader(book: Book, lane: LaneRow, key: str, but: int | None = None) -> tuple[float, int] | None:
    """Score and number of the most urgent operation; None if the mailbox is empty, held or rests."""
    place = lane.number, key
    head = book.db.execute(
        "SELECT score, number, state FROM item WHERE lane = ? AND key = ? AND is_boxed AND number IS NOT ? "
        "ORDER BY number LIMIT 1",
        (*place, but),
    ).fetchone()
    if head is None or head[2] == LEASED:
        return None
    if lane.rests and book.db.execute("SELECT 1 FROM rest WHERE lane = ? AND key = ?", place).fetchone():
        return None
    urgent: tuple[float, int] | None = book.db.execute(
        "SELECT score, number FROM item WHERE lane = ? AND key = ? AND is_urgent IS NOT NULL AND number IS NOT ? "
        "ORDER BY score, number LIMIT 1",
        (*place, but),
    ).fetchone()
    first: tuple[float, int] = head[:2]
    return first if urgent is None else min(first, urgent)


def offer(book: Book, lane: LaneRow, key: str) -> bool:
    """Make a mailbox ready that is not, if it can be; whether it is."""
    lead = leader(book, lane, key)
    if lead is None:
        return False
    book.db.execute("UPDATE item SET lead = ? WHERE number = ?", lead)
    lane.ready += 1
    return True


def overtake(book: Book, lane: LaneRow, key: str, rank: tuple[float, int]) -> None:
    """Let an operation that came into a mailbox lead it, if that is ready and nobody in it is more urgent."""
    former = leader(book, lane, key, but=rank[1])
    if former is not None and rank < former:
        book.db.execute("UPDATE item SET lead = NULL WHERE number = ?", (former[1],))
        book.db.execute("UPDATE item SET lead = ? WHERE number = ?", rank)


def enter(book: Book, lane: LaneRow, number: int, key: str, score: float) -> None:
    """Put an operation that is stored outside of its mailbox at the end of it."""
    last = tail(book, lane, key)
    place = book.next_number()
    urgent = 1 if last is not None and is_urgent(last, score) else None
    book.db.execute(
        "UPDATE item SET number = ?, state = ?, is_boxed = 1, at = NULL, is_urgent = ?, lead = ? WHERE number = ?",
        (place, AVAILABLE, urgent, score if last is None else None, number),
    )
    lane.available += 1
    if last is None:
        lane.ready += 1
    elif urgent:
        overtake(book, lane, key, (score, place))


def schedule(book: Book, lane: LaneRow, number: int) -> None:
    """Let an operation that is stored outside of its mailbox be due now, behind what is due already."""
    book.db.execute(
        "UPDATE item SET number = ?, state = ?, at = ? WHERE number = ?",
        (book.next_number(), SCHEDULED, book.now, number),
    )
    lane.scheduled += 1
    lane.has_timer_change = True


def withdraw(book: Book, lane: LaneRow, key: str, *, has_led: bool) -> None:
    """Mend a mailbox out of which an operation was taken that waited there."""
    if has_led:
        lane.ready -= 1
        offer(book, lane, key)
    if lane.rests and tail(book, lane, key) is None:
        gone = book.db.execute("DELETE FROM rest WHERE lane = ? AND key = ?", (lane.number, key)).rowcount
        lane.rests -= gone
        lane.has_timer_change = lane.has_timer_change or gone > 0


def rest(book: Book, lane: LaneRow, key: str, until: float) -> None:
    """Let a mailbox wait until an instant."""
    book.db.execute("INSERT OR REPLACE INTO rest VALUES (?, ?, ?)", (lane.number, key, until))
    lane.rests += 1
    if lane.timer_at is None or until < lane.timer_at:
        lane.timer_at = until


def advance(book: Book, lane: LaneRow, most: int = MOST_DUE) -> int:
    """Carry out at most ``most`` of the timers that are due in the lane; how many there were."""
    if lane.timer_at is None or lane.timer_at > book.now:
        return 0
    due = book.db.execute(
        "SELECT number, key, score FROM item WHERE state = 0 AND lane = ? AND at <= ? ORDER BY at, number LIMIT ?",
        (lane.number, book.now, most),
    ).fetchall()
    for number, key, score in due:
        lane.scheduled -= 1
        enter(book, lane, number, key, score)
    rested = book.db.execute(
        "SELECT key FROM rest WHERE lane = ? AND at <= ? ORDER BY at LIMIT ?", (lane.number, book.now, most)
    ).fetchall()
    for (key,) in rested:
        if not book.db.execute("DELETE FROM rest WHERE lane = ? AND key = ?", (lane.number, key)).rowcount:
            raise Contradiction(f"a mailbox of {lane.lane} that rests cannot be found")
        lane.rests -= 1
        offer(book, lane, key)
    lane.has_timer_change = True
    book.refresh_timer(lane)
    return len(due) + len(rested)


def advance_all(book: Book) -> None:
    """Bring all lanes up to date, as far as one transaction may."""
    if book.is_advanced:
        return
    book.is_advanced = True
    budget = MOST_DUE
    rows = book.db.execute(
        "SELECT number FROM lane WHERE timer_at <= ? ORDER BY timer_at LIMIT ?", (book.now, MOST_DUE)
    ).fetchall()
    for (number,) in rows:
        if budget <= 0:
            return
        budget -= 1 + advance(book, book.lane(number), budget)
