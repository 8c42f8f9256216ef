"""Every operation that the queue knows, by id."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ratesync.memory.mailbox import Fresh, Record
from ratesync.model.lane import Lane
from ratesync.model.work import Entry, Item
from ratesync.rules.lifecycle import FINAL


class Ledger:
    """Pending operations, dead letters and, for a while, the finished ones: at most ``capacity`` for ``seconds``."""

    def __init__(self, *, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self.records: dict[str, Fresh | Record] = {}
        self._dedupes: dict[tuple[Lane, str], str] = {}
        self._finished: deque[Record] = deque()

    def earlier(self, item: Item) -> str | None:
        """The id under which the item's operation is known already."""
        if item.id in self.records:
            return item.id
        return None if item.dedupe is None else self._dedupes.get((item.lane, item.dedupe))

    def is_pending(self, operation_id: str) -> bool:
        """Whether the operation is known and not finished."""
        known = self.records.get(operation_id)
        return isinstance(known, tuple) or (known is not None and known.state not in FINAL)

    def add(self, fresh: Fresh, lane: Lane) -> None:
        """Take an operation in."""
        self.records[fresh[2]] = fresh
        if fresh[6] is not None:
            self._dedupes[lane, fresh[6]] = fresh[2]

    def forget(self, record: Record) -> None:
        """Know the operation no longer."""
        del self.records[record.id]
        if record.dedupe is not None:
            del self._dedupes[record.lane, record.dedupe]

    def remember(self, record: Record) -> None:
        """Keep a finished operation for a while."""
        record.body = None
        self._finished.append(record)
        if len(self._finished) > self._capacity:
            self.forget(self._finished.popleft())

    def forget_old(self, now: float) -> None:
        """Forget the operations that finished too long ago."""
        finished = self._finished
        while finished and (finished[0].at or 0.0) + self._seconds <= now:
            self.forget(finished.popleft())

    def new(self, items: Iterable[Item]) -> list[Item]:
        """Those of the items that would be added, each operation once."""
        ids = set[str]()
        dedupes = set[tuple[Lane, str]]()
        new: list[Item] = []
        for item in items:
            dedupe = None if item.dedupe is None else (item.lane, item.dedupe)
            if item.id not in ids and dedupe not in dedupes and self.earlier(item) is None:
                new.append(item)
                ids.add(item.id)
                if dedupe is not None:
                    dedupes.add(dedupe)
        return new


def entry(record: Record) -> Entry:
    """What the host may know of an operation."""
    is_finished = record.state in FINAL
    return Entry(
        id=record.id,
        lane=record.lane,
        key=record.key,
        state=record.state,
        attempts=record.attempts,
        enqueued_at=record.enqueued_at,
        due_at=None if is_finished else record.at,
        finished_at=record.at if is_finished else None,
        body=record.body,
        result=record.result,
    )
