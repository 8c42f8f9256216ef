"""Deletes that were put off to the end of a pass: all of them together must be believable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from attrs import frozen

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.link_codec import decode_link
from ratesync.engine.sync.pull import Pulled
from ratesync.engine.sync.reconciler import Reconciler
from ratesync.errors import StateConflict
from ratesync.model.difference import Side
from ratesync.model.link import RecordLink
from ratesync.model.run import SyncRun
from ratesync.model.stored import Write
from ratesync.rules.delete_guard import reason_to_hold
from ratesync.rules.references import parents_first

_READ_AT_ONCE = 1000
APPROVED = b'{"v":1,"approved":true}'


@frozen
class Deletions:
    """Carries out the deletes that wait, or holds them."""

    reconciler: Reconciler
    note: Callable[[Sequence[Case]], None]
    """Is told of cases that came to an end."""
    note_held: Callable[[RecordLink], None] = lambda _link: None
    """Is told of each link whose delete is held."""

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
            for part in _parts(waiting):
                for link, _ in (await self.reconciler.books.links(part)).values():
                    self.note_held(link)
            return
        await self._delete(waiting)

    async def _delete(self, link_ids: Sequence[str]) -> None:
        """Look at each once more, and delete what is still to be deleted."""
        chunk = self.reconciler.settings.chunk
        for layer in await self._children_first(link_ids):
            for start in range(0, len(layer), chunk):
                cases = {link_id: Case([]) for link_id in layer[start : start + chunk]}
                await self.reconciler.books.refresh(cases)
                await self.reconciler.run(list(cases.values()), may_delete=True)
                self.note(list(cases.values()))

    async def _children_first(self, link_ids: Sequence[str]) -> list[list[str]]:
        """The links in layers: a record goes after those of the same binding that refer to it."""
        books, references = self.reconciler.books, self.reconciler.pair.references
        if books.keys not in references.keys.values():
            return [list(link_ids)]
        parents: dict[str, list[str]] = {}
        of_record: dict[str | None, str] = {}
        for part in _parts(link_ids):
            for link_id, (link, _) in (await books.links(part)).items():
                of_record[link.local.record_id] = link_id
                parents[link_id] = references.ids_of_own(books.keys, link.local.base or {})
        layers = parents_first(
            {link_id: [of_record[one] for one in others if one in of_record] for link_id, others in parents.items()}
        )
        return layers[::-1]

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
        for part in _parts(waiting):
            links = await books.links(part)
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
        """How many records are kept alike, those that are to be deleted included."""
        books, count = self.reconciler.books, 0
        async for stored in books.all(books.keys.links):
            count += not decode_link(stored.value).is_over
        return count


def _parts(link_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as are read at once."""
    return (link_ids[start : start + _READ_AT_ONCE] for start in range(0, len(link_ids), _READ_AT_ONCE))
