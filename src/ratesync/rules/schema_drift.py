"""What a provider changed in its schema, and what that means for records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import cast

from attrs import frozen

from ratesync.model.schema import RemoteField, RemoteSchema


class DriftKind(StrEnum):
    """How a field differs from before."""

    NEW = "new"
    """It is there now."""
    NEW_REQUIRED = "new_required"
    """It is there now, and new records must have it; or one that was there is required now."""
    GONE = "gone"
    """It is no longer there."""
    TYPE = "type"
    """It has another type."""
    SHORTER = "shorter"
    """It holds fewer characters than before."""
    CHOICES_NEW = "choices_new"
    """It can have values that it could not have before."""
    CHOICES_GONE = "choices_gone"
    """It can no longer have values that it could have."""


@frozen
class FieldDrift:
    """One difference."""

    path: str
    kind: DriftKind
    is_used: bool
    """The mapping reads or writes this field, or one around or inside it."""
    choices: tuple[str, ...] = ()
    """The values that came or went, sorted."""


class DriftPolicy(StrEnum):
    """What to do about a schema that changed."""

    EVOLVE = "evolve"
    """Go on, and take new fields and values as they come, as long as what the mapping uses is still there."""
    FREEZE = "freeze"
    """Stop until somebody has looked at it, whatever changed."""
    DISCARD = "discard"
    """Go on without what changed: new fields are not passed through, and a used field that changed is left alone."""


@frozen
class DriftDecision:
    """What to do with a resource until somebody has looked at it."""

    stops: bool
    """Its records wait: translating them could lose or spoil something."""
    left_out: frozenset[str]
    """Paths whose fields are neither read nor written."""
    reasons: tuple[FieldDrift, ...]
    """Why it stops, if it does."""


_BREAKING = frozenset({DriftKind.GONE, DriftKind.TYPE})


def find_drift(before: RemoteSchema, after: RemoteSchema, used: Collection[str]) -> tuple[FieldDrift, ...]:
    """Every difference between two descriptions of a resource, sorted by path.

    :param used: the mapping's paths in the provider's record (:attr:`ratesync.mapping.Mapping.paths`).
    """
    found: list[FieldDrift] = []
    for path in sorted(before.fields.keys() | after.fields.keys()):
        old, new = before.fields.get(path), after.fields.get(path)
        is_used = any(_touch(path, other) for other in used)
        found += [FieldDrift(path, kind, is_used, choices) for kind, choices in _differences(old, new)]
    return tuple(found)


def _touch(path: str, other: str) -> bool:
    """Whether two paths are the same, or one lies inside the other."""
    shorter, longer = sorted((path, other), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def _differences(old: RemoteField | None, new: RemoteField | None) -> list[tuple[DriftKind, tuple[str, ...]]]:
    if new is None:
        return [(DriftKind.GONE, ())]
    if old is None:
        return [(DriftKind.NEW_REQUIRED if new.required else DriftKind.NEW, ())]
    found: list[tuple[DriftKind, tuple[str, ...]]] = []
    if new.type != old.type:
        found.append((DriftKind.TYPE, ()))
    if new.required and not old.required:
        found.append((DriftKind.NEW_REQUIRED, ()))
    if new.max_length is not None and (old.max_length is None or new.max_length < old.max_length):
        found.append((DriftKind.SHORTER, ()))
    return found + _choices(old.choices, new.choices)


def _choices(old: frozenset[str] | None, new: frozenset[str] | None) -> list[tuple[DriftKind, tuple[str, ...]]]:
    if new is None or new == old:
        return []
    if old is None:
        # From any value to a few: those that went cannot be listed.
        return [(DriftKind.CHOICES_GONE, ())]
    came, went = tuple(sorted(new - old)), tuple(sorted(old - new))
    found = [(DriftKind.CHOICES_NEW, came)] if came else []
    return found + ([(DriftKind.CHOICES_GONE, went)] if went else [])


def decide_drift(drift: Collection[FieldDrift], policy: DriftPolicy) -> DriftDecision:
    """What to do about the differences.

    Whatever the policy, a resource stops when new records must have a field that the mapping does not write: every
    create would be refused.
    """
    unfilled = [each for each in drift if each.kind is DriftKind.NEW_REQUIRED and not each.is_used]
    if policy is DriftPolicy.FREEZE:
        return DriftDecision(bool(drift), frozenset(), tuple(drift))
    if policy is DriftPolicy.DISCARD:
        changed = (each for each in drift if each.kind is DriftKind.NEW or (each.is_used and each.kind in _BREAKING))
        return DriftDecision(bool(unfilled), frozenset(each.path for each in changed), tuple(unfilled))
    broken = [each for each in drift if each.is_used and each.kind in _BREAKING]
    return DriftDecision(bool(broken or unfilled), frozenset(), tuple(unfilled + broken))


def unknown_choices(schema: RemoteSchema, values: Mapping[str, object]) -> tuple[FieldDrift, ...]:
    """Values of a record that its schema does not know: the schema is older than the record, so describe it again.

    :param values: of the record, by path: text, a list of texts where several can be chosen, or None.
    """
    found: list[FieldDrift] = []
    for path in sorted(values):
        described, value = schema.fields.get(path), values[path]
        if described is None or described.choices is None:
            continue
        given = cast("list[object]", value) if isinstance(value, list) else [value]
        unknown = tuple(sorted({each for each in given if isinstance(each, str)} - described.choices))
        if unknown:
            found.append(FieldDrift(path, DriftKind.CHOICES_NEW, is_used=True, choices=unknown))
    return tuple(found)
