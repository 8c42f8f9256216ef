"""What a call of the adapter costs: requests, tokens of the day's budget, and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratesync.model.inquiry import Inquiry
from ratesync.model.operation import Kind
from ratesync.model.quota import CALLS
from ratesync.providers.pipedrive.quotas import SEARCHES, TOKENS
from ratesync.providers.pipedrive.resource import Feed, PipedriveResource
from ratesync.providers.pipedrive.search import MOST_FOUND, MOST_TERMS

Charged = Mapping[str, int]


def is_joined(resource: PipedriveResource, kind: Kind, size: int) -> bool:
    """Tell whether operations go together in one request: reads do, where that takes fewer tokens."""
    return kind is Kind.READ and resource.reads_many and size * resource.prices.read > resource.prices.listing


def most(resource: PipedriveResource, kind: Kind | Inquiry, size: int) -> Charged:
    """What a call costs at most: with so many operations, or to find something out.

    Many reads are one request, and two more for deals that are not there: they may be archived. Everything else is a
    request for each operation. What searches find is read like that, too.
    """
    match kind:
        case Kind():
            return _operations(resource, kind, size)
        case Inquiry.FIND:
            return _search(resource, MOST_TERMS)
        case Inquiry.LOOKUP:  # the newest records are looked through before
            return _search(resource, 1, before=resource.prices.listing)
        case Inquiry.CHANGES:
            return _page(resource.changes(is_first=False))
        case _:  # of a description, too: hardly any has more fields than a page takes
            return _page(resource.listing if kind is Inquiry.LISTING else [resource.live])


def each(resource: PipedriveResource, kind: Kind) -> int:
    """Tokens for one operation by itself."""
    if kind is Kind.READ:
        return resource.prices.read
    return resource.prices.delete if kind is Kind.DELETE else resource.prices.write


def _operations(resource: PipedriveResource, kind: Kind, size: int) -> Charged:
    if is_joined(resource, kind, size):
        return {CALLS: len(resource.listing), TOKENS: sum(feed.cost for feed in resource.listing)}
    return {CALLS: size, TOKENS: size * each(resource, kind)}


def _page(feeds: Sequence[Feed]) -> Charged:
    return {CALLS: 1, TOKENS: max(feed.cost for feed in feeds)}


def _search(resource: PipedriveResource, terms: int, *, before: int = 0) -> Charged:
    read = _operations(resource, Kind.READ, MOST_FOUND)
    calls = terms + read[CALLS] + (1 if before else 0)
    return {CALLS: calls, TOKENS: before + terms * resource.prices.search + read[TOKENS], SEARCHES: terms}
