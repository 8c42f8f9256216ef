"""Looking for records by what they hold.

``GET /persons/search`` and its like rather than ``/itemSearch/field``: they need no scope beyond that of the records
(https://pipedrive.readme.io/docs/marketplace-scopes-and-permissions-explanations).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratesync.errors import InvalidResponse, UnsupportedOperation
from ratesync.http.payload import json_array, json_object
from ratesync.model.record import Record
from ratesync.providers.pipedrive.record import id_of
from ratesync.providers.pipedrive.resource import CUSTOM, PipedriveResource

MOST_FOUND = 100
"""Records that are found at a time: so many can be read by their ids in one request."""
MOST_TERMS = 10
"""Values that are searched for in one call: as many searches as Pipedrive's burst allows."""


def search_params(resource: PipedriveResource, path: str, values: Sequence[str]) -> list[dict[str, str]]:
    """The parameters of the searches for values at a path: one for each, as Pipedrive looks for one at a time.

    :raises UnsupportedOperation: Pipedrive does not search there, or there are too many values.
    """
    field = CUSTOM if path.startswith(f"{CUSTOM}.") else resource.search.get(path.removesuffix(".value"))
    if field is None or not resource.search:
        raise UnsupportedOperation(f"Pipedrive does not search by {path!r} here", path="path")
    terms = {value.casefold(): value for value in values if value.strip()}
    if len(terms) > MOST_TERMS:
        raise UnsupportedOperation(f"each value takes a search of its own: ask for {MOST_TERMS} at most", path="values")
    common = {"fields": field, "exact_match": "true", "limit": str(MOST_FOUND)}
    return [{"term": term, **common} for term in terms.values()]


def found_ids(body: dict[str, Any]) -> list[str]:
    """The ids that a search has found, each once.

    :raises InvalidResponse: they are too many for one page, or this is no answer to a search.
    """
    if (json_object(body.get("additional_data")) or {}).get("next_cursor"):
        raise InvalidResponse(f"more than {MOST_FOUND} records have that value")
    data = json_object(body.get("data"))
    if data is None or not isinstance(data.get("items"), list):
        raise InvalidResponse("the answer to a search has no items")
    ids = [id_of((json_object(hit) or {}).get("item")) for hit in json_array(data["items"])]
    return list(dict.fromkeys(identity for identity in ids if identity is not None))


def matching(records: Sequence[Record], path: str, values: Sequence[str]) -> tuple[Record, ...]:
    """Of the records found, those that hold a value there: searches look through all custom fields at once."""
    if not path.startswith(f"{CUSTOM}."):
        return tuple(records)
    wanted = {value.casefold() for value in values}
    return tuple(record for record in records if _text_at(record, path).casefold() in wanted)


def _text_at(record: Record, path: str) -> str:
    held: Any = record.fields
    for name in path.split("."):
        held = (json_object(held) or {}).get(name)
    within = json_object(held)
    held = held if within is None else within.get("value")
    return "" if held is None else str(held)
