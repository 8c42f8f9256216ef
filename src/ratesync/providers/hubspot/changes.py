"""Reading pages of changes: which search to make, and what its answer says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ratesync.errors import InvalidResponse, PagingBroken
from ratesync.http.payload import encode_json
from ratesync.model.change import Change
from ratesync.model.record import Record
from ratesync.providers.client import Ask
from ratesync.providers.hubspot.object_type import ObjectType
from ratesync.providers.hubspot.position import Position, milliseconds
from ratesync.providers.hubspot.record import next_after, properties_of, read_records
from ratesync.providers.hubspot.requests import listing, search
from ratesync.providers.row import instant_in

LONGEST_SEARCH = 3_000
"""Characters of a search's body that HubSpot takes."""

_ID = "hs_object_id"

Page = tuple[list[Change], Position | None]
"""Changes, and where to go on in this pass; None: it has met the end of this part."""


def ask(resource: str, described: ObjectType, position: Position, *, limit: int) -> tuple[Ask, bool]:
    """The request for the page at a position, and whether it asks for all properties: a search must not be too long."""
    if position.is_archive:
        return listing(resource, described, position.after, limit=limit, archived=True), False
    if described.properties:
        whole = _search(resource, described, position, (*described.asked, described.changed_property), limit=limit)
        if fits(whole):
            return whole, True
    return _search(resource, described, position, described.marks, limit=limit), False


def fits(request: Ask) -> bool:
    """Tell whether HubSpot takes a search as long as that."""
    return len(encode_json(request.json)) <= LONGEST_SEARCH


def _search(resource: str, described: ObjectType, position: Position, properties: Sequence[str], *, limit: int) -> Ask:
    at = str(milliseconds(position.since))
    changed = described.changed_property
    filters: list[dict[str, Any]] = [{"propertyName": changed, "operator": "GTE", "value": at}]
    if position.after_id is not None:
        filters += [
            {"propertyName": changed, "operator": "LTE", "value": at},
            {"propertyName": _ID, "operator": "GT", "value": str(position.after_id)},
        ]
    sort = changed if position.after_id is None else _ID
    return search(resource, described, filters, properties=list(dict.fromkeys(properties)), sort=sort, limit=limit)


def read_page(body: dict[str, Any], described: ObjectType, position: Position, *, is_whole: bool) -> Page:
    """What the answer to :func:`ask` says.

    :param is_whole: the records' properties were asked for, so the changes tell their fields.
    :raises InvalidResponse: it is no page. :raises PagingBroken: it does not lead on from its position.
    """
    if position.is_archive:
        return _read_archive(body, position)
    records = read_records(body)
    has_more = next_after(body) is not None
    if has_more and not records:
        raise PagingBroken("a page without records names a next one", fault="position", page=1)
    if position.after_id is not None:
        return _read_instant(records, position, has_more=has_more, is_whole=is_whole)
    dated = [(_changed_at(record, described), record) for record in records]
    if any(at < _floored(position.since) for at, _ in dated) or [at for at, _ in dated] != sorted(
        at for at, _ in dated
    ):
        raise PagingBroken("HubSpot's search is not in the order that was asked for", fault="shifted", page=1)
    if not has_more:
        return [_change(record, is_whole=is_whole) for record in records], None
    first, last = dated[0][0], dated[-1][0]
    if first == last:
        # One instant fills the page, so that its records must be told apart by their ids.
        return [], position.among(last, 0)
    # The last instant's records may go on behind the page: they are read together, from the next page on.
    return [_change(record, is_whole=is_whole) for at, record in dated if at < last], position.at(last)


def _read_instant(records: Sequence[Record], position: Position, *, has_more: bool, is_whole: bool) -> Page:
    changes = [_change(record, is_whole=is_whole) for record in records]
    if not has_more:
        return changes, position.past_instant()
    ids = [_number(record) for record in records]
    if ids != sorted(set(ids)) or ids[0] <= (position.after_id or 0):
        raise PagingBroken("HubSpot's search is not in the order of ids that was asked for", fault="shifted", page=1)
    return changes, position.among(position.since, ids[-1])


def _read_archive(body: dict[str, Any], position: Position) -> Page:
    changes: list[Change] = []
    for record in read_records(body):
        went_at = instant_in(record.fields.get("archivedAt"))
        if went_at is None or went_at >= position.from_at:
            changes.append(Change(record.record_id, is_deleted=True))
    after = next_after(body)
    if after is None:
        return changes, None
    if after == position.after:
        raise PagingBroken("the list of archived records names the page that was asked for", fault="position", page=1)
    return changes, position.in_archive(after)


def _change(record: Record, *, is_whole: bool) -> Change:
    return Change(record.record_id, record.version, record.fields if is_whole else None)


def _changed_at(record: Record, described: ObjectType) -> datetime:
    """When the record changed, in whole milliseconds, which is how filters have it."""
    at = instant_in(properties_of(record).get(described.changed_property))
    if at is None:
        raise InvalidResponse(f"a record has no instant at {described.changed_property}: is it the right property?")
    return _floored(at)


def _floored(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _number(record: Record) -> int:
    if not (record.record_id.isascii() and record.record_id.isdecimal()):
        raise InvalidResponse("a record's id is not a number")
    return int(record.record_id)
