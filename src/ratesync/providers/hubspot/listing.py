"""Reading pages of a listing."""

from __future__ import annotations

from typing import Any

from ratesync.errors import PagingBroken
from ratesync.model.change import RecordPage
from ratesync.providers.hubspot.record import next_after, read_records


def read_listing(body: dict[str, Any], page: str | None) -> RecordPage:
    """What the answer for the page says.

    :raises InvalidResponse: it is no page. :raises PagingBroken: it names the page that was asked for as the next.
    """
    records, after = read_records(body), next_after(body)
    if after is not None and after == page:
        raise PagingBroken("the listing names the page that was asked for as the next", fault="position", page=1)
    return RecordPage(tuple(records), after)
