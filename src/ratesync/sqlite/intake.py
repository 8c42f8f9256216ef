"""What comes in: operations that are new, duplicates, and those for which there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ratesync.errors import DeadLettersFull, QueueFull
from ratesync.model.lane import Lane
from ratesync.model.work import Enqueued, Item
from ratesync.rules.priority import score
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.ends import forget_old
from ratesync.sqlite.lane import AVAILABLE, SCHEDULED, LaneRow
from ratesync.sqlite.many import parts
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


def enqueue_each(book: Book, calls: Sequence[Sequence[Item]]) -> Sequence[Sequence[Enqueued] | QueueFull]:
    """Answer several calls that do not wait for room, at the cost of one where there is room for all."""
    everything = [item for items in calls for item in items]
    has_room = not book.watches.room and book.pending + len(everything) <= book.limits.capacity
    if has_room and book.dead < book.limits.dead_letter_capacity:
        answers = iter(enqueue(book, everything, None) or ())
        return [list(islice(answers, len(items))) for items in calls]
    return [_enqueue_or_refuse(book, items) for items in calls]


def _enqueue_or_refuse(book: Book, items: Sequence[Item]) -> list[Enqueued] | QueueFull:
    try:
        return enqueue(book, items, None) or []
    except QueueFull as refusal:
        return refusal


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
    known = set[str]()
    for marks, part in parts([item.id for item in items]):
        rows = book.db.execute(f"SELECT id FROM item WHERE id IN ({marks})", part)  # noqa: S608 - marks only
        known.update(row[0] for row in rows)
    dedupes: dict[tuple[Lane, str], str] = {}
    earlier: list[str | None] = []
    for item in items:
        name: str | None = None
        if item.id in known:
            name = item.id
        elif item.dedupe is not None:
            name = dedupes.get((item.lane, item.dedupe)) or _same_dedupe(book, item)
            if name is None:
                dedupes[item.lane, item.dedupe] = item.id
        if name is None:
            known.add(item.id)
        earlier.append(name)
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

    def add(self, items: Sequence[Item]) -> None:
        """Store operations that are new."""
        book = self._book
        by_lane: dict[Lane, list[Item]] = {}
        for item in items:
            by_lane.setdefault(item.lane, []).append(item)
        # All lanes first: opening one looks at what is stored of the others, and forgets those without operations.
        lanes = [self._open(name, len(own)) for name, own in by_lane.items()]
        for lane, own in zip(lanes, by_lane.values(), strict=True):
            tails = boxes.tails(book, lane, [item.key for item in own])
            for item in own:
                self._add(lane, item, tails)
        self._store()
        book.pending += len(items)
        book.is_news = True

    def _open(self, name: Lane, size: int) -> LaneRow:
        lane = self._book.open(name)
        lane.known += size
        return lane

    def _add(self, lane: LaneRow, item: Item, tails: dict[str, boxes.Tail]) -> None:
        name, _, key, body, priority, at, dedupe = item
        now = self._book.now
        number = self._book.next_number()
        if at is not None and at > now:
            rank = score(at, priority, self._book.limits.priority_step)
        else:
            is_behind = lane.timer_at is not None and lane.timer_at <= now
            at = now if is_behind else None
            rank = score(now, priority, self._book.limits.priority_step)
        stored = priority if -LARGEST < priority < LARGEST else float(priority)
        if at is not None:
            lane.scheduled += 1
            if lane.timer_at is None or at < lane.timer_at:
                lane.timer_at = at
            common = number, name, lane.number, key, SCHEDULED, 0, rank, None, None
            self._rows.append((*common, now, at, stored, dedupe, body))
            return
        tail = tails.get(key)
        lane.available += 1
        urgent = lead = None
        if tail is None:
            lane.ready += 1
            lead = rank
        elif boxes.is_urgent(tail, rank):
            urgent = 1
        tails[key] = rank, urgent
        self._rows.append(
            (number, name, lane.number, key, AVAILABLE, 1, rank, lead, urgent, now, None, stored, dedupe, body)
        )
        if urgent:
            self._store()
            boxes.overtake(self._book, lane, key, (rank, number))

    def _store(self) -> None:
        self._book.db.executemany(INSERT, self._rows)
        self._rows.clear()


def enqueue_at_last(book: Book, items: Sequence[Item], watch: Watch) -> list[Enqueued]:
    """As :func:`enqueue`, for somebody who has waited for room and will wait no more."""
    answers = enqueue(book, items, watch)
    if answers is None:
        raise full(book, len(items))
    return answers
