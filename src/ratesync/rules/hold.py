"""Connections that a provider asked to leave alone for a while."""

from __future__ import annotations

import heapq
import math

from attrs import define, field

from ratesync.model.quota import Scope


def connection_of(scope: Scope) -> Scope | None:
    """The connection that a scope is, or is part of; None for one that spans connections."""
    return Scope(scope.provider, scope.connection) if scope.connection else None


@define(eq=False)
class Holds:
    """Until when each connection is held. Changes in place; each question needs ``now``, an instant."""

    _until: dict[Scope, float] = field(factory=dict[Scope, float], init=False)
    _ends: list[tuple[float, Scope]] = field(factory=list[tuple[float, Scope]], init=False)
    """A heap: each end that a hold has, or had before it was prolonged."""

    def hold(self, scope: Scope, until: float, now: float) -> None:
        """Hold the scope's connection until an instant; nothing if it has none. A hold that lasts longer stays."""
        self._forget(now)
        connection = connection_of(scope)
        if connection is not None and until > self._until.get(connection, now):
            self._until[connection] = until
            heapq.heappush(self._ends, (until, connection))

    def free_at(self, scope: Scope, now: float) -> float:
        """Instant at which the scope's connection is no longer held; ``now`` if it is not."""
        connection = connection_of(scope)
        return now if connection is None else max(now, self._until.get(connection, -math.inf))

    def exist(self, now: float) -> bool:
        """Tell whether any connection is held."""
        self._forget(now)
        return bool(self._until)

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, connection = heapq.heappop(self._ends)
            if self._until.get(connection, math.inf) <= now:
                del self._until[connection]
