"""Statements about many values at once, so that an item costs no statement of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

MOST = 128
"""Values in one statement."""
MOST_ROWS = 2**63 - 1


def bounded(limit: int) -> int:
    """How many rows to ask SQLite for: it knows no larger number, and takes a negative one for no limit."""
    return min(max(limit, 0), MOST_ROWS)


def parts(values: Sequence[T], mark: str = "?") -> Iterator[tuple[str, list[T]]]:
    """Marks to put into a statement and the values for them, until all have had their turn.

    The number of marks is a power of two and the last value fills what is left over, so few statements are prepared.
    """
    for start in range(0, len(values), MOST):
        part = [*values[start : start + MOST]]
        size = 1 << (len(part) - 1).bit_length()
        part += part[-1:] * (size - len(part))
        yield ", ".join([mark] * size), part
