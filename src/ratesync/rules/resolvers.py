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
    """The items of both lists: the external ones, then the local ones that it lacks. Defers what is no list.

    An item that one side took away comes back.
    """

    def resolve(conflict: FieldConflict) -> Resolution:
        local, external = conflict.local, conflict.external
        if not (isinstance(local, list) and isinstance(external, list)):
            return Defer("both values must be lists to be united")
        items = list(cast("list[object]", external))
        for item in cast("list[object]", local):
            if not any(is_same(item, other) for other in items):
                items.append(item)
        return SetValue(items)

    return resolve


def sum_delta() -> Resolve:
    """Both changes of a whole number, added up: for counters. Defers what is no whole number, or has no local base."""

    def resolve(conflict: FieldConflict) -> Resolution:
        numbers = (conflict.base_local, conflict.local, conflict.external)
        if any(type(number) is not int for number in numbers):
            return Defer("both values and the local base must be whole numbers to add up their changes")
        return SetValue(conflict.external + conflict.local - conflict.base_local)

    return resolve
