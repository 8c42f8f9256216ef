"""Finding records by what they hold, creates by their mark, and the fields that records have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ratesync.errors import InvalidResponse, PagingBroken, UnsupportedOperation
from ratesync.http.payload import json_array
from ratesync.model.change import RecordPage
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Outcome, Unknown
from ratesync.model.schema import RemoteSchema
from ratesync.providers.pipedrive.client import Client
from ratesync.providers.pipedrive.fields import read_schema
from ratesync.providers.pipedrive.page import MOST_ROWS, read_page
from ratesync.providers.pipedrive.reads import fetch
from ratesync.providers.pipedrive.record import id_of, is_gone, mark_of, records_of
from ratesync.providers.pipedrive.resource import CUSTOM, PipedriveResource
from ratesync.providers.pipedrive.search import MOST_FOUND, found_ids, matching, search_params
from ratesync.providers.pipedrive.writes import mark_for

_MOST_PAGES = 20
"""Pages of fields, 500 on each."""
_NEWEST = {"sort_by": "add_time", "sort_direction": "desc", "limit": str(MOST_ROWS)}


async def find_records(
    client: Client, resource: PipedriveResource, path: str, values: Sequence[str], key: str | None
) -> RecordPage:
    """All records that hold one of the values at the path.

    :raises ProviderError: a request failed.
    """
    rows = await _searched(client, resource, search_params(resource, path, values))
    return RecordPage(matching(records_of(rows, key), path, values), feedback=client.feedback)


async def look_up(client: Client, resource: PipedriveResource, operation: Operation, key: str | None) -> Outcome | None:
    """Whether a create was applied.

    The newest 500 records are looked through first, as a listing does not lag like a search. None of them, and nothing
    that a search finds, was made by it: it surely was not applied, unless more than 500 records were made within the
    time that a search lags.

    :raises ProviderError: a request failed.
    """
    if key is None:
        return Unknown("creates of this resource are not marked: name a field for it in `identity_fields`")
    mark = mark_for(operation)
    prices = resource.prices
    answer = (await client.ask("GET", resource.path, cost=prices.listing, params=_NEWEST)).checked()
    found = _marked(json_array(answer.data), key, mark)
    if not found:
        path = f"{CUSTOM}.{key}"
        found = _marked(await _searched(client, resource, search_params(resource, path, [mark])), key, mark)
    if len(found) > 1:
        return Unknown(f"{len(found)} records have the mark of this create")
    return Applied(found.pop()) if found else None


async def read_fields(client: Client, resource: PipedriveResource) -> RemoteSchema:
    """The fields that records of the resource have.

    :raises UnsupportedOperation: nothing describes them. :raises ProviderError: a request failed.
    """
    if resource.fields_path is None:
        raise UnsupportedOperation("Pipedrive does not describe this record type", path="resource")
    rows: list[Any] = []
    page: str | None = None
    for _ in range(_MOST_PAGES):
        params = _fields_params(resource, page)
        answer = await client.ask("GET", resource.fields_path, cost=resource.prices.listing, params=params)
        told = read_page(resource, page, MOST_ROWS, answer.checked().body)
        rows += told.rows
        page = told.next_page
        if page is None:
            return read_schema(resource, rows)
    raise PagingBroken(f"there are more than {_MOST_PAGES} pages of fields", fault="endless", page=_MOST_PAGES)


async def _searched(client: Client, resource: PipedriveResource, searches: Sequence[Mapping[str, str]]) -> list[Any]:
    """The whole records that searches find: they tell but a part of each."""
    path, cost = f"{resource.path}/search", resource.prices.search
    ids: dict[str, None] = {}
    for params in searches:
        answer = await client.ask("GET", path, cost=cost, params=params, is_search=True)
        ids |= dict.fromkeys(found_ids(answer.checked().body))
    if not ids:
        return []
    if len(ids) > MOST_FOUND:
        raise InvalidResponse(f"more than {MOST_FOUND} records have one of those values")
    rows, failed = await fetch(client, resource, list(ids))
    if failed is not None:
        failed.checked()
    return rows


def _marked(rows: Sequence[Any], key: str, mark: str) -> set[str]:
    """The ids of the rows that have the mark and are not gone."""
    ids = (id_of(row) for row in rows if mark_of(row, key) == mark and not is_gone(row))
    return {identity for identity in ids if identity is not None}


def _fields_params(resource: PipedriveResource, page: str | None) -> dict[str, str]:
    more = {"include_fields": "required_fields"} if resource.tells_required else {}
    return {"limit": str(MOST_ROWS), **more, **({} if page is None else {"cursor": page})}
