"""Which quotas apply to a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ratesync.model.batch import Capabilities
from ratesync.model.lane import Lane
from ratesync.model.quota import Concurrency, Demand, Quota, QuotaScope, Scope

QuotaKey = str | tuple[str, str]
"""A provider's name, or a lane as (provider, connection)."""

Quotas = Mapping[str, Sequence[Quota]] | Mapping[tuple[str, str], Sequence[Quota]] | Mapping[QuotaKey, Sequence[Quota]]
"""Quotas by provider or lane. Spelt out, as type checkers take a mapping's keys to the letter."""


@frozen
class QuotaTable:
    """Quotas by provider, some replaced for single connections.

    Quotas given for a connection replace the provider's quotas of scope ``connection`` and ``endpoint``; those of scope
    ``provider`` are shared by all connections and stay.
    """

    quotas: Mapping[QuotaKey, Sequence[Quota]]
    capabilities: Mapping[str, Capabilities]

    def demands(self, lane: Lane, resource: str) -> tuple[Demand, ...]:
        """One demand for each different quota that a call on ``resource`` needs a permit of."""
        found = [
            Demand(_scope(quota, lane, resource), quota)
            for quota in self._applying(lane)
            if quota.resource is None or quota.resource == resource
        ]
        concurrency = self.capabilities[lane.provider].concurrency
        if concurrency is not None:
            found.append(Demand(Scope(lane.provider, lane.connection), Concurrency(concurrency)))
        return tuple(dict.fromkeys(found))

    def _applying(self, lane: Lane) -> list[Quota]:
        shared = self.quotas.get(lane.provider, ())
        own = self.quotas.get((lane.provider, lane.connection))
        if own is None:
            return list(shared)
        return [quota for quota in shared if quota.scope is QuotaScope.PROVIDER] + list(own)


def _scope(quota: Quota, lane: Lane, resource: str) -> Scope:
    # A quota for one resource is counted apart from the others even where it has the same permits.
    part = resource if quota.scope is QuotaScope.ENDPOINT else quota.resource or ""
    return Scope(lane.provider, "" if quota.scope is QuotaScope.PROVIDER else lane.connection, part)
