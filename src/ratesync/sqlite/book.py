"""The queue's counters and lanes during one transaction: read once, changed in place, written at its end."""

from __future__ import annotations

import sqlite3

from attrs import frozen

from ratesync.model.lane import Lane, Selector
from ratesync.model.work import Entry
from ratesync.sqlite import provider as providers
from ratesync.sqlite.call import Transaction
from ratesync.sqlite.errors import Contradiction
from ratesync.sqlite.lane import SELECT, LaneRow
from ratesync.sqlite.provider import ProviderRow
from ratesync.sqlite.watches import Watches

TOTALS = ("number", "token", "bell", "virtual_time", "pending", "finished", "dead")


@frozen
class Limits:
    """The settings of a queue."""

    capacity: int
    dead_letter_capacity: int
    result_capacity: int
    result_seconds: float
    lease_seconds: float
    mailbox_max: int
    claim_bytes: int
    priority_step: float


class Book:
    """Counters and lanes, shared by the calls of one transaction. :meth:`close` must follow the changes."""

    number: int
    token: int
    bell: int
    virtual_time: float
    pending: int
    finished: int
    dead: int

    def __init__(self, transaction: Transaction, limits: Limits, watches: Watches) -> None:
        self.db: sqlite3.Connection = transaction.db
        self.now = transaction.now
        self.limits = limits
        self.watches = watches
        self._after = transaction.after
        self._totals = self.db.execute(
            "SELECT number, token, bell, virtual_time, pending, finished, dead FROM totals"
        ).fetchone()
        self.__dict__.update(zip(TOTALS, self._totals, strict=True))
        self._lanes: dict[int, LaneRow] = {}
        self._numbers: dict[Lane, int] = {}
        self.is_news = False
        """Whether somebody may claim something because of the call under way, now or at an instant."""
        self.is_roomier = False
        self.is_advanced = False
        """Whether the timers that were due have been carried out."""
        self.is_fresh = False
        """Whether the operations that finished too long ago have been forgotten."""
        self._providers: dict[str, ProviderRow] = {}
        self._drained: list[Lane] = []
        self.ended: list[Entry] = []
        """Operations that have finished and are waited for."""

    def next_number(self) -> int:
        """A number that was not given before."""
        self.number += 1
        return self.number

    def lane(self, number: int) -> LaneRow:
        """The lane of that number."""
        lane = self._lanes.get(number)
        if lane is None:
            row = self.db.execute(f"{SELECT} WHERE number = ?", (number,)).fetchone()
            if row is None:
                raise Contradiction(f"an operation belongs to lane number {number}, which does not exist")
            lane = self._take(row)
        return lane

    def find(self, name: Lane) -> LaneRow | None:
        """The lane, if it is known."""
        number = self._numbers.get(name)
        if number is not None:
            return self._lanes[number]
        row = self.db.execute(f"{SELECT} WHERE provider = ? AND connection = ?", tuple(name)).fetchone()
        return None if row is None else self._take(row)

    def provider(self, name: str) -> ProviderRow | None:
        """The provider, if there ever was a lane of it."""
        provider = self._providers.get(name)
        if provider is None:
            row = self.db.execute(providers.SELECT, (name,)).fetchone()
            if row is None:
                return None
            provider = self._providers[name] = ProviderRow(name, row)
        return provider

    def open(self, name: Lane) -> LaneRow:
        """The lane, made if need be."""
        lane = self.find(name)
        if lane is not None:
            return lane
        self._forget_idle(name.provider)
        is_paused = any(pause.matches(Lane(*name)) for pause in self.pauses())
        self.db.execute("INSERT OR IGNORE INTO provider VALUES (?, 0.0, 0.0, 0.0, NULL)", (name.provider,))
        row = (self.next_number(), *name, 1.0, 0.0, 0.0, int(is_paused), *[0] * 9, None, None, 0, 0, 0)
        self.db.execute(f"INSERT INTO lane VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - marks only
        return self._take(row)

    def _take(self, row: tuple[object, ...]) -> LaneRow:
        lane = LaneRow(row)
        if lane.number in self._lanes:
            return self._lanes[lane.number]
        self._lanes[lane.number] = lane
        self._numbers[lane.lane] = lane.number
        return lane

    def _forget_idle(self, provider: str) -> None:
        """Two lanes without operations that owe nothing: so lanes that come and go leave nothing behind."""
        row = self.provider(provider)
        if row is None:
            return
        self.write()
        gone = self.db.execute(
            "SELECT number FROM lane WHERE provider = ? AND is_idle AND virtual_time <= ? AND parked_until <= ? "
            "LIMIT 2",
            (provider, row.current, self.now),
        ).fetchall()
        for (number,) in gone:
            self.db.execute("DELETE FROM lane WHERE number = ?", (number,))
            lane = self._lanes.pop(number, None)
            if lane is not None:
                del self._numbers[lane.lane]

    def selected(self, selector: Selector) -> list[LaneRow]:
        """The selected lanes."""
        rows = self.db.execute(
            f"{SELECT} WHERE (?1 IS NULL OR provider = ?1) AND (?2 IS NULL OR connection = ?2)", tuple(selector)
        ).fetchall()
        return [self._take(row) for row in rows]

    def pauses(self) -> list[Selector]:
        """The pauses in force, the oldest first."""
        return [Selector(*row) for row in self.db.execute("SELECT provider, connection FROM pause ORDER BY number")]

    def is_drained(self, selector: Selector) -> bool:
        """Whether the selected lanes have nothing pending."""
        self.write()
        if selector.provider is None:
            row = self.db.execute(
                "SELECT 1 FROM lane WHERE is_busy AND (?1 IS NULL OR connection = ?1) LIMIT 1", (selector.connection,)
            ).fetchone()
        elif selector.connection is None:
            row = self.db.execute("SELECT 1 FROM lane WHERE is_busy AND provider = ? LIMIT 1", selector[:1]).fetchone()
        else:
            row = self.db.execute(
                "SELECT 1 FROM lane WHERE is_busy AND provider = ? AND connection = ?", tuple(selector)
            ).fetchone()
        return row is None

    def write(self) -> None:
        """Write what has changed in lanes and providers."""
        for lane in self._lanes.values():
            self.write_lane(lane)
        for provider in self._providers.values():
            changed = provider.changes()
            if changed is not None:
                self.db.execute(providers.UPDATE, (*changed, provider.name))

    def write_lane(self, lane: LaneRow) -> None:
        """Write what has changed in a lane."""
        if lane.has_timer_change:
            self.refresh_timer(lane)
        was_busy = lane.is_busy
        lane.plan(self.now)
        if was_busy and not lane.is_busy:
            self._drained.append(lane.lane)
        changes = lane.changes()
        if changes:
            names = ", ".join(f"{name} = ?" for name in changes)
            self.db.execute(f"UPDATE lane SET {names} WHERE number = ?", (*changes.values(), lane.number))  # noqa: S608

    def ring(self) -> None:
        """End a call: give those who wait a new marker if it has brought news."""
        self.bell += self.is_news
        self.is_news = False

    def close(self) -> None:
        """Write what has changed, and have those told who wait for it."""
        self.write()
        totals = tuple(self.__dict__[name] for name in TOTALS)
        if totals != self._totals:
            names = ", ".join(f"{name} = ?" for name in TOTALS)
            self.db.execute(f"UPDATE totals SET {names}", totals)  # noqa: S608 - constants
        self._after.append(self._tell)

    def refresh_timer(self, lane: LaneRow) -> None:
        """Look up the instant of the lane's next timer."""
        (lane.timer_at,) = self.db.execute(
            "SELECT min(at) FROM (SELECT min(at) AS at FROM item WHERE lane = ?1 AND state = 0 "
            "UNION ALL SELECT min(at) FROM rest WHERE lane = ?1)",
            (lane.number,),
        ).fetchone()
        lane.has_timer_change = False

    def _tell(self) -> None:
        self.watches.ring(self.bell)
        if self.ended:
            self.watches.finish(self.ended)
        if self._drained:
            self.watches.drain(self._drained)
        if self.is_roomier:
            self.watches.call()
