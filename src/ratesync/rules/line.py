"""Lines of those who wait: within a priority, who came first is first; between priorities the score decides."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import merge
from typing import Generic, Protocol, TypeVar

from attrs import define, field


class InLine(Protocol):
    """Somebody who waits."""

    @property
    def priority(self) -> int:
        """Above 0: may have what is kept for higher priorities."""
        ...

    @property
    def place(self) -> tuple[float, int]:
        """The lowest comes first: score, then number of arrival."""
        ...


WaiterT = TypeVar("WaiterT", bound=InLine)


@define(eq=False)
class Line(Generic[WaiterT]):
    """Who waits for one thing."""

    _by_priority: dict[int, OrderedDict[WaiterT, None]] = field(
        factory=dict[int, "OrderedDict[WaiterT, None]"], init=False
    )
    wanted: int = field(default=0, init=False)
    """Permits that all of them want together."""

    def __bool__(self) -> bool:
        return bool(self._by_priority)

    def __len__(self) -> int:
        return sum(map(len, self._by_priority.values()))

    def add(self, waiter: WaiterT, cost: int) -> None:
        """Let somebody stand in line."""
        alike = self._by_priority.get(waiter.priority)
        if alike is None:
            alike = self._by_priority[waiter.priority] = OrderedDict()
        alike[waiter] = None
        self.wanted += cost

    def remove(self, waiter: WaiterT, cost: int) -> None:
        """Let somebody go."""
        alike = self._by_priority[waiter.priority]
        del alike[waiter]
        if not alike:
            del self._by_priority[waiter.priority]
        self.wanted -= cost

    def heads(self) -> list[WaiterT]:
        """Who is first, and who is first of those that may have kept permits, if that is somebody else."""
        first = min((next(iter(alike)) for alike in self._by_priority.values()), key=_place)
        if first.priority > 0:
            return [first]
        privileged = [next(iter(alike)) for priority, alike in self._by_priority.items() if priority > 0]
        return [first, min(privileged, key=_place)] if privileged else [first]

    def in_order(self) -> Iterator[WaiterT]:
        """Everybody, first come first. The line must not change meanwhile."""
        if len(self._by_priority) == 1:
            return iter(next(iter(self._by_priority.values())))
        return merge(*self._by_priority.values(), key=_place)


def _place(waiter: InLine) -> tuple[float, int]:
    return waiter.place
