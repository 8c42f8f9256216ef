"""What a worker gets: mailboxes of the lanes that have had least for their weight."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from ratesync.model.work import Claim, ClaimRequest, Lease, LeasedItem
from ratesync.rules import fairness
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.lane import LaneRow
from ratesync.sqlite.settlement import lapse, sign, worker_number

TAKE = "UPDATE item SET state = 2, at = NULL, worker = ?, token = ? WHERE number = ?"
ROWS = (
    "SELECT number, id, body, attempts, sent_as, lapses, enqueued_at, state FROM item "
    "WHERE lane = ? AND key = ? AND is_boxed ORDER BY number LIMIT ?"
)


def claim(book: Book, request: ClaimRequest) -> Claim:
    """Lease what is due."""
    lapse(book)
    boxes.advance_all(book)
    sign(book, request.worker)
    claiming = _Claiming(book, request)
    batches = claiming.batches()
    next_at = min(claiming.instants(), default=inf)
    return Claim(batches, None if next_at == inf else next_at, book.bell + book.is_news)


class _Claiming:
    """One claim while it is being filled. The first operation may be larger than the bytes allow."""

    def __init__(self, book: Book, request: ClaimRequest) -> None:
        self._book = book
        self._request = request
        self._budget = book.limits.claim_bytes
        self._worker: int | None = None
        self._batches: list[tuple[Lease, ...]] = []
        self._is_full = False
        self._providers = [provider for provider, size in request.sizes.items() if size > 0]
        for provider in self._providers:
            self._open_woken(provider)
            bound = request.lane_max.get(provider)
            if bound is not None:
                book.db.execute(
                    "UPDATE provider SET held_least = ?1 WHERE name = ?2 AND ifnull(held_least, ?1 + 1) > ?1",
                    (bound, provider),
                )

    def _open_woken(self, provider: str) -> None:
        book = self._book
        rows = book.db.execute(
            "SELECT number FROM lane WHERE provider = ? AND wake_at <= ?", (provider, book.now)
        ).fetchall()
        for (number,) in rows:
            book.lane(number)
        book.write_lanes()

    def batches(self) -> tuple[tuple[Lease, ...], ...]:
        """Lease batches until there are enough, or no more."""
        while len(self._batches) < self._request.calls and not self._is_full:
            lane = self._next_turn()
            if lane is None:
                break
            room = self._bound(lane.provider) - lane.held
            leases, amount = self._take(lane, int(min(self._request.sizes[lane.provider], room)))
            lane.virtual_time = fairness.charge(lane.virtual_time, amount, lane.weight)
            self._book.write_lanes()
            self._book.db.execute(
                "UPDATE provider SET latest = max(latest, ?) WHERE name = ?", (lane.virtual_time, lane.provider)
            )
            if leases:
                self._batches.append(tuple(leases))
        self._settle_debts()
        return tuple(self._batches)

    def _bound(self, provider: str) -> float:
        return self._request.lane_max.get(provider, inf)

    def _head(self, provider: str) -> tuple[int, float] | None:
        head: tuple[int, float] | None = self._book.db.execute(
            "SELECT number, virtual_time FROM lane WHERE provider = ? AND is_open AND held < ? "
            "ORDER BY virtual_time, number LIMIT 1",
            (provider, self._bound(provider)),
        ).fetchone()
        return head

    def _next_turn(self) -> LaneRow | None:
        """Begin the turn of the open lane that has had least for its weight."""
        book = self._book
        first: tuple[float, int, str, float] | None = None
        for provider in self._providers:
            head = self._head(provider)
            if head is None:
                continue
            current, ahead = book.db.execute(
                "SELECT current, ahead FROM provider WHERE name = ?", (provider,)
            ).fetchone()
            own = fairness.join(head[1], current)
            if own + ahead < book.virtual_time:
                ahead = book.virtual_time - own
                book.db.execute("UPDATE provider SET ahead = ? WHERE name = ?", (ahead, provider))
            if first is None or own + ahead < first[0]:
                first = own + ahead, head[0], provider, own
        if first is None:
            return None
        book.virtual_time, number, provider, own = first
        book.db.execute("UPDATE provider SET current = ? WHERE name = ?", (own, provider))
        lane = book.lane(number)
        lane.virtual_time = own
        return lane

    def _settle_debts(self) -> None:
        """Where no lane is open any more, none owes the others anything."""
        for provider in self._providers:
            self._book.db.execute(
                "UPDATE provider SET current = latest WHERE name = ?1 AND current < latest "
                "AND NOT EXISTS (SELECT 1 FROM lane WHERE provider = ?1 AND is_open)",
                (provider,),
            )

    def _take(self, lane: LaneRow, most: int) -> tuple[list[Lease], int]:
        """Take a batch of at most ``most`` mailboxes, and how many operations that is."""
        db = self._book.db
        leads = db.execute(
            "SELECT number, key FROM item WHERE lane = ? AND lead IS NOT NULL ORDER BY lead, number LIMIT ?",
            (lane.number, most),
        ).fetchall()
        leases: list[Lease] = []
        taken: list[tuple[int, int, int]] = []
        led: list[tuple[int]] = []
        for number, key in leads:
            lease = self._lease(lane, key, taken, is_first=not leases and not self._batches)
            if lease is None:
                self._is_full = True
                break
            leases.append(lease)
            led.append((number,))
        db.executemany("UPDATE item SET lead = NULL WHERE number = ?", led)
        db.executemany(TAKE, taken)
        lane.ready -= len(led)
        lane.held += len(led)
        if led:
            db.execute(
                "INSERT INTO holding VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (self._worker, lane.provider, len(led)),
            )
        return leases, len(taken)

    def _lease(self, lane: LaneRow, key: str, taken: list[tuple[int, int, int]], *, is_first: bool) -> Lease | None:
        book = self._book
        items: list[LeasedItem] = []
        worker = self._worker_number()
        token = book.token + 1
        rows = book.db.execute(ROWS, (lane.number, key, book.limits.mailbox_max))
        for number, name, body, attempts, sent_as, lapses, enqueued_at, state in rows:
            if len(body) > self._budget and (items or not is_first):
                break
            self._budget -= len(body)
            taken.append((worker, token, number))
            lane.count(state, -1)
            items.append(LeasedItem(name, body, attempts, sent_as, lapses, enqueued_at))
        if not items:
            return None
        book.token = token
        lane.leased += len(items)
        return Lease(lane.lane, key, token, tuple(items))

    def _worker_number(self) -> int:
        if self._worker is None:
            book = self._book
            self._worker = worker_number(book, self._request.worker)
            if self._worker is None:
                self._worker = book.next_number()
                book.db.execute("INSERT INTO worker VALUES (?, ?, ?)", (self._worker, self._request.worker, book.now))
        return self._worker

    def instants(self) -> Iterator[float]:
        """Now if there is more to claim at once; else when the next lane wakes up, or a lease of others ends."""
        db, now = self._book.db, self._book.now
        self._book.write_lanes()
        for provider in self._request.sizes:
            if self._head(provider) is not None:
                yield now
            else:
                (wake_at,) = db.execute(
                    "SELECT min(wake_at) FROM lane WHERE provider = ? AND wake_at IS NOT NULL", (provider,)
                ).fetchone()
                if wake_at is not None:
                    yield max(wake_at, now)
            (alive_at,) = db.execute(
                "SELECT min(alive_at) FROM holding JOIN worker ON worker.number = holding.worker "
                "WHERE provider = ? AND name <> ?",
                (provider, self._request.worker),
            ).fetchone()
            if alive_at is not None:
                yield alive_at + self._book.limits.lease_seconds
