"""Deletes that were put off to the end of a pass: all of them together must be believable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from ratesync.model.stored import Stored, Write
from ratesync.rules.delete_guard import reason_to_hold
from ratesync.rules.references import parents_first

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
        await self._delete(approved=True)
        if any(side not in pulled for side in Side):
            return
        waiting, reason = await self._waiting()
        if not waiting:
            return
        reason = reason or await self._reason(waiting, pulled)
        if reason is None:
            await self._delete(approved=False)
        else:
            run.held, run.hold_reason = waiting, reason
            await self._for_each_part(self._note_held, approved=False)

    async def _note_held(self, link_ids: Sequence[str]) -> None:
        for link, _ in (await self.reconciler.books.links(link_ids)).values():
            self.note_held(link)

    async def _delete(self, *, approved: bool) -> None:
        """Look at each once more, and delete what is still to be deleted."""
        if self.reconciler.books.keys not in self.reconciler.pair.references.keys.values():
            await self._for_each_part(self._delete_part, approved=approved)
            return
        chunk = self.reconciler.settings.chunk
        for layer in await self._children_first(approved=approved):
            for start in range(0, len(layer), chunk):
                await self._delete_part(layer[start : start + chunk])

    async def _delete_part(self, link_ids: Sequence[str]) -> None:
        cases = {link_id: Case([]) for link_id in link_ids}
        await self.reconciler.books.refresh(cases)
        await self.reconciler.run(list(cases.values()), may_delete=True)
        self.note(list(cases.values()))

    async def _children_first(self, *, approved: bool) -> list[list[str]]:
        """The links in layers: a record goes after those of the same binding that refer to it.

        For that all of them must be known at once, by their ids.
        """
        books, references = self.reconciler.books, self.reconciler.pair.references
        parents: dict[str, list[str]] = {}
        of_record: dict[str | None, str] = {}

        async def learn(link_ids: Sequence[str]) -> None:
            for link_id, (link, _) in (await books.links(link_ids)).items():
                of_record[link.local.record_id] = link_id
                parents[link_id] = references.ids_of_own(books.keys, link.local.base or {})

        await self._for_each_part(learn, approved=approved)
        layers = parents_first(
            {link_id: [of_record[one] for one in others if one in of_record] for link_id, others in parents.items()}
        )
        return layers[::-1]

    async def _for_each_part(self, act: Callable[[Sequence[str]], Awaitable[None]], *, approved: bool) -> None:
        """Act on the links whose deletes wait, by id, a chunk at a time: the approved ones, or the others."""
        books = self.reconciler.books
        prefix = books.keys.all_held

        async def act_on_ids(page: Sequence[Stored]) -> None:
            part = [stored.key[len(prefix) :] for stored in page if (stored.value == APPROVED) is approved]
            if part:
                await act(part)

        await books.for_each_page(prefix, self.reconciler.settings.chunk, act_on_ids)

    async def _waiting(self) -> tuple[int, str | None]:
        """How many deletes wait that nobody approved, and why one of them needs approval of its own, if one does."""
        count = 0
        reason: str | None = None

        async def look(link_ids: Sequence[str]) -> None:
            nonlocal count, reason
            count += len(link_ids)
            if reason is None:
                links = await self.reconciler.books.links(link_ids)
                reason = next((link.hold_reason for link, _ in links.values() if link.hold_reason), None)

        await self._for_each_part(look, approved=False)
        return count, reason

    async def approve(self) -> int:
        """Approve the deletes that wait now, so that the next pass carries them out; how many there are."""
        books, count = self.reconciler.books, 0
        async for stored in books.all(books.keys.all_held):
            if stored.value != APPROVED:
                with suppress(StateConflict):  # it was carried out, or need not be any more
                    await books.state.commit([Write(stored.key, APPROVED, stored.revision)])
                    count += 1
        return count

    async def _reason(self, waiting: int, pulled: Mapping[Side, Pulled]) -> str | None:
        """Why so many deletes are not to be believed, if they are not."""
        guard = self.reconciler.pair.guard
        links_in_all = await self._count_links() if waiting > guard.ratio_applies_above else waiting
        for side in Side:
            reason = reason_to_hold(guard, deletes=waiting, links=links_in_all, listed=pulled[side].listed)
            if reason is not None:
                return reason
        return None

    async def _count_links(self) -> int:
        """How many records are kept alike, those that are to be deleted included."""
        books, count = self.reconciler.books, 0
        async for stored in books.all(books.keys.links):
            count += not decode_link(stored.value).is_over
        return count
