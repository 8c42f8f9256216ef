"""Deletes that were put off to the end of a pass: all of them together must be believable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from attrs import frozen

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.pull import Pulled
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.errors import StateConflict
from ratesync.model.difference import Side
from ratesync.model.run import SyncRun
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import reason_to_hold

_READ_AT_ONCE = 1000
APPROVED = b'{"v":1,"approved":true}'


@frozen
class Deletions:
    """Carries out the deletes that wait, or holds them."""

    reconciler: Reconciler
    note: Callable[[Sequence[Case]], None]

    async def carry_out(self, run: SyncRun, pulled: Mapping[Side, Pulled]) -> None:
        """Decide about all deletes that wait, from this pass and earlier ones.

        Those that nobody approved are carried out only by a pass that read both sides: without, nobody knows how much a
        side lists.
        """
        waiting, approved = await self._waiting()
        await self._delete(approved)
        if not waiting or any(side not in pulled for side in Side):
            return
        reason = await self._reason(waiting, pulled)
        if reason is not None:
            run.held, run.hold_reason = len(waiting), reason
            return
        await self._delete(waiting)

    async def _delete(self, link_ids: Sequence[str]) -> None:
        """Look at each once more, and delete what is still to be deleted."""
        chunk = self.reconciler.settings.chunk
        for start in range(0, len(link_ids), chunk):
            cases = {link_id: Case([]) for link_id in link_ids[start : start + chunk]}
            await self.reconciler.books.refresh(cases)
            await self.reconciler.run(list(cases.values()), may_delete=True)
            self.note(list(cases.values()))

    async def _waiting(self) -> tuple[list[str], list[str]]:
        """The links whose deletes wait, by id: those that nobody approved, and those that somebody did."""
        keys = self.reconciler.books.keys
        found: tuple[list[str], list[str]] = [], []
        async for stored in self.reconciler.books.all(keys.all_held):
            found[stored.value == APPROVED].append(stored.key[len(keys.all_held) :])
        return found

    async def approve(self) -> int:
        """Approve the deletes that wait now, so that the next pass carries them out; how many there are."""
        books, count = self.reconciler.books, 0
        async for stored in books.all(books.keys.all_held):
            if stored.value != APPROVED:
                with suppress(StateConflict):  # it was carried out, or need not be any more
                    await books.state.commit([Write(stored.key, APPROVED, stored.revision)])
                    count += 1
        return count

    async def _reason(self, waiting: Sequence[str], pulled: Mapping[Side, Pulled]) -> str | None:
        books, guard = self.reconciler.books, self.reconciler.pair.guard
        for start in range(0, len(waiting), _READ_AT_ONCE):
            links = await books.links(waiting[start : start + _READ_AT_ONCE])
            own = next((link.hold_reason for link, _ in links.values() if link.hold_reason), None)
            if own is not None:
                return own
        links_in_all = await self._count_links() if len(waiting) > guard.ratio_applies_above else len(waiting)
        for side in Side:
            reason = reason_to_hold(guard, deletes=len(waiting), links=links_in_all, listed=pulled[side].listed)
            if reason is not None:
                return reason
        return None

    async def _count_links(self) -> int:
        books, count = self.reconciler.books, 0
        async for _ in books.all(books.keys.links):
            count += 1
        return count
