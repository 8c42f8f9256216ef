"""Which quotas apply to a call, and what it costs under each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from attrs import define, field

from ratesync.model.batch import Capabilities
from ratesync.model.inquiry import Inquiry
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.quota import (
    CALLS,
    OPERATIONS,
    Adaptive,
    Budget,
    Concurrency,
    Countable,
    Demand,
    FixedWindow,
    LeakyBucket,
    Quota,
    QuotaScope,
    Rate,
    Scope,
)
from ratesync.protocols import Charges

QuotaKey = str | tuple[str, str]
"""A provider's name, or a lane as (provider, connection)."""

Quotas = Mapping[str, Sequence[Quota]] | Mapping[tuple[str, str], Sequence[Quota]] | Mapping[QuotaKey, Sequence[Quota]]
"""Quotas by provider or lane. Spelt out, as type checkers take a mapping's keys to the letter."""

_MOST_REMEMBERED = 1_000
"""Lanes and resources whose quotas are remembered, so that they need not be looked up for each call."""

_LIMITS = (Rate, FixedWindow, LeakyBucket, Budget)
"""Where one of these is declared, no limit need be found out."""


@define
class QuotaTable:
    """Quotas by provider, some replaced for single connections.

    Quotas given for a connection replace the provider's quotas of scope ``connection`` and ``endpoint``; those of scope
    ``provider`` are shared by all connections and stay. A lane without any declared limit gets an ``Adaptive`` one.
    """

    quotas: Mapping[QuotaKey, Sequence[Quota]]
    capabilities: Mapping[str, Capabilities]
    charges: Mapping[str, Charges] = field(factory=dict[str, Charges])
    """The adapters that know what a call costs, by provider."""
    _known: dict[tuple[Lane, str], tuple[tuple[Demand, ...], bool]] = field(
        factory=dict[tuple[Lane, str], tuple[tuple[Demand, ...], bool]], init=False
    )
    """Demands, and whether each call costs 1 under all of them."""

    def demands(
        self, lane: Lane, resource: str, kind: Kind | Inquiry = Kind.UPDATE, size: int = 1
    ) -> tuple[Demand, ...]:
        """One demand for each different quota that a call with ``size`` operations on ``resource`` needs permits of.

        An inquiry cannot be split: where it costs more than a quota ever lets through, it takes all of that.
        """
        demands, is_plain = self._known.get((lane, resource)) or self._remember(lane, resource)
        if is_plain:
            return demands
        charge = self.charges.get(lane.provider)
        costs = {CALLS: 1, OPERATIONS: size, **(charge.charge(resource, kind, size) if charge else {})}
        priced = [Demand(scope, quota, _cost(quota, costs)) for scope, quota, _ in demands]
        if isinstance(kind, Inquiry):
            priced = [_capped(demand) for demand in priced]
        return tuple(demand for demand in priced if demand.cost > 0)

    def listed(self, lane: Lane, resource: str | None) -> tuple[Demand, ...]:
        """The quotas of calls on ``resource``, with a cost of 1; None: those that hold for every resource."""
        demands, _ = self._known.get((lane, resource or "")) or self._remember(lane, resource or "")
        if resource is not None:
            return demands
        return tuple(
            demand
            for demand in demands
            if demand.quota.resource is None and demand.quota.scope is not QuotaScope.ENDPOINT
        )

    def fitting(self, lane: Lane, resource: str, kind: Kind | Inquiry, size: int) -> int:
        """The most operations, up to ``size`` and at least 1, that every quota can ever let through in one call."""
        if size == 1 or self._fits(lane, resource, kind, size):
            return size
        too_many = range(2, size + 1)
        return 1 + bisect_right(too_many, 0, key=lambda most: not self._fits(lane, resource, kind, most))

    def _fits(self, lane: Lane, resource: str, kind: Kind | Inquiry, size: int) -> bool:
        return all(
            demand.cost <= _most(demand.quota)
            for demand in self.demands(lane, resource, kind, size)
            if isinstance(demand.quota, Countable)
        )

    def _remember(self, lane: Lane, resource: str) -> tuple[tuple[Demand, ...], bool]:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        demands = self._find(lane, resource)
        is_plain = lane.provider not in self.charges and all(_unit(demand.quota) == CALLS for demand in demands)
        self._known[lane, resource] = demands, is_plain
        return demands, is_plain

    def _find(self, lane: Lane, resource: str) -> tuple[Demand, ...]:
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
            applying = list(shared)
        else:
            applying = [quota for quota in shared if quota.scope is QuotaScope.PROVIDER] + list(own)
        is_limited = any(isinstance(quota, (*_LIMITS, Adaptive)) and quota.resource is None for quota in applying)
        return applying if is_limited else [*applying, Adaptive()]


def _most(quota: Countable) -> int:
    """The most that a call of no priority may ever cost under a quota."""
    return quota.permits - quota.kept


def _capped(demand: Demand) -> Demand:
    quota = demand.quota
    return demand._replace(cost=min(demand.cost, _most(quota))) if isinstance(quota, Countable) else demand


def _unit(quota: Quota) -> str:
    return quota.unit if isinstance(quota, Countable | Adaptive) else CALLS


def _cost(quota: Quota, costs: Mapping[str, int]) -> int:
    """What a call costs under a quota; under one that has no permits, it is merely named."""
    if isinstance(quota, Concurrency) and quota.unit == CALLS:
        return 1
    return costs.get(quota.unit, 0) if isinstance(quota, Countable | Adaptive) else 1


def _scope(quota: Quota, lane: Lane, resource: str) -> Scope:
    # A quota for one resource is counted apart from the others even where it has the same permits.
    part = resource if quota.scope is QuotaScope.ENDPOINT else quota.resource or ""
    return Scope(lane.provider, "" if quota.scope is QuotaScope.PROVIDER else lane.connection, part)
