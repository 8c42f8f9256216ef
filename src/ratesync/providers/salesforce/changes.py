"""Reading pages of changes: which query to make, and what its answer says.

Each page is the first one of its own query, behind the last record of the page before. Salesforce's own positions
(``nextRecordsUrl``) are not used: they run out, and a cursor must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from ratesync.errors import InvalidResponse, PagingBroken
from ratesync.model.change import Change
from ratesync.providers.client import Ask
from ratesync.providers.row import instant_in
from ratesync.providers.salesforce.record import has_more, read_rows, record_of
from ratesync.providers.salesforce.requests import query
from ratesync.providers.salesforce.sobject import DELETED, ID, SObject
from ratesync.providers.salesforce.soql import changed_behind, page_max, select
from ratesync.rules.time_cursor import TimeCursor


@frozen
class Page:
    """What one page told."""

    changes: tuple[Change, ...]
    cursor: str
    has_more: bool


def ask(name: str, described: SObject, cursor: TimeCursor, *, limit: int) -> Ask:
    """The request for the page behind a cursor."""
    more = changed_behind(described, cursor.since, cursor.after_id)
    also = (DELETED,) if described.tombstones else ()
    return query(select(described, name, more, limit=limit, also=also), deleted=described.tombstones)


def read_page(body: dict[str, Any], described: SObject, cursor: TimeCursor, *, limit: int, lag: float) -> Page:
    """What the answer to :func:`ask` says.

    :raises InvalidResponse: it is no page. :raises PagingBroken: it does not lead on from its position.
    """
    rows = read_rows(body)
    places = [(_changed_at(row, described), str(row[ID])) for row in rows]
    _check_order(places, cursor)
    changes = tuple(_change(row, described) for row in rows)
    if not has_more(body, rows, max(1, min(limit, page_max(described)))):
        return Page(changes, cursor.next_pass(lag), has_more=False)
    last_at, last_id = places[-1]
    return Page(changes, cursor.at(last_at, last_id).written(), has_more=True)


def _check_order(places: Sequence[tuple[datetime, str]], cursor: TimeCursor) -> None:
    """Make sure that the page lies behind the cursor. How ids are ordered is Salesforce's own matter."""
    instants = [at for at, _ in places]
    if instants != sorted(instants) or len({identity for _, identity in places}) < len(places):
        raise PagingBroken("Salesforce's answer is not in the order that was asked for", fault="shifted", page=1)
    if any(at < cursor.since or (at, identity) == (cursor.since, cursor.after_id) for at, identity in places):
        raise PagingBroken("Salesforce's answer does not lie behind the cursor", fault="position", page=1)


def _change(row: dict[str, Any], described: SObject) -> Change:
    record = record_of(row, described)
    if described.tombstones and row.get(DELETED) is True:
        return Change(record.record_id, record.version, is_deleted=True)
    return Change(record.record_id, record.version, record.fields)


def _changed_at(row: dict[str, Any], described: SObject) -> datetime:
    at = instant_in(row.get(described.changed_field))
    if at is None:
        raise InvalidResponse(f"a record has no instant at {described.changed_field}: is it the right field?")
    return at
