"""Records that refer to others: in which order they are made and deleted, and how long one waits for another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from enum import Enum
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


class Prospect(Enum):
    """What is to be expected of a record that has no counterpart on the other side."""

    COMING = "coming"
    """It is marked, or being made: a pass over its own binding is due, or could not get through with it."""
    WAITING = "waiting"
    """It waits for a record that it refers to itself."""
    NONE = "none"
    """Nobody has heard of it, or it was deleted."""


def may_leave_out(prospect: Prospect, *, is_required: bool, is_stuck: bool) -> bool:
    """Tell whether a record may be made without its reference to another one.

    :param is_stuck: nothing else gets done in this pass. Who still waits then may be waiting for one that waits for it.
    """
    if is_required:
        return False
    return prospect is Prospect.NONE or (is_stuck and prospect is Prospect.WAITING)


def parents_first(parents: Mapping[T, Collection[T]]) -> list[list[T]]:
    """Layers of all keys: what one refers to is in a layer before its own. A circle is broken at its first one.

    :param parents: what each refers to. What is no key is not waited for, and nobody waits for itself.
    """
    waits = {one: {other for other in others if other != one and other in parents} for one, others in parents.items()}
    children: defaultdict[T, list[T]] = defaultdict(list)
    for one, others in waits.items():
        for other in others:
            children[other].append(one)
    layers: list[list[T]] = []
    layer = [one for one, others in waits.items() if not others]
    left = iter(parents)
    while waits:
        if not layer:
            layer = [next(one for one in left if one in waits)]
        layers.append(layer)
        for one in layer:
            del waits[one]
        layer = [child for one in layer for child in children[one] if _is_ready(waits, child, one)]
    return layers


def _is_ready(waits: dict[T, set[T]], child: T, parent: T) -> bool:
    """Cross off a parent; whether it was the last one."""
    others = waits.get(child)
    if others is None or parent not in others:
        return False
    others.discard(parent)
    return not others
