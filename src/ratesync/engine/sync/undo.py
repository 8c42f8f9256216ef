"""Writing a dropped value back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ratesync.engine.sync.reconciler import Reconciler
from ratesync.engine.sync.saving import mark_write
from ratesync.engine.sync.side import Change, Trouble
from ratesync.model.conflict import Loser
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side
from ratesync.model.direction import Direction
from ratesync.model.held import Held
from ratesync.model.link import RecordLink
from ratesync.model.mark import Mark
from ratesync.model.open_conflict import Dropped
from ratesync.model.outcome import Applied, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.undone import Undone, UndoResult
from ratesync.randomness import operation_id
from ratesync.rules.sameness import is_same

_TRIES = 3
_GONE = Undone(UndoResult.GONE)


@frozen
class Undo:
    """Makes an edit of a dropped value, on the side that it was dropped from, as a user of that side could.

    So there is nothing to recover: the next pass finds an edit, whoever made it, and asked again after a crash, this
    finds the value where it is to be.
    """

    reconciler: Reconciler

    async def undo(self, dropped: Dropped, loser: Loser, seen: Undone | None) -> Undone:
        """Write the value back, if the field holds what it was given instead, or else what was ``seen``."""
        if self.reconciler.pair.direction is not Direction.BOTH:
            return _refused("the binding goes one way: change the value where it comes from")
        for _ in range(_TRIES):
            answer = await self._try(dropped, loser, seen)
            if answer is not None:
                return answer
        return _refused("others keep changing the record: try again")

    async def _try(self, dropped: Dropped, loser: Loser, seen: Undone | None) -> Undone | None:
        links = await self.reconciler.books.links([dropped.link_id])
        link, _ = links.get(dropped.link_id, (None, 0))
        if link is None:
            return _GONE
        held = await self._read(link, loser)
        if isinstance(held, Undone):
            return held
        here, there = (_value(held, side, loser.name) for side in Side)
        if is_same(_value(held, loser.side, loser.name), loser.value):
            return Undone(UndoResult.DONE)
        if not _is_as_left(link, loser, held, seen):
            return Undone(UndoResult.CHANGED, here, there)
        return await self._write(loser, held[loser.side])

    async def _read(self, link: RecordLink, loser: Loser) -> dict[Side, Held] | Undone:
        """What both sides hold, or why nothing can be undone."""
        if link.is_over:
            return _GONE
        if link.intent is not None:
            return _refused("a step is under way on the record: make a pass first")
        pair = self.reconciler.pair
        pair.references.forget()
        await pair.references.learn_views([{loser.name: loser.value}])
        if pair.references.lacks(loser.name, loser.side, loser.value):
            return _refused("the record that the value refers to is not linked")
        return await self._read_sides(link)

    async def _read_sides(self, link: RecordLink) -> dict[Side, Held] | Undone:
        pair = self.reconciler.pair
        found: dict[Side, Held] = {}
        for side in Side:
            record_id = link.end(side).record_id
            read = None if record_id is None else (await pair.side(side).read([record_id])).get(record_id)
            if isinstance(read, Trouble):
                return _refused(read.reason)
            if read is None:
                return _GONE
            found[side] = read
        return found

    async def _write(self, loser: Loser, held: Held) -> Undone | None:
        """None: the record has changed in between."""
        reconciler = self.reconciler
        mark = Mark(loser.side, held.record.record_id)
        await reconciler.books.state.commit([mark_write(mark, reconciler.books.keys)])
        op_id = operation_id(reconciler.clock.now(), reconciler.source)
        order = Change(op_id, held, {loser.name: loser.value})
        answers: dict[str, Outcome] = {}
        await reconciler.pair.side(loser.side).write([order], answers.__setitem__)
        match answers[op_id]:
            case Applied():
                return Undone(UndoResult.DONE)
            case Conflict():
                return None
            case Rejected(reason) | RetryLater(reason) | Unknown(reason):
                return _refused(reason)


def _is_as_left(link: RecordLink, loser: Loser, held: Mapping[Side, Held], seen: Undone | None) -> bool:
    """Whether nobody has changed the field since it was given another value, or since it was seen."""
    name = loser.name
    values = {side: _value(held, side, name) for side in Side}
    if seen is not None:
        return is_same(values[Side.LOCAL], seen.local) and is_same(values[Side.EXTERNAL], seen.external)
    bases = {side: (link.end(side).base or {}).get(name, ABSENT) for side in Side}
    is_settled = all(is_same(values[side], bases[side]) for side in Side)
    return is_settled and loser.winner is not NOT_KNOWN and any(is_same(v, loser.winner) for v in values.values())


def _value(held: Mapping[Side, Held], side: Side, name: str) -> Any:
    return held[side].view.get(name, ABSENT)


def _refused(reason: str) -> Undone:
    return Undone(UndoResult.REFUSED, reason=reason)
