"""Which operations go out in one call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def group(steps: Sequence[T], label: Callable[[T], Hashable], size: int) -> list[list[T]]:
    """Split ``steps`` into batches of at most ``size`` steps of the same ``label`` each.

    Labels come in the order of their first step, and the steps of a label keep their order.

    :raises ValueError: ``size`` is below 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    by_label: dict[Hashable, list[T]] = {}
    for step in steps:
        by_label.setdefault(label(step), []).append(step)
    return [alike[start : start + size] for alike in by_label.values() for start in range(0, len(alike), size)]
