"""The leases of the steps of a chunk: renewed just before a call, however long the wait for its permit was."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import anyio
from attrs import define, evolve, field

from ratesync.clock import Clock
from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.saving import draft_of
from ratesync.model.intent import Creating, Intent
from ratesync.model.link import RecordLink
from ratesync.model.sync_settings import SyncSettings


@define
class Leases:
    """Keeps steps ours while they are carried out, and takes over those of others whose lease ran out."""

    books: Books
    settings: SyncSettings
    clock: Clock
    owner: str
    cases: Sequence[Case]
    _ours: set[str] = field(factory=set[str], init=False)
    """Steps that are ours, by ``op_id``."""
    _renew_at: float = field(default=0.0, init=False)
    _turn: anyio.Lock = field(factory=partial(anyio.Lock, fast_acquire=True), init=False)
    """Calls that go out together ask together."""

    async def keep(self, op_ids: Collection[str] = ()) -> Collection[str]:
        """Those of the steps that are ours for longer than a call can take. Cases that are not ours are left.

        Leases of the chunk that are half over are renewed together. As long as none is, this costs nothing.
        """
        try:
            async with self._turn:
                if (now := self.clock.now()) >= self._renew_at:
                    await self._renew(now)
        except Exception:  # noqa: BLE001  the state store is away: store what was done before, or hear of it then
            return ()
        return self._ours.intersection(op_ids)

    @property
    def _least(self) -> float:
        """Seconds that must be left: more than a call takes, so that few leases run out between two calls."""
        return max(self.settings.margin, self.settings.lease / 2)

    async def _renew(self, now: float) -> None:
        short: list[Case] = []
        for case, link, intent in self._under_way():
            if intent.owner != self.owner or intent.until - now < self._least:
                case.next = evolve(link, intent=self._renewed(case, intent, now))
                short.append(case)
        await self.books.commit(draft_of(case, self.books.keys, clear=False) for case in short)
        under_way = [intent for _, _, intent in self._under_way()]
        self._ours = {intent.op_id for intent in under_way}
        self._renew_at = min((intent.until for intent in under_way), default=now) - self._least

    def _under_way(self) -> list[tuple[Case, RecordLink, Intent]]:
        """Cases with a step, but for those whose step is over, and that only has to be stored."""
        return [
            (case, link, link.intent)
            for case in self.books.still_open(self.cases)
            if (link := case.link) is not None and link.intent is not None and (case.next is None or case.next is link)
        ]

    def _renewed(self, case: Case, intent: Intent, now: float) -> Intent:
        until, step = now + self.settings.lease, intent.step
        if isinstance(step, Creating) and case.orders:  # the call that makes the record is still to come
            step = evolve(step, over_at=until)
        return evolve(intent, owner=self.owner, until=until, step=step)
