"""What a call of the adapter costs: requests, and tokens of the day's budget."""

from __future__ import annotations

from collections.abc import Mapping

from ratesync.model.operation import Kind
from ratesync.model.quota import CALLS
from ratesync.providers.pipedrive.quotas import TOKENS
from ratesync.providers.pipedrive.resource import PipedriveResource

Charged = Mapping[str, int]


def is_joined(resource: PipedriveResource, kind: Kind, size: int) -> bool:
    """Tell whether operations go together in one request: reads do, where that takes fewer tokens."""
    return kind is Kind.READ and resource.reads_many and size * resource.prices.read > resource.prices.listing


def most(resource: PipedriveResource, kind: Kind, size: int) -> Charged:
    """What a call with so many operations costs at most.

    Many reads are one request, and two more for deals that are not there: they may be archived. Everything else is a
    request for each operation.
    """
    if is_joined(resource, kind, size):
        return {CALLS: len(resource.listing), TOKENS: sum(feed.cost for feed in resource.listing)}
    return {CALLS: size, TOKENS: size * each(resource, kind)}


def each(resource: PipedriveResource, kind: Kind) -> int:
    """Tokens for one operation by itself."""
    if kind is Kind.READ:
        return resource.prices.read
    return resource.prices.delete if kind is Kind.DELETE else resource.prices.write
