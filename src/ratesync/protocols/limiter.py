"""The contract of a limiter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ratesync.model.quota import Demand, Observation, Permit, QuotaUse, Refusal


@runtime_checkable
class Limiter(Protocol):
    """Grants permits so that no quota is exceeded as the provider counts it.

    Quotas come with each demand; a limiter keeps no configuration of them. All demands of a call are granted or none.
    A permit counts against a :class:`~ratesync.model.quota.Rate` until its window has passed since the call *ended*
    (the provider may count it at any moment between), and against a :class:`~ratesync.model.quota.Concurrency` until
    it is given back. State of scopes that are not used is dropped.
    """

    async def open(self) -> None:
        """Get ready for use. Called once by each engine that uses the limiter."""
        ...

    async def close(self) -> None:
        """Let go of connections and tasks. Called once for each ``open``."""
        ...

    async def reserve(self, demands: Sequence[Demand]) -> Permit | Refusal:
        """Grant now or say how long to wait; never waits itself. Those who wait in ``acquire`` come first.

        :raises CostAboveLimit: a cost is above its quota's ``permits``.
        """
        ...

    async def acquire(self, demands: Sequence[Demand], *, deadline: float | None = None) -> Permit:
        """Wait for a permit, first come first served among those who want any of the same quotas.

        Cancelling gives the place and everything taken back. ``deadline`` is an instant.

        :raises CostAboveLimit: a cost is above its quota's ``permits``.
        :raises PermitTimeout: the deadline passed, or is sure to pass: then at once.
        """
        ...

    def done(self, permit: Permit, observation: Observation) -> None:
        """The call ended; what was learnt from it corrects the limiter. Never waits, so it can be called anywhere.

        A throttled observation with ``retry_after`` holds every scope of the permit's connection for that long.
        """
        ...

    def refund(self, permit: Permit) -> None:
        """The call was not made: everything taken is free again. Never waits."""
        ...

    async def usage(self, demands: Sequence[Demand]) -> Sequence[QuotaUse]:
        """How much of each demand's quota is used now."""
        ...
