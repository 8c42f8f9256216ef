"""Finding records by the values of a property."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratesync.errors import InvalidResponse, UnsupportedOperation
from ratesync.http.payload import json_array
from ratesync.model.change import RecordPage
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Outcome, Unknown
from ratesync.model.record import Record
from ratesync.providers.client import Ask, Client
from ratesync.providers.hubspot.changes import fits
from ratesync.providers.hubspot.object_type import ObjectType, is_name
from ratesync.providers.hubspot.problem import Problem
from ratesync.providers.hubspot.properties import all_agree, plain, written
from ratesync.providers.hubspot.record import next_after, properties_of, read_records
from ratesync.providers.hubspot.requests import BATCH_MAX, SEARCH_MAX, read_by_ids, read_by_value, search
from ratesync.providers.lookup import another_found

MOST_CALLS = 1 + -(-SEARCH_MAX // BATCH_MAX)
"""Calls that finding records takes at most: a search, and reads of what it has found."""

_PREFIX = "properties."
_ID = "hs_object_id"


async def find_records(
    client: Client, resource: str, described: ObjectType, path: str, values: Sequence[str]
) -> RecordPage:
    """All records that have one of the values, by a search.

    :raises UnsupportedOperation: the path is no property, or the values are too long for one search.
    :raises InvalidResponse: more records have them than one page takes.
    """
    name = _ID if path == "id" else path.removeprefix(_PREFIX)
    if (path != "id" and not path.startswith(_PREFIX)) or not is_name(name):
        raise UnsupportedOperation("HubSpot searches by properties, such as properties.email", path="path")
    if not values:
        return RecordPage((), feedback=client.feedback)
    whole = _search(resource, described, name, values, (*described.asked, name) if described.asked else ())
    request = whole if fits(whole) else _search(resource, described, name, values, (name,))
    if not fits(request):
        raise UnsupportedOperation("too many values for one search: give fewer of them", path="values")
    body = await client.read(request)
    found = read_records(body)
    if next_after(body) is not None:
        raise InvalidResponse(f"more than {SEARCH_MAX} records have one of the values: ask for fewer of them")
    if request is not whole:
        found = await _read_whole(client, resource, described, found)
    return RecordPage(tuple(found), feedback=client.feedback)


def _search(resource: str, described: ObjectType, name: str, values: Sequence[str], properties: Sequence[str]) -> Ask:
    # For text the values must be in lower case, for options as they are.
    spelt = list(dict.fromkeys(spelling for value in values for spelling in (value, value.lower())))
    filters = [{"propertyName": name, "operator": "IN", "values": spelt}]
    return search(resource, described, filters, properties=list(dict.fromkeys(properties)), sort=None, limit=SEARCH_MAX)


async def _read_whole(client: Client, resource: str, described: ObjectType, records: Sequence[Record]) -> list[Record]:
    """The records with all properties to read, where there are too many of those to ask a search for."""
    whole: list[Record] = []
    for first in range(0, len(records), BATCH_MAX):
        ids = [record.record_id for record in records[first : first + BATCH_MAX]]
        whole += read_records(await client.read(read_by_ids(resource, described, ids)))
    return whole


async def look_up(client: Client, resource: str, described: ObjectType, operation: Operation) -> Outcome | None:
    """Whether a create was applied, by its value of the unique property. No search is made, so nothing lags behind.

    ``Unknown`` where it has no such value. ``Conflict`` where the record with that value has others than it wrote: that
    may be an older record, for which HubSpot has refused it, or its own that somebody has changed since.
    """
    unique, sent = described.unique_property, written(operation.fields)
    value = sent.get(unique or "", "").strip()
    if unique is None or not value:
        return Unknown("it cannot be looked up: it has no value of a unique property")
    body = await client.read(read_by_value(resource, described, value, sent))
    records = read_records(body)
    if not records and _is_missing(body, value):
        return None
    if len(records) != 1:
        return Unknown("HubSpot did not say whether there is a record with its unique value")
    identity = records[0].record_id
    if not all_agree(sent, properties_of(records[0])):
        return another_found(identity, "unique value")
    return Applied(record_id=identity)


def _is_missing(body: dict[str, Any], value: str) -> bool:
    """Tell whether the answer to a read says that no record has the value."""
    problems = [Problem.read(error) for error in json_array(body.get("errors"))]
    return any(problem.is_not_found and plain(value) in {plain(name) for name in problem.ids} for problem in problems)
