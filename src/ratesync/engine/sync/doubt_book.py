"""Creates in doubt: listing them, and taking the word of somebody who has looked."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from attrs import frozen

from ratesync.engine.sync.books import Books
from ratesync.engine.sync.case import Case
from ratesync.engine.sync.endings import created, not_made
from ratesync.engine.sync.pair import Pair
from ratesync.engine.sync.saving import draft_of, mark_write
from ratesync.errors import StateConflict
from ratesync.model.create_in_doubt import CreateInDoubt
from ratesync.model.difference import Side
from ratesync.model.held import Held
from ratesync.model.intent import Creating
from ratesync.model.link import LinkStatus, RecordLink
from ratesync.model.mark import Mark


@frozen
class DoubtBook:
    """The creates in doubt of one binding."""

    pair: Pair
    books: Books

    async def doubts(self) -> AsyncGenerator[CreateInDoubt]:
        """All of them, those of the host's side first."""
        for side in Side:
            prefix = self.books.keys.creations(side)
            async for stored in self.books.all(prefix):
                for link, _ in (await self.books.links([stored.key[len(prefix) :]])).values():
                    doubt = _doubt(link)
                    if doubt is not None:
                        yield doubt

    async def settle(self, doubt: CreateInDoubt, record_id: str | None) -> bool:
        """Take it that the record was made under this id, or (None) that it was not made.

        :return: False if nothing was done: it is not in doubt any more, there is no such record, or that one is linked
            to another record.
        """
        link, revision = (await self.books.links([doubt.link_id])).get(doubt.link_id, (None, 0))
        if link is None or _doubt(link) != doubt:
            return False
        new = not_made(link, doubt.side) if record_id is None else await self._made(link, doubt.side, record_id)
        if new is None:
            return False
        draft = draft_of(Case([], link, revision, next=new), self.books.keys, clear=False)
        ids = {side: end_id for side in Side if (end_id := new.end(side).record_id) is not None}
        marks = [mark_write(Mark(side, end_id), self.books.keys) for side, end_id in ids.items()]
        try:
            await self.books.state.commit([*draft.writes, *marks])
        except StateConflict:
            return False
        return True

    async def _made(self, link: RecordLink, side: Side, record_id: str) -> RecordLink | None:
        """The link with the record that was made; None if there is none."""
        references, step = self.pair.references, _step(link)
        references.forget()
        held = (await self.pair.side(side).read([record_id])).get(record_id)
        if step is None or not isinstance(held, Held):
            return None
        await references.learn_views([step.view])
        sent = self.pair.side(side).as_stored(None, step.view)
        return created(link, step, record_id, sent, version=None, answer=None)


def _step(link: RecordLink) -> Creating | None:
    step = None if link.intent is None else link.intent.step
    return step if link.status is LinkStatus.AMBIGUOUS_CREATE and isinstance(step, Creating) else None


def _doubt(link: RecordLink) -> CreateInDoubt | None:
    step, intent = _step(link), link.intent
    if step is None or intent is None:
        return None
    source_id = link.end(step.side.other).record_id
    return CreateInDoubt(link.link_id, intent.op_id, step.side, source_id, step.view, intent.started_at)
