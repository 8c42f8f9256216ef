"""What a worker gets: mailboxes of the lanes that have had least for their weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import inf
from operator import itemgetter

from ratesync.model.work import Claim, ClaimRequest, Lease, LeasedItem
from ratesync.rules import fairness
from ratesync.sqlite import boxes
from ratesync.sqlite.book import Book
from ratesync.sqlite.errors import Contradiction
from ratesync.sqlite.lane import LaneRow
from ratesync.sqlite.provider import ProviderRow
from ratesync.sqlite.settlement import lapse, sign, worker_number

TAKE = "UPDATE item SET state = 2, at = NULL, lead = NULL, worker = ?, token = ? WHERE number = ?"
# The most urgent mailboxes of a lane, and of each the first operations.
ROWS = (
    "SELECT led.number, item.number, item.key, id, body, attempts, sent_as, lapses, enqueued_at, state FROM "
    "(SELECT number, key FROM item WHERE lane = ?1 AND lead IS NOT NULL ORDER BY lead, number LIMIT ?2) AS led "
    "CROSS JOIN item WHERE item.number IN (SELECT own.number FROM item AS own "
    "WHERE own.lane = ?1 AND own.key = led.key AND own.is_boxed ORDER BY own.number LIMIT ?3)"
)


def claim(book: Book, request: ClaimRequest) -> Claim:
    """Lease what is due."""
    lapse(book)
    boxes.advance_all(book)
    sign(book, request.worker)
    book.write()
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
            row = book.provider(provider)
            if row is not None:
                row.held_least = min(row.held_least, self._bound(provider))

    def _open_woken(self, provider: str) -> None:
        book = self._book
        rows = book.db.execute(
            "SELECT number FROM lane WHERE provider = ? AND wake_at <= ?", (provider, book.now)
        ).fetchall()
        for (number,) in rows:
            book.write_lane(book.lane(number))

    def batches(self) -> tuple[tuple[Lease, ...], ...]:
        """Lease batches until there are enough, or no more."""
        while len(self._batches) < self._request.calls and not self._is_full:
            lane = self._next_turn()
            if lane is None:
                break
            room = self._bound(lane.provider) - lane.held
            leases, amount = self._take(lane, int(min(self._request.sizes[lane.provider], room)))
            lane.virtual_time = fairness.charge(lane.virtual_time, amount, lane.weight)
            self._book.write_lane(lane)
            provider = self._book.provider(lane.provider)
            if provider is not None:
                provider.latest = max(provider.latest, lane.virtual_time)
            if leases:
                self._batches.append(tuple(leases))
            elif not self._is_full:
                raise Contradiction(f"no mailbox is ready in {lane.lane}, which counts {lane.ready}")
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
        first: tuple[float, int, ProviderRow, float] | None = None
        for name in self._providers:
            head = self._head(name)
            provider = None if head is None else book.provider(name)
            if head is None or provider is None:
                continue
            own = fairness.join(head[1], provider.current)
            provider.ahead = max(provider.ahead, book.virtual_time - own)
            if first is None or own + provider.ahead < first[0]:
                first = own + provider.ahead, head[0], provider, own
        if first is None:
            return None
        book.virtual_time, number, provider, own = first
        provider.current = own
        lane = book.lane(number)
        lane.virtual_time = own
        return lane

    def _settle_debts(self) -> None:
        """Where no lane is open any more, none owes the others anything."""
        for name in self._providers:
            provider = self._book.provider(name)
            if provider is not None and provider.current < provider.latest and not self._is_any_open(name):
                provider.current = provider.latest

    def _is_any_open(self, provider: str) -> bool:
        found = self._book.db.execute("SELECT 1 FROM lane WHERE provider = ? AND is_open LIMIT 1", (provider,))
        return found.fetchone() is not None

    def _take(self, lane: LaneRow, most: int) -> tuple[list[Lease], int]:
        """Take a batch of at most ``most`` mailboxes, and how many operations that is."""
        book = self._book
        taken: list[tuple[int, int, int]] = []
        led: list[int] = []
        leases: list[Lease] = []
        rows = book.db.execute(ROWS, (lane.number, most, book.limits.mailbox_max))
        for key, own in groupby(rows, itemgetter(2)):
            items: list[LeasedItem] = []
            for lead, number, _, name, body, attempts, sent_as, lapses, enqueued_at, state in own:
                self._budget -= len(body)
                if self._budget < 0 and (items or leases or self._batches):
                    self._is_full = True
                    break
                if not items:
                    book.token += 1
                    led.append(lead)
                taken.append((self._worker_number(), book.token, number))
                lane.count(state, -1)
                items.append(LeasedItem(name, body, attempts, sent_as, lapses, enqueued_at))
            if items:
                leases.append(Lease(lane.lane, key, book.token, tuple(items)))
            if self._is_full:
                break
        rows.close()
        self._note(lane, led, taken)
        return leases, len(taken)

    def _note(self, lane: LaneRow, led: Sequence[int], taken: Sequence[tuple[int, int, int]]) -> None:
        """Store who has taken what; ``led`` are the operations that led the mailboxes."""
        if not led:
            return
        db = self._book.db
        db.executemany(TAKE, taken)
        numbers = {number for _, _, number in taken}
        left = [(number,) for number in led if number not in numbers]
        db.executemany("UPDATE item SET lead = NULL WHERE number = ?", left)
        lane.ready -= len(led)
        lane.held += len(led)
        lane.leased += len(taken)
        db.execute(
            "INSERT INTO holding VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (self._worker_number(), lane.provider, len(led)),
        )

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
