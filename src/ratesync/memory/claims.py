"""One claim while it is being filled."""

from __future__ import annotations

from collections.abc import Iterator

from ratesync.memory import moves
from ratesync.memory.lane_queue import LaneQueue
from ratesync.memory.mailbox import Fresh, Hold, Mailbox
from ratesync.model.work import Lease, LeasedItem


class Filling:
    """Takes mailboxes out of lanes until the bytes are used up. The first item may be larger than that."""

    def __init__(self, *, tokens: Iterator[int], mailbox_max: int, budget: int) -> None:
        self.batches: list[tuple[Lease, ...]] = []
        self.is_full = False
        """Whether the bytes are used up."""
        self._tokens = tokens
        self._mailbox_max = mailbox_max
        self._budget = budget

    def take(self, queue: LaneQueue, most: float) -> tuple[list[Hold], int]:
        """Take a batch of at most ``most`` mailboxes; what is held now, and how many operations that is."""
        leases: list[Lease] = []
        holds: list[Hold] = []
        amount = 0
        while len(leases) < most and (box := queue.next_mailbox()) is not None:
            is_first = not leases and not self.batches
            if isinstance(box, tuple):
                hold = self._hold_fresh(queue, box, is_first=is_first)
            else:
                hold = self._hold(queue, box, is_first=is_first)
            if hold is None:
                self.is_full = True
                break
            holds.append(hold)
            leases.append(self._lease(queue, hold))
            amount += len(hold.records)
        if leases:
            self.batches.append(tuple(leases))
        return holds, amount

    def _hold_fresh(self, queue: LaneQueue, fresh: Fresh, *, is_first: bool) -> Hold | None:
        if len(fresh[4]) > self._budget and not is_first:
            queue.offer_rank(fresh)
            return None
        mailbox = Mailbox()
        return Hold(next(self._tokens), mailbox, [queue.take_fresh(fresh, mailbox)])

    def _hold(self, queue: LaneQueue, mailbox: Mailbox, *, is_first: bool) -> Hold | None:
        records = mailbox.take(self._mailbox_max, self._budget)
        if not records and is_first:
            records = mailbox.take(1, float("inf"))
        if not records:
            queue.offer(mailbox)
            return None
        return Hold(next(self._tokens), mailbox, records)

    def _lease(self, queue: LaneQueue, hold: Hold) -> Lease:
        items: list[LeasedItem] = []
        for record in hold.records:
            body = record.body or b""
            self._budget -= len(body)
            queue.move(record, moves.CLAIM)
            record.at = None
            items.append(
                LeasedItem(record.id, body, record.attempts, record.sent_as, record.lapses, record.enqueued_at)
            )
        return Lease(queue.lane, hold.records[0].key, hold.token, tuple(items))
