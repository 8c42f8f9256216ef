"""When two JSON values are the same, and whether one says anything."""

from __future__ import annotations

from typing import Any, cast

from ratesync.model.difference import ABSENT


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same. To Python True is 1 and 1 is 1.0; here they are not."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, dict):
        left, right = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return left.keys() == right.keys() and all(is_same(value, right[name]) for name, value in left.items())
    if isinstance(one, list):
        items, others = cast("list[object]", one), cast("list[object]", other)
        return len(items) == len(others) and all(map(is_same, items, others))
    return bool(one == other)


def is_filled(value: Any) -> bool:
    """Tell whether a field holds something: it is there, and neither null nor an empty text."""
    return value is not ABSENT and value is not None and value != ""
