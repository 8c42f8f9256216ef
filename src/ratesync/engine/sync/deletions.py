"""Deletes that were put off to the end of a pass: all of them together must be believable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.pull import Pulled
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.model.difference import Side
from ratesync.model.run import SyncRun
from ratesync.rules.delete_guard import reason_to_hold

_COUNTED_AT_ONCE = 1000


@frozen
class Deletions:
    """Carries out the deletes that wait, or holds them."""

    reconciler: Reconciler
    note: Callable[[Sequence[Case]], None]

    async def carry_out(self, run: SyncRun, pulled: Mapping[Side, Pulled]) -> None:
        """Decide about all deletes that wait, from this pass and earlier ones."""
        books = self.reconciler.books
        waiting = await self._waiting()
        if not waiting:
            return
        (approval,) = await books.state.load([books.keys.approval])
        reason = None if approval is not None else await self._reason(waiting, pulled)
        if reason is not None:
            run.held, run.hold_reason = len(waiting), reason
            return
        for start in range(0, len(waiting), self.reconciler.settings.chunk):
            cases = {link_id: Case([]) for link_id in waiting[start : start + self.reconciler.settings.chunk]}
            await books.refresh(cases)
            await self.reconciler.run(list(cases.values()), may_delete=True)
            self.note(list(cases.values()))

    async def _waiting(self) -> list[str]:
        """The links whose deletes wait, by id."""
        books = self.reconciler.books
        found: list[str] = []
        after = None
        while True:
            page = await books.state.scan(books.keys.all_held, after=after, limit=_COUNTED_AT_ONCE)
            found += [stored.key[len(books.keys.all_held) :] for stored in page]
            if len(page) < _COUNTED_AT_ONCE:
                return found
            after = page[-1].key

    async def _reason(self, waiting: Sequence[str], pulled: Mapping[Side, Pulled]) -> str | None:
        books, guard = self.reconciler.books, self.reconciler.pair.guard
        for start in range(0, len(waiting), _COUNTED_AT_ONCE):
            links = await books.links(waiting[start : start + _COUNTED_AT_ONCE])
            own = next((link.hold_reason for link, _ in links.values() if link.hold_reason), None)
            if own is not None:
                return own
        links_in_all = await self._count_links() if len(waiting) > guard.ratio_applies_above else len(waiting)
        for side in Side:
            listed = pulled[side].listed if side in pulled else None
            reason = reason_to_hold(guard, deletes=len(waiting), links=links_in_all, listed=listed)
            if reason is not None:
                return reason
        return None

    async def _count_links(self) -> int:
        books = self.reconciler.books
        count, after = 0, None
        while True:
            page = await books.state.scan(books.keys.links, after=after, limit=_COUNTED_AT_ONCE)
            count += len(page)
            if len(page) < _COUNTED_AT_ONCE:
                return count
            after = page[-1].key
