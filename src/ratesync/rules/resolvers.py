"""Ready ways to decide a field that both sides changed. All are pure, so they may be asked again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Literal, cast

from ratesync.model.change_time import ChangeTime
from ratesync.model.conflict import Defer, FieldConflict, Resolution, SetValue, Take
from ratesync.model.difference import Side
from ratesync.rules.merge import Resolve
from ratesync.rules.sameness import is_same


def prefer(side: Side) -> Resolve:
    """The value of one side holds."""
    return lambda _conflict: Take(side)


def manual(reason: str = "waits for a person") -> Resolve:
    """Nothing is decided: the field is left alone on both sides."""
    return lambda _conflict: Defer(reason)


def per_field(resolvers: Mapping[str, Resolve], *, default: Resolve) -> Resolve:
    """A way of its own for each field named; ``default`` for the others."""
    return lambda conflict: resolvers.get(conflict.name, default)(conflict)


def first_of(first: Resolve, *others: Resolve) -> Resolve:
    """The first that does not defer; the last one's reason if all do."""

    def resolve(conflict: FieldConflict) -> Resolution:
        resolution = first(conflict)
        for other in others:
            if not isinstance(resolution, Defer):
                break
            resolution = other(conflict)
        return resolution

    return resolve


def latest(*, min_gap: float, by: Literal["field", "record"] = "field", tie: Side | None = None) -> Resolve:
    """The value that was written last, where that is beyond doubt. Defers where it is not.

    Each side tells its times by a clock of its own, so a difference says something only if it is greater than the two
    clocks can be apart.

    :param min_gap: the most seconds by which the clocks of both sides may differ: you declare it. A difference of no
        more than that decides nothing.
    :param by: "field" goes by when the field was changed. A side that tells only when its *record* was changed says
        that the field was changed then or before, which decides against that side, never for it. "record" goes by when
        the records were changed, so that one side has its way in all fields that are in conflict; a record whose last
        change was a write of ours says nothing.
    :param tie: the side that has its way where both times are known, and no further apart than ``min_gap``.
    :raises ValueError: ``min_gap`` is no number of seconds.
    """
    if not 0 <= min_gap < inf:
        raise ValueError(f"min_gap: must be a number of seconds, 0 or more, not {min_gap!r}")
    times = _field_times if by == "field" else _record_times

    def resolve(conflict: FieldConflict) -> Resolution:
        here, there = times(conflict.local_change), times(conflict.external_change)
        if here[0] - there[1] > min_gap:
            return Take(Side.LOCAL)
        if there[0] - here[1] > min_gap:
            return Take(Side.EXTERNAL)
        both_known = here[0] == here[1] and there[0] == there[1]
        return Take(tie) if both_known and tie is not None else Defer("it is not certain which value is the latest")

    return resolve


def _field_times(change: ChangeTime | None) -> tuple[float, float]:
    """The earliest and the latest instant at which the field may have been changed."""
    if change is None or change.at is None:
        return -inf, inf
    return (-inf if change.field_at is None else change.field_at), change.at


def _record_times(change: ChangeTime | None) -> tuple[float, float]:
    if change is None or change.record_at is None:
        return -inf, inf
    return change.record_at, change.record_at


def union() -> Resolve:
    """The items of both lists, without those that one side took away: the external ones, then the local additions.

    An item is taken away if both sides had it by their bases and one lacks it now. Where a base is no list, as at a
    first sync, nothing counts as taken away. Every item is kept once. Defers what is no list.
    """

    def resolve(conflict: FieldConflict) -> Resolution:
        local, external = _items(conflict.local), _items(conflict.external)
        if local is None or external is None:
            return Defer("both values must be lists to be united")
        was_local, was_external = _items(conflict.base_local) or [], _items(conflict.base_external) or []
        items: list[object] = []
        for item in [*external, *local]:
            was_shared = _holds(was_local, item) and _holds(was_external, item)
            taken_away = was_shared and not (_holds(local, item) and _holds(external, item))
            if not taken_away and not _holds(items, item):
                items.append(item)
        return SetValue(items)

    return resolve


def concat(separator: str = "\n") -> Resolve:
    """Both texts, the external one first; one alone if it holds the other. Defers what is no text."""

    def resolve(conflict: FieldConflict) -> Resolution:
        local, external = conflict.local, conflict.external
        if not (isinstance(local, str) and isinstance(external, str)):
            return Defer("both values must be texts to be joined")
        if local in external:
            return Take(Side.EXTERNAL)
        if external in local:
            return Take(Side.LOCAL)
        return SetValue(f"{external}{separator}{local}")

    return resolve


def sum_delta() -> Resolve:
    """Both changes of a whole number, added up: for counters. Defers what is no whole number, or has no local base."""

    def resolve(conflict: FieldConflict) -> Resolution:
        numbers = (conflict.base_local, conflict.local, conflict.external)
        if any(type(number) is not int for number in numbers):
            return Defer("both values and the local base must be whole numbers to add up their changes")
        return SetValue(conflict.external + conflict.local - conflict.base_local)

    return resolve


def _items(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _holds(items: list[object], item: object) -> bool:
    return any(is_same(item, other) for other in items)
