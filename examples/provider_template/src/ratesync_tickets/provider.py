"""The adapter: what Tickets has that is not as everywhere else."""

from __future__ import annotations

from typing import Unpack

from ratesync import ConditionalWrite
from ratesync.http import Accounts, Cursor
from ratesync.providers import CREATE_ONCE, Feed, HttpOptions, Listing, Resource, RestProvider, equal_to

PAGES = Cursor(param="cursor", next_path="next_cursor", items_path="data")
RECORDS = Resource(
    create=None,  # ids are of the client's choice, so that a create is safe to repeat
    create_with_id=CREATE_ONCE,
    version_path="version",
    version_form='"{}"',
    read_only={"id", "version", "updated_at", "deleted"},
    listing=Listing(pager=PAGES, size_param="limit", query=equal_to),
    changes=Feed(path="/{resource}/changes", pager=PAGES, size_param="limit", deleted_path="deleted"),
)


class TicketsProvider(RestProvider):
    """Speaks to Tickets: ``TicketsProvider(Account(Bearer("...")))``."""

    def __init__(
        self, accounts: Accounts, *, url: str = "https://tickets.example/v1", **options: Unpack[HttpOptions]
    ) -> None:
        versions = ConditionalWrite.STRONG
        super().__init__("tickets", url, accounts, resources=RECORDS, conditional_write=versions, **options)
