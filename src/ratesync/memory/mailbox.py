"""A mailbox: the pending operations of one key, in order."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState

QUEUED = (OperationState.AVAILABLE, OperationState.RETRYABLE)
"""States of the operations that stand in a mailbox."""

MOST_GARBAGE = 64
"""Outdated entries that a heap may have beyond the number of valid ones before it is swept."""


Rank = tuple[float, int, str, str, *tuple[object, ...]]
"""Where a mailbox stands in its lane: score, number, then id and key of its most urgent operation. The lowest is first.
Numbers are given once, so that no comparison goes further."""

Fresh = tuple[float, int, str, str, bytes, int, str | None, float, int]
"""An operation that nothing has happened to yet: its rank, then body, priority, dedupe, instant and number of the lane.

While it is alone in its mailbox, this plain tuple stands for both. The garbage collector does not look into a tuple of
plain values, so that a million waiting operations make no pauses; and it takes half the memory."""


class Record:
    """An operation as the queue keeps it, once something happens to it, until it is forgotten.

    ``at`` is the due instant of a scheduled or retryable one and the end of a finished one.
    """

    __slots__ = (
        "at",
        "attempts",
        "body",
        "dedupe",
        "enqueued_at",
        "id",
        "key",
        "lane",
        "lapses",
        "mailbox",
        "next",
        "number",
        "previous",
        "priority",
        "result",
        "score",
        "sent_as",
        "state",
    )

    def __init__(self, fresh: Fresh, lane: Lane, state: OperationState) -> None:
        self.body: bytes | None
        self.score, self.number, self.id, self.key, self.body, self.priority, self.dedupe, self.enqueued_at, _ = fresh
        self.lane = lane
        self.state = state
        self.attempts = 0
        self.lapses = 0
        self.sent_as = 0
        self.at: float | None = None
        self.result: bytes | None = None
        self.mailbox: Mailbox | None = None
        self.previous: Record | None = None
        self.next: Record | None = None

    def fresh(self, score: float) -> Fresh:
        """The operation as it came in, but under another score."""
        body = self.body or b""
        return score, self.number, self.id, self.key, body, self.priority, self.dedupe, self.enqueued_at, 0


class Hold:
    """What a lease takes hold of: the first records of a mailbox. ``wishes`` are ids to cancel if they come back."""

    __slots__ = ("mailbox", "records", "token", "wishes")

    def __init__(self, token: int, mailbox: Mailbox, records: list[Record]) -> None:
        self.token = token
        self.mailbox = mailbox
        self.records = records
        mailbox.hold = self
        self.wishes: set[str] | None = None


class Ranks:
    """The records of a mailbox by rank. Only for a mailbox whose records do not stand in that order anyway."""

    __slots__ = ("_heap", "count")

    def __init__(self, first: Record | None) -> None:
        self._heap: list[tuple[float, int, Record]] = []
        while first is not None:
            self._heap.append((first.score, first.number, first))
            first = first.next
        heapify(self._heap)
        self.count = len(self._heap)
        """Records in the mailbox. The heap also has entries of records that left it."""

    def add(self, record: Record) -> None:
        """Take in a record that came into the mailbox."""
        self.count += 1
        heappush(self._heap, (record.score, record.number, record))
        if len(self._heap) > 2 * self.count + MOST_GARBAGE:
            self._heap = list({id(entry[2]): entry for entry in self._heap if entry[2].state in QUEUED}.values())
            heapify(self._heap)

    def first(self) -> Record:
        """The most urgent record of the mailbox, which has at least one."""
        while self._heap[0][2].state not in QUEUED:
            heappop(self._heap)
        return self._heap[0][2]


class Mailbox:
    """The records of one key as a linked list, so that one can be taken out of the middle.

    A mailbox is ready to be claimed if it has records, is not held and does not wait for ``resume_at``. ``lead`` is
    then its most urgent record, by which the lane finds it; else None.
    """

    __slots__ = ("head", "hold", "lead", "ranks", "resume_at", "tail")

    def __init__(self) -> None:
        self.head: Record | None = None
        self.tail: Record | None = None
        self.lead: Record | None = None
        self.hold: Hold | None = None
        self.resume_at: float | None = None
        self.ranks: Ranks | None = None

    def append(self, record: Record) -> None:
        """Add a record at the end."""
        record.mailbox = self
        tail = self.tail
        self.tail = record
        if tail is None:
            self.head = record
            return
        tail.next = record
        record.previous = tail
        if self.ranks is not None:
            self.ranks.add(record)
        elif record.score < tail.score:
            self.ranks = Ranks(self.head)

    def prepend(self, records: list[Record]) -> None:
        """Put records back at the front, in their order."""
        in_order = True
        for record in reversed(records):
            head = self.head
            record.next = head
            self.head = record
            if head is None:
                self.tail = record
            else:
                head.previous = record
                in_order = in_order and record.score <= head.score
            if self.ranks is not None:
                self.ranks.add(record)
        if self.ranks is None and not in_order:
            self.ranks = Ranks(self.head)

    def take(self, most: int, budget: float) -> list[Record]:
        """Take at most ``most`` records from the front, as many as have bodies of ``budget`` bytes together."""
        taken: list[Record] = []
        record = self.head
        while record is not None and len(taken) < most:
            budget -= len(record.body or b"")
            if budget < 0:
                break
            taken.append(record)
            record = record.next
        for left in taken:
            left.previous = left.next = None
        self._cut_to(record, len(taken))
        return taken

    def remove(self, record: Record) -> None:
        """Take a record out of the middle."""
        if record.next is None:
            self.tail = record.previous
        else:
            record.next.previous = record.previous
        if record.previous is None:
            self._cut_to(record.next, 1)
        else:
            record.previous.next = record.next
            if self.ranks is not None:
                self.ranks.count -= 1
        record.previous = record.next = None

    def _cut_to(self, head: Record | None, count: int) -> None:
        self.head = head
        if head is None:
            self.tail = self.ranks = None
            return
        head.previous = None
        if self.ranks is not None:
            self.ranks.count -= count

    def most_urgent(self) -> Record | None:
        """The record with the lowest rank."""
        return self.head if self.ranks is None else self.ranks.first()
