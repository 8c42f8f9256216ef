"""Reading and writing links and marks, many at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from attrs import evolve, frozen

from ratesync.engine.sync.case import Case, CaseState
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import decode_link, decode_mark, encode_link
from ratesync.engine.sync.saving import Draft, made_id
from ratesync.errors import StateConflict
from ratesync.model.difference import Side
from ratesync.model.link import LinkEnd, LinkStatus, RecordLink
from ratesync.model.mark import Mark
from ratesync.model.stored import Stored, Write
from ratesync.protocols import StateStore

_PAGE = 500


@frozen
class Books:
    """The state of one binding."""

    state: StateStore
    keys: Keys

    async def marks(self, after: str | None, limit: int) -> tuple[list[Mark], str | None]:
        """The next marks behind a key, and the key to go on from; None: there are no more."""
        found = await self.state.scan(self.keys.marks, after=after, limit=limit)
        return [self._mark(stored) for stored in found], found[-1].key if len(found) == limit else None

    async def all(self, prefix: str) -> AsyncGenerator[Stored]:
        """Everything whose key begins so, page by page."""
        after = None
        while True:
            page = await self.state.scan(prefix, after=after, limit=_PAGE)
            for stored in page:
                yield stored
            if len(page) < _PAGE:
                return
            after = page[-1].key

    async def for_each_page(
        self, prefix: str, limit: int, act: Callable[[Sequence[Stored]], Awaitable[object]]
    ) -> None:
        """Act on everything whose key begins so, a page at a time, where that may be broken off at any moment.

        A generator that is broken off is left to the garbage collector.
        """
        after, is_last = None, False
        while not is_last:
            page = await self.state.scan(prefix, after=after, limit=limit)
            is_last = len(page) < limit
            if page:
                after = page[-1].key
                await act(page)

    def _mark(self, stored: Stored) -> Mark:
        return decode_mark(stored.value, *self.keys.marked(stored.key), stored.revision)

    async def link_ids(self, records: Sequence[tuple[Side, str]]) -> list[str | None]:
        """The links that records belong to, in order."""
        if not records:
            return []
        found = await self.state.load([self.keys.index(side, record_id) for side, record_id in records])
        return [None if stored is None else stored.value.decode() for stored in found]

    async def links(self, link_ids: Sequence[str]) -> dict[str, tuple[RecordLink, int]]:
        """Links and their revisions, by id."""
        if not link_ids:
            return {}
        found = await self.state.load([self.keys.link(link_id) for link_id in link_ids])
        return {
            link.link_id: (link, stored.revision)
            for stored in found
            if stored is not None and (link := decode_link(stored.value))
        }

    async def open(self, marks: Sequence[Mark]) -> list[Case]:
        """A case for each link that marks are about, with all its marks, and one for each record without a link."""
        link_ids = await self.link_ids([(mark.side, mark.record_id) for mark in marks])
        cases: dict[str, Case] = {}
        unlinked: list[Case] = []
        for mark, link_id in zip(marks, link_ids, strict=True):
            if link_id is None:
                unlinked.append(Case([mark]))
            else:
                cases.setdefault(link_id, Case([])).marks.append(mark)
        await self.refresh(cases)
        return [*cases.values(), *unlinked]

    async def refresh(self, cases: dict[str, Case]) -> None:
        """Read links anew, and with them all marks of their records, by link id."""
        links = await self.links(list(cases))
        for link_id, case in cases.items():
            link, case.revision = links.get(link_id, (None, 0))
            case.link = link
            if link is None:  # it was dropped just now
                case.leave("its link is gone")
        wanted = {
            self.keys.mark(side, record_id): case
            for case in cases.values()
            if case.link is not None
            for side in Side
            if (record_id := case.link.end(side).record_id) is not None
        }
        known = {self.keys.mark(mark.side, mark.record_id) for case in cases.values() for mark in case.marks}
        missing = [key for key in wanted if key not in known]
        for key, stored in zip(missing, await self.state.load(missing) if missing else (), strict=True):
            if stored is not None:
                wanted[key].marks.append(self._mark(stored))

    async def commit(self, drafts: Iterable[Draft]) -> None:
        """Make the writes of each draft, together where that is possible.

        A case whose link, or whose record, was changed by somebody else since it was read is left. A mark that is newer
        stays.
        """
        pending = _apart(draft for draft in drafts if draft.writes or draft.clears)
        while pending:
            writes = [write for draft in pending for write in (*draft.writes, *draft.clears)]
            try:
                revisions = await self.state.commit(writes)
            except StateConflict as conflict:
                if not await self._free(pending, conflict.key):
                    pending = self._without(pending, conflict.key)
            else:
                self._note(pending, writes, revisions)
                return

    async def _free(self, drafts: Iterable[Draft], key: str) -> bool:
        """Let go of the id of a record that is gone, if a side has given it to one that was made; whether that was it.

        The link that still has it is kept only for late news of the old one.
        """
        if not key.startswith(self.keys.indexes):
            return False
        side, record_id = self.keys.indexed(key)
        is_made = any(made_id(draft.case, side) == record_id for draft in drafts)
        (stored,) = await self.state.load([key]) if is_made else (None,)
        if stored is None:
            return False
        link_id = stored.value.decode()
        link, revision = (await self.links([link_id])).get(link_id, (None, 0))
        if link is None or link.status is not LinkStatus.TOMBSTONE:
            return False
        new = encode_link(link.with_end(side, LinkEnd()))
        with suppress(StateConflict):  # somebody was faster: the next try shows what that came to
            await self.state.commit([Write(self.keys.link(link_id), new, revision), Write(key, None, stored.revision)])
        return True

    def _without(self, drafts: list[Draft], key: str) -> list[Draft]:
        kept: list[Draft] = []
        for draft in drafts:
            if key not in draft.keys:
                kept.append(draft)
                continue
            draft.clears = [new for write in draft.clears if (new := write if write.key != key else _anew(write))]
            if any(write.key == key for write in draft.writes):
                draft.case.leave("somebody else works on it")
            elif draft.writes or draft.clears:
                kept.append(draft)
        return kept

    def _note(self, drafts: list[Draft], writes: list[Write], revisions: Sequence[int]) -> None:
        by_key = {write.key: revision for write, revision in zip(writes, revisions, strict=True)}
        for draft in drafts:
            case = draft.case
            if draft.writes and case.next is not None:
                case.link = case.next
                case.revision = by_key[self.keys.link(case.next.link_id)]
            case.marks = [
                evolve(mark, revision=by_key.get(self.keys.mark(mark.side, mark.record_id)) or mark.revision)
                for mark in case.marks
            ]
            if draft.clears:
                cleared = {write.key for write in draft.clears if write.value is None}
                case.marks = [m for m in case.marks if self.keys.mark(m.side, m.record_id) not in cleared]

    @staticmethod
    def still_open(cases: Iterable[Case]) -> list[Case]:
        """Cases that are neither done nor left."""
        return [case for case in cases if case.state is CaseState.OPEN]


def _anew(write: Write) -> Write | None:
    """A mark that was to be kept with what its record waits for: somebody may have cleared it meanwhile."""
    return evolve(write, if_revision=0) if write.value is not None and write.if_revision else None


def _apart(drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts, but for those about a record of an earlier one: its link was stored while its marks were read."""
    taken: set[str] = set()
    apart: list[Draft] = []
    for draft in drafts:
        if taken.isdisjoint(draft.keys):
            taken |= draft.keys
            apart.append(draft)
        else:
            draft.case.leave("another case is about its record")
    return apart
