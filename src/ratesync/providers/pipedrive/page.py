"""The rows of a listing's page, and where the next one is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from ratesync.errors import CursorExpired
from ratesync.providers.pipedrive.resource import PipedriveResource
from ratesync.rules.paging import Content, Cursor, Offset, Pager, Trail, items_at, step

MOST_ROWS = 500
"""Rows of a page, at most: https://pipedrive.readme.io/docs/core-api-concepts-pagination."""

_FEWEST = 2
"""Pages by offset overlap by one row, so that it is noticed when rows move."""


@frozen
class Rows:
    """One page."""

    rows: Sequence[Any]
    next_page: str | None


def ask_page(resource: PipedriveResource, page: str | None, limit: int) -> dict[str, str]:
    """The parameters that ask for a page.

    :raises CursorExpired: there is no such page.
    """
    size = str(size_of(resource, limit))
    if not resource.is_paged_by_offset:
        return {"limit": size, **({} if page is None else {"cursor": page})}
    try:
        return dict(_pager(resource, size).ask(page).params)
    except ValueError:
        raise CursorExpired("this is no position of a listing of Pipedrive's: list all records anew") from None


def read_page(resource: PipedriveResource, page: str | None, limit: int, body: dict[str, Any]) -> Rows:
    """The page that was answered. Version 1 writes null for no rows.

    :raises PagingBroken: the next page is the same one, or rows have moved between two pages.
    :raises InvalidResponse: there are no rows in it.
    """
    if body.get("data") is None and "data" in body:
        body = {**body, "data": []}
    trail = Trail()
    if page is not None:
        trail.leave(page)
    content = Content(items_at(body, "data"), body, "")
    return Rows(content.items, step(_pager(resource, str(size_of(resource, limit))), page, content, trail))


def size_of(resource: PipedriveResource, limit: int) -> int:
    """How many rows to ask for."""
    return min(max(limit, _FEWEST if resource.is_paged_by_offset else 1), MOST_ROWS)


def _pager(resource: PipedriveResource, size: str) -> Pager:
    if not resource.is_paged_by_offset:
        return Cursor(next_path="additional_data.next_cursor", items_path="data")
    return Offset(
        param="start",
        limit=int(size),
        items_path="data",
        more_path="additional_data.pagination.more_items_in_collection",
        overlap_id="id",
    )
