"""What is to be written to the state store when a link changes."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve, field

from ratesync.engine.sync.case import Case
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import encode_conflict, encode_link, encode_mark, pack_losers, to_bytes
from ratesync.model.difference import Side
from ratesync.model.intent import Creating
from ratesync.model.link import RecordLink
from ratesync.model.mark import Mark
from ratesync.model.stored import Write

_NOTHING = b'{"v":1}'


def mark_write(mark: Mark, keys: Keys, *, if_revision: int | None = None) -> Write:
    """What writes a mark: whatever is there, or only if that has this revision."""
    return Write(keys.mark(mark.side, mark.record_id), encode_mark(mark), if_revision)


@define
class Draft:
    """The writes of one case: all of them or none, but for the marks, which may have become newer."""

    case: Case
    writes: list[Write] = field(factory=list[Write])
    clears: list[Write] = field(factory=list[Write])
    """Marks to clear, or to keep with what their record waits for."""

    @property
    def keys(self) -> set[str]:
        """Every key that it writes."""
        return {write.key for write in (*self.writes, *self.clears)}


def draft_of(case: Case, keys: Keys, *, clear: bool) -> Draft:
    """The writes that bring a case to its ``next`` link; none if nothing changed.

    :param clear: clear its marks, too; or note in them what it still waits for.
    """
    draft = Draft(case)
    if case.next is not None and case.next != case.link:
        draft.writes = [
            *_link_writes(case.link, case.revision, case.next, keys),
            *_loser_writes(case.link, case.next, keys),
            *_conflict_writes(case, case.next, keys),
        ]
        if case.link is None and not clear:
            # Marked anew: who met the record before it had a link, and found it gone, must not clear its mark.
            draft.writes += [mark_write(mark, keys, if_revision=mark.revision) for mark in case.marks]
        if not clear:
            draft.writes += _source_mark(case, case.next, keys)
    if clear:
        draft.clears = [
            Write(
                keys.mark(mark.side, mark.record_id),
                encode_mark(evolve(mark, lacks=case.lacks)) if case.lacks else None,
                mark.revision,
            )
            for mark in case.marks
            if mark.revision and (not case.lacks or mark.lacks != case.lacks)
        ]
        if case.lacks and not case.marks:
            draft.clears = _waiting_mark(case, keys)
    return draft


def _waiting_mark(case: Case, keys: Keys) -> list[Write]:
    """A mark that says what a record waits for that nobody marked: its delete was put off, and is not due any more."""
    records = ((side, case.record_id(side)) for side in Side)
    marks = [Mark(side, record_id, lacks=case.lacks) for side, record_id in records if record_id is not None]
    return [mark_write(mark, keys, if_revision=0) for mark in marks[:1]]


def _link_writes(old: RecordLink | None, revision: int, new: RecordLink, keys: Keys) -> list[Write]:
    writes = [Write(keys.link(new.link_id), encode_link(new), revision)]
    for side in Side:
        was = None if old is None else old.end(side).record_id
        now = new.end(side).record_id
        if was != now:
            if was is not None:
                writes.append(Write(keys.index(side, was), None))
            if now is not None:
                # Whoever linked the record in the meantime keeps it, and this commit fails.
                writes.append(Write(keys.index(side, now), new.link_id.encode(), 0))
        was_made = old is not None and _makes(old, side)
        if was_made != _makes(new, side):
            writes.append(Write(keys.creation(side, new.link_id), None if was_made else _NOTHING))
    if (old is not None and old.is_held) != new.is_held:
        writes.append(Write(keys.held(new.link_id), _NOTHING if new.is_held else None))
    return writes


def made_id(case: Case, side: Side) -> str | None:
    """The id of the record that the case's step has made on a side, where its link is about to get it."""
    if case.link is None or case.next is None or not _makes(case.link, side):
        return None
    return case.next.end(side).record_id


def _makes(link: RecordLink, side: Side) -> bool:
    """A record of the side is being made, under an id that nobody knows."""
    step = None if link.intent is None else link.intent.step
    return isinstance(step, Creating) and step.side is side and link.end(side).record_id is None


def _loser_writes(old: RecordLink | None, new: RecordLink, keys: Keys) -> list[Write]:
    """What a new step drops, stored together with its intent: before anything is dropped."""
    intent = new.intent
    if intent is None or (old is not None and old.intent is not None and old.intent.op_id == intent.op_id):
        return []
    losers = () if isinstance(intent.step, Creating) else intent.step.losers
    if not losers:
        return []
    ids = [new.local.record_id, new.external.record_id]
    value = {"link": new.link_id, "ids": ids, "at": intent.started_at, "lost": pack_losers(losers)}
    return [Write(keys.lost(intent.op_id), to_bytes(value))]


def _source_mark(case: Case, new: RecordLink, keys: Keys) -> list[Write]:
    """A mark that leads to a creation, should it be left half done.

    The record that is made anew may be the only one that was marked, and its old id leaves the link.
    """
    step = None if new.intent is None else new.intent.step
    if case.link is None or not isinstance(step, Creating):
        return []
    side = step.side.other
    record_id = new.end(side).record_id
    if record_id is None or any(mark.side is side and mark.record_id == record_id for mark in case.marks):
        return []
    mark = Mark(side, record_id)
    case.marks.append(mark)
    return [mark_write(mark, keys)]


def _conflict_writes(case: Case, new: RecordLink, keys: Keys) -> list[Write]:
    """Conflicts that were opened or closed, or are about other values now."""
    before: Mapping[str, str] = {} if case.link is None else case.link.deferred
    writes = [Write(keys.conflict(new.link_id, name), None) for name in before if name not in new.deferred]
    for conflict in case.conflicts:
        name = conflict.name
        if name in new.deferred and new.deferred[name] != before.get(name):
            writes.append(Write(keys.conflict(new.link_id, name), encode_conflict(conflict, new)))
    return writes
