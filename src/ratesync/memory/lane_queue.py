"""The queue of one lane: its mailboxes by rank, and what it will wake up for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from ratesync.memory import moves
from ratesync.memory.mailbox import MOST_GARBAGE, Fresh, Mailbox, Rank, Record
from ratesync.memory.moves import Moves
from ratesync.model.lane import Lane
from ratesync.model.operation import OperationState

MOST_DUE = 1000
"""Timers that one call carries out. What is left is done by the next one, so that no call takes long."""

NONE_YET = dict.fromkeys(OperationState, 0)
"""The counts of a lane without operations."""


class LaneQueue:
    """The pending operations of a lane. It exists while it has operations, dead letters included.

    Ready mailboxes are found by their ranks, in two containers: ``_run`` holds those that came in order, which is what
    most do, and costs the same at any length; ``_heap`` holds the others. Both may have outdated ranks: one is valid
    while its number is that of its mailbox's lead.
    """

    __slots__ = (
        "_heap",
        "_numbers",
        "_records",
        "_run",
        "_timers",
        "counts",
        "held",
        "is_listed",
        "is_paused",
        "lane",
        "mailboxes",
        "number",
        "parked_until",
        "pending",
        "ready",
        "virtual_time",
        "wake_at",
        "weight",
    )

    def __init__(self, lane: Lane, numbers: Iterator[int], records: dict[str, Fresh | Record]) -> None:
        self.lane = lane
        self.number = next(numbers)
        """Unlike the lane, no other queue had it before."""
        self.mailboxes: dict[str, Fresh | Mailbox] = {}
        self.counts = NONE_YET.copy()
        """Operations by state. Of the completed and cancelled ones: how many there were."""
        self.pending = 0
        """Operations that are not finished."""
        self.ready = 0
        """Mailboxes that are ready."""
        self.held = 0
        """Mailboxes that are leased."""
        self.weight = 1.0
        self.virtual_time = 0.0
        self.parked_until = 0.0
        self.is_paused = False
        self.is_listed = False
        """Whether the turns of the provider have an entry of this lane."""
        self.wake_at: float | None = None
        """The instant for which the turns have an entry to wake this lane."""
        self._numbers = numbers
        self._records = records
        self._run: deque[Rank] = deque()
        self._heap: list[Rank] = []
        self._timers: list[tuple[float, int, Record | Mailbox]] = []

    def is_open(self, now: float) -> bool:
        """Whether a mailbox may be claimed now."""
        return self.ready > 0 and not self.is_paused and self.parked_until <= now

    @property
    def has_timers(self) -> bool:
        """Whether there may be something to wake up for."""
        return bool(self._timers)

    def move(self, record: Record, moves: Moves) -> None:
        """Change the state of a record: the one place where that happens."""
        before = record.state
        after = moves[before]
        counts = self.counts
        counts[before] -= 1
        counts[after] += 1
        record.state = after

    def add(self, fresh: Fresh) -> None:
        """Put an operation that just came in at the end of its mailbox."""
        self.counts[moves.ENQUEUED] += 1
        self.pending += 1
        if fresh[3] in self.mailboxes:
            record = self._records[fresh[2]] = Record(fresh, self.lane, moves.ENQUEUED)
            self.enter(record)
        else:
            self.mailboxes[fresh[3]] = fresh
            self.offer_rank(fresh)

    def thaw(self, fresh: Fresh) -> Record:
        """Make a record and a mailbox of what stood for both. Its rank stays valid."""
        record = self._records[fresh[2]] = Record(fresh, self.lane, moves.ENQUEUED)
        mailbox = self.mailboxes[record.key] = Mailbox()
        mailbox.append(record)
        mailbox.lead = record
        return record

    def take_fresh(self, fresh: Fresh, mailbox: Mailbox) -> Record:
        """Make a record of what stood for it and for its mailbox, which is empty then."""
        record = self._records[fresh[2]] = Record(fresh, self.lane, moves.ENQUEUED)
        record.mailbox = self.mailboxes[record.key] = mailbox
        return record

    def enter(self, record: Record) -> None:
        """Put a record at the end of its mailbox."""
        record.number = next(self._numbers)
        box = self.mailboxes.get(record.key)
        if isinstance(box, tuple):
            box = self.thaw(box).mailbox
        if box is None:
            box = self.mailboxes[record.key] = Mailbox()
        box.append(record)
        self.offer(box)

    def schedule(self, fresh: Fresh, at: float) -> Record:
        """Let an operation enter its mailbox at the instant ``at``."""
        record = self._records[fresh[2]] = Record(fresh, self.lane, moves.SCHEDULED)
        record.at = at
        self.counts[record.state] += 1
        self.pending += 1
        self._set_timer(at, record)
        return record

    def rest(self, mailbox: Mailbox, until: float) -> None:
        """Let a mailbox wait until an instant."""
        mailbox.resume_at = until
        self._set_timer(until, mailbox)

    def offer(self, mailbox: Mailbox) -> None:
        """Make a mailbox ready if it can be, under the rank of its most urgent record."""
        if mailbox.hold is not None or mailbox.resume_at is not None:
            return
        lead = mailbox.most_urgent()
        former = mailbox.lead
        if lead is None or lead is former:
            return
        mailbox.lead = lead
        if former is not None:
            self.ready -= 1
        self.offer_rank((lead.score, lead.number, lead.id, lead.key))
        self._sweep()

    def offer_rank(self, rank: Rank) -> None:
        """Make ready the mailbox to which the rank belongs."""
        self.ready += 1
        run = self._run
        if run and rank < run[-1]:
            heappush(self._heap, rank)
        else:
            run.append(rank)

    def next_mailbox(self) -> Fresh | Mailbox | None:
        """Take the ready mailbox of the lowest rank. It is no longer ready."""
        run, heap = self._run, self._heap
        while run or heap:
            rank = heappop(heap) if heap and (not run or heap[0] < run[0]) else run.popleft()
            box = self.mailboxes.get(rank[3])
            if box is rank or self._leads(rank, box):
                if isinstance(box, Mailbox):
                    box.lead = None
                self.ready -= 1
                return box
        return None

    @staticmethod
    def _leads(rank: Rank, box: Fresh | Mailbox | None) -> bool:
        return isinstance(box, Mailbox) and box.lead is not None and box.lead.number == rank[1]

    def withdraw(self, record: Record, mailbox: Mailbox) -> None:
        """Take a waiting record out of its mailbox."""
        mailbox.remove(record)
        if mailbox.head is None:
            if mailbox.lead is not None:
                mailbox.lead = None
                self.ready -= 1
            self.drop_if_empty(mailbox, record.key)
        elif mailbox.lead is record:
            self.offer(mailbox)
        self._sweep()

    def drop_if_empty(self, mailbox: Mailbox, key: str) -> None:
        """Forget a mailbox that has no records and is not held."""
        if mailbox.head is None and mailbox.hold is None:
            mailbox.resume_at = None
            del self.mailboxes[key]

    def advance(self, now: float, most: int = MOST_DUE) -> int:
        """Carry out at most ``most`` of the timers that are due; how many there were."""
        timers = self._timers
        done = 0
        while done < most and timers and timers[0][0] <= now:
            done += 1
            at, _, due = heappop(timers)
            if isinstance(due, Record):
                if due.state is OperationState.SCHEDULED:
                    due.at = None
                    self.move(due, moves.DUE)
                    self.enter(due)
            elif due.resume_at == at:
                due.resume_at = None
                self.offer(due)
        return done

    def is_behind(self, now: float) -> bool:
        """Whether timers are due that were not carried out yet."""
        return bool(self._timers) and self._timers[0][0] <= now

    def next_timer(self) -> float | None:
        """The instant of the next timer."""
        while self._timers and not _is_set(self._timers[0]):
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _set_timer(self, at: float, due: Record | Mailbox) -> None:
        heappush(self._timers, (at, next(self._numbers), due))
        if len(self._timers) > 2 * (self.counts[OperationState.SCHEDULED] + len(self.mailboxes)) + MOST_GARBAGE:
            self._timers = [timer for timer in self._timers if _is_set(timer)]
            heapify(self._timers)

    def _sweep(self) -> None:
        """Throw outdated ranks away once they are too many."""
        if len(self._run) + len(self._heap) <= 2 * self.ready + MOST_GARBAGE:
            return
        ranks = {rank[1]: rank for rank in (*self._run, *self._heap)}
        boxes = [(rank, self.mailboxes.get(rank[3])) for rank in ranks.values()]
        self._run = deque(sorted(rank for rank, box in boxes if box is rank or self._leads(rank, box)))
        self._heap = []


def _is_set(timer: tuple[float, int, Record | Mailbox]) -> bool:
    at, _, due = timer
    return due.state is OperationState.SCHEDULED if isinstance(due, Record) else due.resume_at == at
