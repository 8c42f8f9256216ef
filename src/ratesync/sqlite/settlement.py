"""How leases end: settled by their worker, or lost by it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ratesync.model.operation import OperationState
from ratesync.model.work import Lease, Settlement
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.ends import End, finish, forget_surplus
from ratesync.sqlite.lane import AVAILABLE, CANCELLED, COMPLETED, DEAD, LEASED, RETRYABLE, LaneRow
from ratesync.sqlite.many import parts

ENDS = {
    OperationState.COMPLETED: COMPLETED,
    OperationState.DEAD: DEAD,
    OperationState.CANCELLED: CANCELLED,
}


class Held(NamedTuple):
    """An operation that is leased."""

    number: int
    id: str
    lane: int
    key: str
    attempts: int
    sent_as: int
    is_wished: int
    token: int


HELD = "SELECT number, id, lane, key, attempts, sent_as, is_wished, token FROM item WHERE worker = ?"
IN_ORDER = "ORDER BY token, number"
BACK = (
    "UPDATE item SET state = ?, attempts = ?, sent_as = ?, lapses = lapses + ?, at = ?, worker = NULL, token = NULL, "
    "is_wished = 0 WHERE number = ?"
)


def worker_number(book: Book, name: str) -> int | None:
    """The number of a worker that holds leases."""
    row = book.db.execute("SELECT number FROM worker WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def sign(book: Book, worker: str) -> int | None:
    """Take note of a sign of life; the worker's number if it holds leases."""
    number = worker_number(book, worker)
    if number is not None:
        book.db.execute("UPDATE worker SET alive_at = ? WHERE number = ?", (book.now, number))
    return number


def is_held(book: Book, worker: int | None, lease: Lease) -> bool:
    """Whether the worker holds the lease."""
    if worker is None:
        return False
    row = book.db.execute(
        "SELECT lane FROM item WHERE worker = ? AND token = ? LIMIT 1", (worker, lease.token)
    ).fetchone()
    return row is not None and book.lane(row[0]).lane == lease.lane


def settle(book: Book, worker: str, settlements: Sequence[Settlement]) -> list[bool]:
    """Settle those leases that the worker still holds."""
    for settlement in settlements:
        for end in settlement.finished:
            if end.state not in ENDS:
                raise ValueError(f"operation {end.id}: no settlement can make it {end.state}")
    number = sign(book, worker)
    if number is None:
        return [False] * len(settlements)
    closing = Closing(book, number)
    held = _held(book, number, [settlement.lease.token for settlement in settlements])
    answers = [closing.settle(settlement, held.pop(settlement.lease.token, ())) for settlement in settlements]
    closing.store()
    return answers


def _held(book: Book, worker: int, tokens: Sequence[int]) -> dict[int, list[Held]]:
    """What the worker holds under these tokens."""
    held: dict[int, list[Held]] = {}
    for marks, part in parts(tokens):
        for row in book.db.execute(f"{HELD} AND token IN ({marks}) {IN_ORDER}", (worker, *part)):
            held.setdefault(row[-1], []).append(Held(*row))
    return held


def lapse(book: Book) -> None:
    """Take back what silent workers hold."""
    silent = book.db.execute(
        "SELECT number FROM worker WHERE alive_at + ? <= ?", (book.limits.lease_seconds, book.now)
    ).fetchall()
    for (worker,) in silent:
        closing = Closing(book, worker)
        rows = book.db.execute(f"{HELD} AND worker IS NOT NULL {IN_ORDER}", (worker,)).fetchall()
        for _, held in groupby(map(Held._make, rows), attrgetter("token")):
            closing.lapse([*held])
        closing.store()


class Closing:
    """The end of leases of one worker. What becomes of the operations is gathered and stored at once."""

    def __init__(self, book: Book, worker: int) -> None:
        self._book = book
        self._worker = worker
        self._backs: list[tuple[object, ...]] = []
        self._ends: dict[int, list[End]] = {}
        self._boxes: dict[int, list[tuple[str, float | None]]] = {}
        self._returned: dict[str, int] = {}

    def settle(self, settlement: Settlement, held: Sequence[Held]) -> bool:
        """One lease, of which the worker holds these operations; False if there are none."""
        if not held:
            return False
        lane = self._book.lane(held[0].lane)
        if (lane.provider, lane.connection) != settlement.lease.lane:
            return False
        ends = {end.id: end for end in settlement.finished}
        for one in held:
            end = ends.get(one.id)
            if end is not None:
                self._end(lane, one, ENDS[end.state], end.result)
            elif one.id in settlement.attempted:
                sent_as = one.sent_as or (one.token if settlement.sent else 0)
                self._back(lane, one, RETRYABLE, one.attempts + settlement.counted, sent_as, at=settlement.resume_at)
            else:
                sent_as = 0 if one.id in settlement.unsent else one.sent_as
                self._back(lane, one, AVAILABLE, one.attempts, sent_as)
        self._close(lane, held[0].key, settlement.resume_at)
        return True

    def lapse(self, held: Sequence[Held]) -> None:
        """One lease that the worker has lost."""
        lane = self._book.lane(held[0].lane)
        for one in held:
            self._back(lane, one, RETRYABLE, one.attempts, one.sent_as or one.token, lapses=1)
        self._close(lane, held[0].key, None)

    def _end(self, lane: LaneRow, held: Held, state: int, result: bytes | None) -> None:
        self._ends.setdefault(lane.number, []).append((held.number, held.id, LEASED, state, result))

    def _back(
        self,
        lane: LaneRow,
        held: Held,
        state: int,
        attempts: int,
        sent_as: int,
        *,
        lapses: int = 0,
        at: float | None = None,
    ) -> None:
        self._backs.append((CANCELLED if held.is_wished else state, attempts, sent_as, lapses, at, held.number))
        if held.is_wished:
            self._end(lane, held, CANCELLED, None)
            return
        lane.leased -= 1
        lane.count(state, 1)

    def _close(self, lane: LaneRow, key: str, resume_at: float | None) -> None:
        self._boxes.setdefault(lane.number, []).append((key, resume_at))
        self._returned[lane.provider] = self._returned.get(lane.provider, 0) + 1

    def store(self) -> None:
        """Store all of it; the mailboxes may be claimed again."""
        book = self._book
        book.db.executemany(BACK, self._backs)
        for number, ends in self._ends.items():
            finish(book, book.lane(number), ends)
        for number, closed in self._boxes.items():
            lane = book.lane(number)
            filled = boxes.filled(book, lane, [key for key, _ in closed])
            for key, resume_at in closed:
                self._reopen(lane, key, resume_at, is_filled=key in filled)
        for provider, count in self._returned.items():
            self._return(provider, count)
        forget_surplus(book)

    def _reopen(self, lane: LaneRow, key: str, resume_at: float | None, *, is_filled: bool) -> None:
        book = self._book
        if not book.is_news and lane.ready:
            provider = book.provider(lane.provider)
            book.is_news = provider is not None and lane.held >= provider.held_least
        lane.held -= 1
        if not is_filled:
            return
        if resume_at is not None and resume_at > book.now:
            boxes.rest(book, lane, key, resume_at)
        elif not boxes.offer(book, lane, key):
            return
        book.is_news = True

    def _return(self, provider: str, count: int) -> None:
        db = self._book.db
        holding = self._worker, provider
        db.execute("UPDATE holding SET count = count - ? WHERE worker = ? AND provider = ?", (count, *holding))
        db.execute("DELETE FROM holding WHERE worker = ? AND provider = ? AND count <= 0", holding)
        if db.execute("SELECT 1 FROM holding WHERE worker = ? LIMIT 1", holding[:1]).fetchone() is None:
            db.execute("DELETE FROM worker WHERE number = ?", holding[:1])
