"""The contract of a limiter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ratesync.model.quota import Demand, Observation, Permit, QuotaState, Refusal


@runtime_checkable
class Limiter(Protocol):
    """Grants permits so that no quota is exceeded as the provider counts it.

    Quotas come with each demand; a limiter keeps no configuration of them. All demands of a call are granted or none.
    What each kind of quota means is told by its class in :mod:`ratesync.model.quota`. The provider may count a call at
    any moment between its start and its end, so a permit counts from its grant:

    * under a ``Rate``: until the window has passed since the call *ended*;
    * under a ``FixedWindow`` or ``Budget``: in each window in which the call was under way;
    * under a ``LeakyBucket``: until the call ended; from then on it leaks away;
    * under a ``Concurrency``: until it is given back.

    A ``Penalty`` and an ``Adaptive`` have no permits of their own; every call may pass until the provider refused one.

    Permits of a quota with a ``reserve`` are granted to a priority of 0 or less only while more than the reserved ones
    are left. State of scopes that are not used is dropped.

    While a limiter cannot know what was used before it was opened, it may grant permits one call at a time, until the
    provider has told what is left or nobody else's calls can be counted any more.
    """

    async def open(self) -> None:
        """Get ready for use. Called once by each engine that uses the limiter."""
        ...

    async def close(self) -> None:
        """Let go of connections and tasks. Called once for each ``open``."""
        ...

    async def reserve(self, demands: Sequence[Demand], *, priority: int = 0) -> Permit | Refusal:
        """Grant now or say how long to wait; never waits itself. Those who wait in ``acquire`` come first.

        :raises CostAboveLimit: a cost is above what its quota ever grants.
        """
        ...

    async def acquire(self, demands: Sequence[Demand], *, priority: int = 0, deadline: float | None = None) -> Permit:
        """Wait for a permit: first come first served among those of one priority who want any of the same quotas.

        Between priorities the order is that of :func:`ratesync.rules.priority.score`.

        Who only lacks permits that are kept for higher priorities holds nobody up who may have them. Cancelling gives
        the place and everything taken back. ``deadline`` is an instant.

        :raises CostAboveLimit: a cost is above what its quota ever grants.
        :raises PermitTimeout: the deadline passed, or is sure to pass: then at once.
        """
        ...

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; what was learnt from it corrects the limiter. Never waits, so it can be called anywhere.

        A throttled observation with ``retry_after`` holds every scope of the permit's connection for that long, and so
        does ``hold_for``. Readings are taken for what they tell at least: permits that others used are counted too, and
        a limit below the declared one is kept. What ``charged`` tells less than was taken is free again.
        """
        ...

    def refund(self, permit: Permit) -> None:
        """The call was not made: everything taken is free again. Never waits."""
        ...

    async def snapshot(self, demands: Sequence[Demand]) -> Sequence[QuotaState]:
        """How each demand's quota stands now."""
        ...
