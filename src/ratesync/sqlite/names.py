"""Names that are looked for. One that cannot be stored is no error there: it is one that nobody has."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.model.lane import Selector

NOBODY = "\0"
"""No operation and no lane is called that: what is accepted has no control characters in its names."""


def findable(name: str) -> str:
    """The name, or that of nobody if it has half a surrogate pair, for which UTF-8 has no place."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return NOBODY
    return name


def findable_ids(ids: Sequence[str]) -> list[str]:
    """The ids, each in its place."""
    return [findable(operation_id) for operation_id in ids]


def findable_lanes(selector: Selector) -> Selector:
    """What the selector selects of the lanes that there can be."""
    return Selector(*(name and findable(name) for name in selector))
