"""What is known of one side of a link after a read or a write of its record."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from ratesync.model.conflict import FieldConflict
from ratesync.model.difference import ABSENT, View
from ratesync.model.held import Held
from ratesync.model.link import LinkEnd
from ratesync.rules.merge import next_base
from ratesync.rules.sameness import is_same


def patched(view: View, patch: View) -> dict[str, object]:
    """The view with a patch applied; ``ABSENT`` takes a field away."""
    return {name: value for name, value in {**view, **patch}.items() if value is not ABSENT}


def confirm(end: LinkEnd, held: Held) -> LinkEnd:
    """The end, with what the side made of our last write, if it still holds the version that we wrote.

    Only the fields that we wrote are taken over. Others that changed with them, as the side computes them, stay
    different from the base, and so reach the other side.
    """
    if not end.unconfirmed or end.base is None or end.version is None or end.version != held.version:
        return end
    base = patched(end.base, {name: held.view.get(name, ABSENT) for name in end.unconfirmed})
    version = held.version if is_same(base, dict(held.view)) else None
    return evolve(end, base=base, version=version, unconfirmed=())


def end_after_read(end: LinkEnd, held: Held, deferred: Iterable[FieldConflict]) -> LinkEnd:
    """The end, when all that the side holds is settled, but for deferred fields."""
    return LinkEnd(held.record.record_id, next_base(end.base, held.view, deferred), held.version)


def told(before: View, patch: View, answer: View) -> View:
    """What the answer to a patch says that the patched fields hold now.

    A field that was null and was to be taken away may not have been sent at all: a value there is somebody else's.
    """
    return {
        name: before[name] if value is ABSENT and _was_filled(name, before, answer) else answer.get(name, ABSENT)
        for name, value in patch.items()
    }


def _was_filled(name: str, before: View, answer: View) -> bool:
    return name in before and before[name] is None and answer.get(name) is not None


def end_after_patch(
    end: LinkEnd,
    before: Held,
    patch: View,
    deferred: Iterable[FieldConflict],
    *,
    version: str | None,
    answer: View | None,
) -> LinkEnd:
    """The end, when a patch was applied to what the side held before.

    What the side made of the patched fields is its base; of the others, only what was read before the write, for
    somebody may have changed them in between, or the side itself. Then the version does not stand for the base.

    :param patch: as the side was expected to hold it.
    :param version: that the write gave.
    :param answer: the record's view by the answer to the write, if the answer told.
    """
    held = patched(before.view, patch if answer is None else told(before.view, patch, answer))
    base = next_base(end.base, held, deferred)
    record_id = before.record.record_id
    if answer is None:
        unconfirmed = tuple(patch) if version is not None else ()
        return LinkEnd(record_id, base, version, unconfirmed)
    return LinkEnd(record_id, base, version if is_same(held, dict(answer)) else None)


def end_after_create(record_id: str, sent: View, *, version: str | None, answer: View | None) -> LinkEnd:
    """The end, when a record was made of ``sent``. What the side added by itself is not in its base."""
    if answer is None:
        return LinkEnd(record_id, dict(sent), version, tuple(sent) if version is not None else ())
    base = {name: answer[name] for name in sent if name in answer}
    return LinkEnd(record_id, base, version if is_same(base, dict(answer)) else None)
