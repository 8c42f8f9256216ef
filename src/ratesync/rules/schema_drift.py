"""What a provider changed in its schema, and what that means for records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from attrs import frozen

from ratesync.model.schema import DriftDecision, DriftKind, DriftPolicy, FieldDrift, RemoteField, RemoteSchema

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


def choice_of(value: object) -> str | None:
    """A value of a record as schemas have choices: a text, also of a whole number; None for what is no choice."""
    is_choice = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_choice else None


def unknown_choices(schema: RemoteSchema, values: Mapping[str, object]) -> tuple[FieldDrift, ...]:
    """Values of a record that its schema does not know: the schema is older than the record, so describe it again.

    :param values: of the record, by path: a text or whole number, a list of them where several can be chosen, or None.
    """
    found: list[FieldDrift] = []
    for path in sorted(values):
        described, value = schema.fields.get(path), values[path]
        if described is None or described.choices is None:
            continue
        given = cast("list[object]", value) if isinstance(value, list) else [value]
        choices = {choice for each in given if (choice := choice_of(each)) is not None}
        unknown = tuple(sorted(choices - described.choices))
        if unknown:
            found.append(FieldDrift(path, DriftKind.CHOICES_NEW, is_used=True, choices=unknown))
    return tuple(found)


@frozen
class SchemaJudgement:
    """What a look at a resource's schema came to."""

    accepted: RemoteSchema
    """What records are translated by from now on."""
    drift: tuple[FieldDrift, ...]
    """How the schema differs from the one accepted before."""
    decision: DriftDecision


def judge_schema(
    accepted: RemoteSchema | None, current: RemoteSchema, used: Collection[str], policy: DriftPolicy
) -> SchemaJudgement:
    """What to do about the schema that a provider describes now.

    The first one is accepted as it is. A change that neither stops the resource nor leaves a field out is accepted with
    it; any other stays a change until somebody accepts it.
    """
    drift = () if accepted is None else find_drift(accepted, current, used)
    decision = decide_drift(drift, policy) if drift else DriftDecision(False, frozenset(), ())
    if accepted is None or not (decision.stops or decision.left_out):
        accepted = current
    return SchemaJudgement(accepted, drift, decision)


def choices_in(schema: RemoteSchema, record: Mapping[str, object], used: Collection[str]) -> dict[str, object]:
    """The values of a record in those fields that a mapping uses and that can only have certain values, by path."""
    found: dict[str, object] = {}
    for path in used:
        described = schema.fields.get(path)
        if described is None or described.choices is None:
            continue
        value: object = record
        for name in path.split("."):
            value = _inside(value, name)
        if value is not None:
            found[path] = value
    return found


def _inside(value: object, name: str) -> object:
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else None
