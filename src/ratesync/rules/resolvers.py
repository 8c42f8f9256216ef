"""Ready ways to decide a field that both sides changed. All are pure, so they may be asked again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

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
