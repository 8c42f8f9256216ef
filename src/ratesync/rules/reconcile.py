"""What one record's two sides need, whether they are there or gone."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from ratesync.model.conflict import FieldConflict, Loser
from ratesync.model.difference import ABSENT, Side, View
from ratesync.rules.merge import MayWrite, Merge, Resolve, anything, merge, next_base
from ratesync.rules.sameness import is_same


class Action(StrEnum):
    """What a reconcile does."""

    NONE = "none"
    PUSH = "push"
    """The external side is patched."""
    PULL = "pull"
    """The local side is patched."""
    MERGE = "merge"
    """Both sides are patched."""
    CONVERGE = "converge"
    """Nothing is written: both sides came to hold it by themselves, and the bases are taken anew."""
    CONFLICT = "conflict"
    """Nothing is written: all that differs is deferred."""
    CREATE = "create"
    """The record is made on the side that never had it."""
    RESURRECT = "resurrect"
    """The record is made again on the side that deleted it, for it was edited on the other."""
    DELETE = "delete"
    ARCHIVE = "archive"
    """What is written in place of a delete. The record is no longer linked then."""
    UNLINK = "unlink"
    """Nothing is written, and the record that is left is no longer linked."""
    LINK = "link"
    """Two records that were found to be the same are linked."""
    TOMBSTONE = "tombstone"
    """Both are gone: only the link is marked."""


class GoneMode(StrEnum):
    """What becomes of a record whose other side was deleted."""

    DELETE = "delete"
    ARCHIVE = "archive"
    """The fields of ``GonePolicy.archive`` are written to it, and it is left alone from then on."""
    UNLINK = "unlink"
    """It is left alone from now on."""
    IGNORE = "ignore"
    """It is left alone until it, or the other side, is changed."""


@frozen
class GonePolicy:
    """How a delete is carried over."""

    mode: GoneMode = GoneMode.DELETE
    edit_wins: bool = True
    """A record that was edited since the last sync is made again where it was deleted. False deletes it all the same,
    and tells the edits as losers."""
    applies_to: frozenset[Side] = frozenset(Side)
    """The sides on which ``mode`` may be carried out; on any other a delete of the other side is ignored."""
    archive: View = field(factory=dict[str, Any])
    """For ``GoneMode.ARCHIVE``: what is written, in the terms of the view, such as ``{"archived": True}``. Somebody's
    having written just that does not count as an edit."""

    def __attrs_post_init__(self) -> None:
        if (self.mode is GoneMode.ARCHIVE) != bool(self.archive):
            raise ValueError("archive: tells what is written with GoneMode.ARCHIVE, and with no other mode")


@frozen
class Reconciliation:
    """One record's action. ``side`` is the only one written, or None if that is both or neither."""

    action: Action
    side: Side | None = None
    to_local: View = field(factory=dict[str, Any], repr=False)
    """What to patch, or to create, on the local side; in a patch ``ABSENT`` takes a field away."""
    to_external: View = field(factory=dict[str, Any], repr=False)
    losers: tuple[Loser, ...] = ()
    """To be stored before anything is written."""
    deferred: tuple[FieldConflict, ...] = ()
    pending: tuple[FieldConflict, ...] = ()
    """Fields that are left as they are, for they may not be written."""


def reconcile(
    bases: tuple[View | None, View | None],
    local: View | None,
    external: View | None,
    resolve: Resolve,
    policy: GonePolicy,
    *,
    may_write: MayWrite = anything,
) -> Reconciliation:
    """What to do, by the bases (local, external) and by what each side holds now; None if it has no such record.

    Bases that are both None mean that the two were never synced: then a side that is missing never had the record.
    """
    if local is not None and external is not None:
        return _both_there(bases, local, external, merge(*bases, local, external, resolve, may_write=may_write))
    was_synced = bases != (None, None)
    if local is not None:
        return (
            _one_there(Side.LOCAL, local, bases[0], policy)
            if was_synced
            else _made(Action.CREATE, Side.EXTERNAL, local)
        )
    if external is not None:
        made = _made(Action.CREATE, Side.LOCAL, external)
        return _one_there(Side.EXTERNAL, external, bases[1], policy) if was_synced else made
    return Reconciliation(Action.TOMBSTONE if was_synced else Action.NONE)


def _both_there(bases: tuple[View | None, View | None], local: View, external: View, found: Merge) -> Reconciliation:
    side = None
    if found.to_local and found.to_external:
        action = Action.MERGE
    elif found.to_local:
        action, side = Action.PULL, Side.LOCAL
    elif found.to_external:
        action, side = Action.PUSH, Side.EXTERNAL
    elif found.deferred:
        action = Action.CONFLICT
    else:
        is_known = _is_as(bases[0], local, found.pending) and _is_as(bases[1], external, found.pending)
        action = Action.NONE if is_known else Action.CONVERGE
    return Reconciliation(action, side, found.to_local, found.to_external, found.losers, found.deferred, found.pending)


def _one_there(side: Side, held: View, base: View | None, policy: GonePolicy) -> Reconciliation:
    """The other side deleted the record, and ``side`` still holds it."""
    if policy.mode is GoneMode.IGNORE or side not in policy.applies_to:
        return Reconciliation(Action.NONE)
    if policy.mode is GoneMode.UNLINK:
        return Reconciliation(Action.UNLINK)
    patch = {name: value for name, value in policy.archive.items() if not is_same(held.get(name, ABSENT), value)}
    is_archived = policy.archive.keys() - patch.keys()
    edits = tuple(edit for edit in _edits(side, held, base) if edit.name not in is_archived)
    if edits and policy.edit_wins:
        return _made(Action.RESURRECT, side.other, held)
    if policy.mode is GoneMode.ARCHIVE:
        return _archived(side, patch, edits)
    return Reconciliation(Action.DELETE, side, losers=edits)


def _archived(side: Side, patch: View, edits: Iterable[Loser]) -> Reconciliation:
    if not patch:
        return Reconciliation(Action.UNLINK)
    losers = tuple(evolve(edit, winner=patch[edit.name]) for edit in edits if edit.name in patch)
    return evolve(_made(Action.ARCHIVE, side, patch), losers=losers)


def _made(action: Action, side: Side, held: View) -> Reconciliation:
    if side is Side.LOCAL:
        return Reconciliation(action, side, to_local=held)
    return Reconciliation(action, side, to_external=held)


def _edits(side: Side, held: View, base: View | None) -> tuple[Loser, ...]:
    """The fields that the side changed since the last sync; all that it holds, if its base is not known."""
    was: View = {} if base is None else base
    values = ((name, held.get(name, ABSENT)) for name in sorted({*held, *was}))
    return tuple(Loser(name, side, value) for name, value in values if not is_same(value, was.get(name, ABSENT)))


def _is_as(base: View | None, held: View, pending: Iterable[FieldConflict]) -> bool:
    return base is not None and is_same(dict(base), dict(next_base(base, held, pending)))
