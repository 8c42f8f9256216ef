"""Dead letters, in the order in which they died."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import count, islice

from ratesync.memory.mailbox import MOST_GARBAGE, Record
from ratesync.model.lane import Selector

MOST_GONE = 1000
"""Ids of letters that are gone and whose place is remembered, for those who page through while letters go."""


class DeadLetters:
    """Dead letters by id and by place. Each has a number; numbers grow with the instant of death."""

    def __init__(self, *, capacity: int) -> None:
        self.capacity = capacity
        self._letters: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._order: list[tuple[int, Record]] = []
        self._numbers = count(1)

    @property
    def is_full(self) -> bool:
        """Whether somebody must look at some before more operations are accepted."""
        return len(self._letters) >= self.capacity

    def add(self, record: Record) -> None:
        """Take a letter in."""
        number = next(self._numbers)
        self._letters[record.id] = number
        self._order.append((number, record))

    def remove(self, operation_id: str) -> None:
        """Take a letter out."""
        self._gone.pop(operation_id, None)
        self._gone[operation_id] = self._letters.pop(operation_id)
        if len(self._gone) > MOST_GONE:
            self._gone = dict(islice(self._gone.items(), MOST_GONE // 2, None))
        if len(self._order) > 2 * len(self._letters) + MOST_GARBAGE:
            self._order = [entry for entry in self._order if self._is_letter(entry)]

    def page(self, selector: Selector, after: str | None) -> Iterator[Record]:
        """The letters of the selected lanes behind the id ``after``; from the first one if that is not known."""
        number = 0 if after is None else self._letters.get(after, self._gone.get(after, 0))
        for place in range(bisect_right(self._order, number, key=_number), len(self._order)):
            letter = self._order[place]
            if self._is_letter(letter) and selector.matches(letter[1].lane):
                yield letter[1]

    def _is_letter(self, letter: tuple[int, Record]) -> bool:
        return self._letters.get(letter[1].id) == letter[0]


def _number(letter: tuple[int, Record]) -> int:
    return letter[0]
