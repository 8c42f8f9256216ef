"""What comes in: operations that are new, duplicates, and those for which there is no room."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.errors import DeadLettersFull, QueueFull
from ratesync.model.lane import Lane
from ratesync.model.work import Enqueued, Item
from ratesync.rules.priority import score
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.ends import forget_old
from ratesync.sqlite.lane import AVAILABLE, SCHEDULED, LaneRow
from ratesync.sqlite.watches import Watch

INSERT = (
    "INSERT INTO item (number, id, lane, key, state, is_boxed, score, lead, is_urgent, enqueued_at, at, priority, "
    "dedupe, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
LARGEST = 2**63
"""Integers below it are stored exactly."""


def enqueue(book: Book, items: Sequence[Item], watch: Watch | None) -> list[Enqueued] | None:
    """Accept all items; None: there is no room now, but ``watch`` stands in line for it.

    :raises QueueFull: there is no room, and nobody who would wait for it; or there can never be.
    :raises DeadLettersFull: too many dead letters, some of them in a lane of these items.
    """
    forget_old(book)
    earlier = _earlier(book, items)
    new = [item for item, known in zip(items, earlier, strict=True) if known is None]
    limits = book.limits
    if new and book.dead >= limits.dead_letter_capacity and _has_dead_letters(book, new):
        raise DeadLettersFull(
            f"{limits.dead_letter_capacity} dead letters await a decision; replay or discard some. Nothing enqueued.",
            capacity=limits.dead_letter_capacity,
        )
    if new:
        line = next(iter(book.watches.room), watch)
        if line is not watch or book.pending + len(new) > limits.capacity:
            if watch is None or len(new) > limits.capacity:
                raise full(book, len(new))
            book.watches.enter_line(watch)
            return None
        boxes.advance_all(book)
        _Intake(book).add(new)
    return [Enqueued(known or item.id, known is not None) for item, known in zip(items, earlier, strict=True)]


def full(book: Book, size: int) -> QueueFull:
    """The error for somebody who wanted room for ``size`` operations."""
    capacity = book.limits.capacity
    return QueueFull(
        f"no room for {size} more operations: {book.pending} of {capacity} are pending. Nothing was enqueued; submit "
        "fewer at once, wait for room, or raise the capacity.",
        capacity=capacity,
    )


def _has_dead_letters(book: Book, items: Sequence[Item]) -> bool:
    lanes = [book.find(lane) for lane in {item.lane for item in items}]
    return any(lane is not None and lane.dead for lane in lanes)


def _earlier(book: Book, items: Sequence[Item]) -> list[str | None]:
    """For each item the id under which its operation is known already, or comes earlier among the items."""
    ids = set[str]()
    dedupes: dict[tuple[Lane, str], str] = {}
    earlier: list[str | None] = []
    find = book.db.execute
    for item in items:
        known: str | None = None
        if item.id in ids or find("SELECT 1 FROM item WHERE id = ?", (item.id,)).fetchone() is not None:
            known = item.id
        elif item.dedupe is not None:
            known = dedupes.get((item.lane, item.dedupe)) or _same_dedupe(book, item)
            if known is None:
                dedupes[item.lane, item.dedupe] = item.id
        if known is None:
            ids.add(item.id)
        earlier.append(known)
    return earlier


def _same_dedupe(book: Book, item: Item) -> str | None:
    lane = book.find(item.lane)
    if lane is None:
        return None
    row = book.db.execute(
        "SELECT id FROM item WHERE lane = ? AND dedupe = ? AND dedupe IS NOT NULL", (lane.number, item.dedupe)
    ).fetchone()
    return None if row is None else row[0]


class _Intake:
    """The rows of one call, gathered and stored at once."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._rows: list[tuple[object, ...]] = []
        self._tails: dict[tuple[int, str], boxes.Tail] = {}
        self._lane: LaneRow | None = None

    def add(self, items: Sequence[Item]) -> None:
        """Store operations that are new."""
        book = self._book
        for item in items:
            lane = self._lane
            if lane is None or (lane.provider, lane.connection) != item.lane:
                lane = self._lane = book.open(item.lane)
            self._add(lane, item)
        self._store()
        book.pending += len(items)
        book.is_news = True

    def _add(self, lane: LaneRow, item: Item) -> None:
        now = self._book.now
        number = self._book.next_number()
        lane.known += 1
        at = item.not_before
        if at is not None and at > now:
            rank = score(at, item.priority, self._book.limits.priority_step)
        else:
            is_behind = lane.timer_at is not None and lane.timer_at <= now
            at = now if is_behind else None
            rank = score(now, item.priority, self._book.limits.priority_step)
        priority = item.priority if -LARGEST < item.priority < LARGEST else float(item.priority)
        common = number, item.id, lane.number, item.key
        rest = now, at, priority, item.dedupe, item.body
        if at is not None:
            lane.scheduled += 1
            if lane.timer_at is None or at < lane.timer_at:
                lane.timer_at = at
            self._rows.append((*common, SCHEDULED, 0, rank, None, None, *rest))
            return
        tail = self._tails.get((lane.number, item.key)) or boxes.tail(self._book, lane, item.key)
        lane.available += 1
        if tail is None:
            lane.ready += 1
            urgent, lead = None, rank
        else:
            urgent, lead = 1 if boxes.is_urgent(tail, rank) else None, None
        self._tails[lane.number, item.key] = rank, urgent
        self._rows.append((*common, AVAILABLE, 1, rank, lead, urgent, *rest))
        if urgent:
            self._store()
            boxes.overtake(self._book, lane, item.key, (rank, number))

    def _store(self) -> None:
        self._book.db.executemany(INSERT, self._rows)
        self._rows.clear()


def enqueue_at_last(book: Book, items: Sequence[Item], watch: Watch) -> list[Enqueued]:
    """As :func:`enqueue`, for somebody who has waited for room and will wait no more."""
    answers = enqueue(book, items, watch)
    if answers is None:
        raise full(book, len(items))
    return answers
