"""What becomes of a decision that was being carried out when the process died."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from ratesync.model.conflict import Defer, FieldConflict, Loser, SetValue
from ratesync.model.difference import ABSENT, Side, View
from ratesync.model.held import Held
from ratesync.model.intent import Decided, Deleting
from ratesync.rules.merge import MayWrite, Merge, Resolve, anything
from ratesync.rules.sameness import is_same


class Standing(Enum):
    """What a side's value says of a decision."""

    SETTLED = "settled"
    """It is as decided, or as it was when it was decided."""
    SUPERSEDES = "supersedes"
    """It is newer, by somebody who saw the decided value."""
    CONCURRENT = "concurrent"
    """It is newer, by somebody who did not."""


def standing(current: Any, before: Any, decided: Any) -> Standing:
    """How one side's value of one field stands to what was decided."""
    if is_same(current, decided) or is_same(current, before):
        return Standing.SETTLED
    return Standing.SUPERSEDES if is_same(before, decided) else Standing.CONCURRENT


def recover(decided: Decided, local: View, external: View, resolve: Resolve, may_write: MayWrite = anything) -> Merge:
    """What is still to be written to each side, given what the sides hold now.

    Values that are newer than the decision are never overwritten without being told as losers, and neither is the
    decided value. Carrying the decision out regardless would lose them silently. Fields that the decision does not name
    are left to the next merge: take the bases from ``recovered_base``, which keeps theirs as they were.
    """
    patches: dict[Side, dict[str, Any]] = {Side.LOCAL: {}, Side.EXTERNAL: {}}
    losers = list(decided.losers)
    deferred: list[FieldConflict] = []
    pending: list[FieldConflict] = []
    for name in sorted(decided.view):
        current = {Side.LOCAL: local.get(name, ABSENT), Side.EXTERNAL: external.get(name, ABSENT)}
        outcome = _recover_field(name, decided, current, resolve)
        if isinstance(outcome, FieldConflict):
            deferred.append(outcome)
            continue
        value, lost = outcome
        written = [side for side, held in current.items() if not is_same(held, value)]
        if not all(may_write(name, side, value) for side in written):
            before = decided.pre_local.get(name, ABSENT), decided.pre_external.get(name, ABSENT)
            pending.append(FieldConflict(name, *before, current[Side.LOCAL], current[Side.EXTERNAL]))
            continue
        losers.extend(lost)
        for side in written:
            patches[side][name] = value
    return Merge(patches[Side.LOCAL], patches[Side.EXTERNAL], tuple(losers), tuple(deferred), tuple(pending))


def recovered_base(base: View | None, held: View, decided: Decided, deferred: Iterable[FieldConflict]) -> View | None:
    """A side's base after a recovery: what it holds by its own answer, but only for fields that were decided.

    All others stay as they were, deferred ones too. Taking their held value would call an edit known that was never
    carried over, and lose it. A base that was not known stays so: the next merge then compares the sides anew.
    """
    if base is None:
        return None
    new = dict(base)
    for name in decided.view.keys() - {conflict.name for conflict in deferred}:
        if name in held:
            new[name] = held[name]
        else:
            new.pop(name, None)
    return new


def may_delete(deleting: Deleting, current: Held | None) -> bool:
    """Tell whether a delete that was decided may still be carried out on a side.

    ``current`` is what the side holds now; None if the record is gone. Only the very record that was read may go. One
    that was edited or created again since is somebody's new work, even with the same fields: it is reconciled afresh,
    never deleted by an old decision. Versions tell; if the side has none, the fields must, and a record that was
    created again just as it was cannot be told from the old one.
    """
    if current is None or deleting.version != current.version:
        return False
    return deleting.version is not None or is_same(dict(deleting.view), dict(current.view))


def _recover_field(
    name: str, decided: Decided, current: dict[Side, Any], resolve: Resolve
) -> FieldConflict | tuple[Any, list[Loser]]:
    """The value that holds, and what it drops; or a conflict that is deferred."""
    meant = decided.view[name]
    sides_meant = {side: decided.meant(side).get(name, ABSENT) for side in Side}
    before = {Side.LOCAL: decided.pre_local.get(name, ABSENT), Side.EXTERNAL: decided.pre_external.get(name, ABSENT)}
    stands = {side: standing(current[side], before[side], sides_meant[side]) for side in Side}
    newer = [side for side in Side if stands[side] is not Standing.SETTLED]
    if not newer:
        return meant, []
    if len(newer) == 1 and stands[newer[0]] is Standing.SUPERSEDES:
        return current[newer[0]], []
    held = {side: current[side] if side in newer else meant for side in Side}
    if is_same(held[Side.LOCAL], held[Side.EXTERNAL]):
        return held[Side.LOCAL], []
    conflict = FieldConflict(name, before[Side.LOCAL], before[Side.EXTERNAL], held[Side.LOCAL], held[Side.EXTERNAL])
    resolution = resolve(conflict)
    if isinstance(resolution, Defer):
        return conflict
    value = resolution.value if isinstance(resolution, SetValue) else held[resolution.side]
    return value, [Loser(name, side, held[side], value) for side in Side if not is_same(held[side], value)]
