"""The three-way merge of a record, field by field, with one base for each side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from ratesync.model.conflict import Defer, FieldConflict, Loser, Resolution, SetValue
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side, View
from ratesync.rules.sameness import is_same

Resolve = Callable[[FieldConflict], Resolution]
"""Pure and deterministic: after a crash it is asked again, and must say the same."""

MayWrite = Callable[[str, Side, Any], bool]
"""Whether a field may be given a value on a side."""


def anything(_name: str, _side: Side, _value: Any) -> bool:
    """Every field may be given any value."""
    return True


@frozen
class Merge:
    """What is to be written to each side, and what that costs. In patches, ``ABSENT`` takes a field away."""

    to_local: View = field(repr=False)
    to_external: View = field(repr=False)
    losers: tuple[Loser, ...] = ()
    """Every changed value that the patches drop."""
    deferred: tuple[FieldConflict, ...] = ()
    """Fields that are left alone on both sides, and whose bases stay."""
    pending: tuple[FieldConflict, ...] = ()
    """The same for fields whose value may not be written. They are as they were, until it may."""


@define
class _Draft:
    may_write: MayWrite
    to_local: dict[str, Any] = field(factory=dict[str, Any])
    to_external: dict[str, Any] = field(factory=dict[str, Any])
    losers: list[Loser] = field(factory=list[Loser])
    deferred: list[FieldConflict] = field(factory=list[FieldConflict])
    pending: list[FieldConflict] = field(factory=list[FieldConflict])

    def settle(self, conflict: FieldConflict, resolution: Resolution) -> None:
        if isinstance(resolution, Defer):
            self.deferred.append(conflict)
            return
        held = {Side.LOCAL: conflict.local, Side.EXTERNAL: conflict.external}
        value = resolution.value if isinstance(resolution, SetValue) else held[resolution.side]
        written = [side for side in Side if not is_same(held[side], value)]
        if self.write(conflict, value, written):
            self.losers += [Loser(conflict.name, side, held[side], value) for side in written]

    def write(self, conflict: FieldConflict, value: Any, sides: Sequence[Side]) -> bool:
        """Put a value into the patches of sides, if it may be written to all of them."""
        if not all(self.may_write(conflict.name, side, value) for side in sides):
            self.pending.append(conflict)
            return False
        for side in sides:
            patch = self.to_local if side is Side.LOCAL else self.to_external
            patch[conflict.name] = value
        return True


def merge(
    base_local: View | None,
    base_external: View | None,
    local: View,
    external: View,
    resolve: Resolve,
    *,
    may_write: MayWrite = anything,
) -> Merge:
    """What makes both sides alike, with the fewest fields written.

    A base is what its own side held after the last sync, as that side spells it; None if that is not known. A field is
    changed if it differs from its side's base. Changed on one side, it goes to the other; changed on both to the same,
    nothing is written; else ``resolve`` decides. Fields that nobody changed are left alone, even if the sides spell
    them differently.
    """
    draft = _Draft(may_write)
    for name in _names(base_local, base_external, local, external):
        here, there = local.get(name, ABSENT), external.get(name, ABSENT)
        if is_same(here, there):
            continue
        was_here, was_there = _base(base_local, name), _base(base_external, name)
        local_changed, external_changed = not is_same(here, was_here), not is_same(there, was_there)
        conflict = FieldConflict(name, was_here, was_there, here, there)
        if local_changed and external_changed:
            draft.settle(conflict, resolve(conflict))
        elif local_changed:
            draft.write(conflict, here, [Side.EXTERNAL])
        elif external_changed:
            draft.write(conflict, there, [Side.LOCAL])
    losers, deferred = tuple(draft.losers), tuple(draft.deferred)
    return Merge(draft.to_local, draft.to_external, losers, deferred, tuple(draft.pending))


def next_base(base: View | None, held: View, deferred: Iterable[FieldConflict]) -> View:
    """A side's base after a sync: what it holds by its own answer, but as before for deferred fields."""
    new = dict(held)
    for conflict in deferred:
        was = _base(base, conflict.name)
        if was is ABSENT:
            new.pop(conflict.name, None)
        else:
            new[conflict.name] = was
    return new


def _base(base: View | None, name: str) -> Any:
    return NOT_KNOWN if base is None else base.get(name, ABSENT)


def _names(*views: View | None) -> Iterable[str]:
    """Every field once, in an order that depends on nothing else."""
    return sorted({name for view in views if view is not None for name in view})
