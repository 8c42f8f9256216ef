"""Records without a link that the policy leaves alone, where each pass lists them anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.link_codec import digest_of_view, from_bytes, to_bytes
from ratesync.engine.sync.side import SyncSide
from ratesync.model.change import Change
from ratesync.model.difference import View
from ratesync.model.stored import Stored, Write
from ratesync.rules.situations import Response


@frozen
class Ignored:
    """Notes what such a record held, so that nobody looks at it until it changes.

    Where a feed tells of a change once only, nothing is noted. A record that is linked later keeps its note as long as
    it is listed: news of it are asked of its link.
    """

    side: SyncSide
    books: Books

    def note(self, case: Case) -> Sequence[Write]:
        """What notes that a case without a link was left alone, or that its record is gone."""
        if not case.marks or case.unlinked is None or not self.side.deletes_by_listing:
            return ()
        side, record_id = case.unlinked
        if side is not self.side.side or (case.held and case.response is not Response.IGNORE):
            return ()
        held = case.held.get(side)
        noted = None if held is None else to_bytes({"of": held.version, "as": digest_of_view(held.view)})
        return [Write(self.books.keys.ignored(side, record_id), noted)]

    async def unchanged(self, changes: Sequence[Change], view: Callable[[Change], View | None]) -> set[str]:
        """Those of the records that are just as they were when they were left alone."""
        if not changes or not self.side.deletes_by_listing:
            return set()
        record_ids = list(dict.fromkeys(change.record_id for change in changes))
        keys = [self.books.keys.ignored(self.side.side, record_id) for record_id in record_ids]
        found = zip(record_ids, await self.books.state.load(keys), strict=True)
        notes = {record_id: from_bytes(stored.value) for record_id, stored in found if stored is not None}
        news = {change.record_id for change in changes if not _is_as_noted(change, view, notes)}
        return set(record_ids) - news

    async def forget(self, lacking: Callable[[Sequence[str]], Iterable[str]], limit: int) -> None:
        """Forget the records that a whole listing lacks, page by page."""
        prefix = self.books.keys.all_ignored(self.side.side)

        async def forget(page: Sequence[Stored]) -> None:
            gone = lacking([stored.key[len(prefix) :] for stored in page])
            writes = [Write(f"{prefix}{record_id}", None) for record_id in gone]
            if writes:
                await self.books.state.commit(writes)

        await self.books.for_each_page(prefix, limit, forget)


def _is_as_noted(change: Change, view: Callable[[Change], View | None], notes: Mapping[str, Mapping[str, Any]]) -> bool:
    noted = notes.get(change.record_id)
    if noted is None or change.is_deleted:
        return False
    if change.version is not None and change.version == noted["of"]:
        return True
    now = view(change)
    return now is not None and digest_of_view(now) == noted["as"]
