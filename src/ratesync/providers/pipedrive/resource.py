"""The record types of Pipedrive's API: where they are, what can be asked of them, and what that costs.

From the API's OpenAPI documents (https://developers.pipedrive.com/docs/api/v1/openapi-v2.yaml and ``openapi.yaml``),
where ``x-token-cost`` is what a request takes of the day's tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from ratesync.errors import UnsupportedOperation

CUSTOM = "custom_fields"
"""Where a record has the fields of an account's own, by their key of 40 hexadecimal digits."""

_RECORD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@frozen(kw_only=True)
class Prices:
    """Tokens that one request takes of the day's budget."""

    read: int = 1
    listing: int = 10
    archive: int = 20
    write: int = 5
    delete: int = 3
    search: int = 20


OLD_PRICES = Prices(read=2, listing=20, archive=40, write=10, delete=6, search=40)
"""Those of version 1."""


@frozen(kw_only=True)
class Feed:
    """One listing that a resource's records are found in."""

    path: str
    params: Mapping[str, str] = field(factory=dict[str, str])
    cost: int = 10
    is_of_deleted: bool = False
    """Its records are gone."""
    is_again: bool = False
    """Of a whole listing: a second look at what has changed since it began."""


@frozen(kw_only=True)
class PipedriveResource:
    """A record type. Those that are not ready here can be described in the same way."""

    path: str
    """As in ``/api/v2/persons``."""
    fields_path: str | None = None
    """Where its fields are described. None: nowhere."""
    tells_required: bool = True
    """The description tells which fields are required."""
    archive_path: str | None = None
    """Where its archived records are, which the listing leaves out."""
    event: str
    """What webhooks call it."""
    reads_many: bool = True
    """The listing takes ``ids``."""
    has_changes: bool = True
    """The listing takes ``updated_since``."""
    tells_deleted: bool = False
    """The listing takes ``status=deleted``: what was deleted in the last 30 days."""
    is_paged_by_offset: bool = False
    """As in version 1; False: by cursor."""
    update_method: str = "PATCH"
    search: Mapping[str, str] = field(factory=dict[str, str])
    """What search calls a field, by its path in a record."""
    required: frozenset[str] = frozenset()
    """What a new record must have."""
    prices: Prices = Prices()

    def record_path(self, record_id: str | None) -> str:
        """The path of one record.

        :raises UnsupportedOperation: that is no id of Pipedrive's.
        """
        if record_id is None or not _RECORD_ID.fullmatch(record_id):
            raise UnsupportedOperation("Pipedrive's ids are numbers, or UUIDs", path="record_id")
        return f"{self.path}/{record_id}"

    @property
    def live(self) -> Feed:
        """The records that are there and not archived."""
        return Feed(path=self.path, cost=self.prices.listing)

    @property
    def listing(self) -> tuple[Feed, ...]:
        """The listings that have every record between them, in the order to read them.

        A record may leave the archive after the live ones were read and before the archive was: so the live ones that
        changed meanwhile are read again.
        """
        if self.archive_path is None:
            return (self.live,)
        archive = Feed(path=self.archive_path, cost=self.prices.archive)
        return (self.live, archive, Feed(path=self.path, cost=self.prices.listing, is_again=True))

    def changes(self, *, is_first: bool) -> tuple[Feed, ...]:
        """The listings to ask for changes. The first time, what was deleted before is nobody's concern."""
        feeds = [self.live]
        if self.archive_path is not None:
            feeds.append(Feed(path=self.archive_path, cost=self.prices.archive))
        if self.tells_deleted and not is_first:
            deleted = {"status": "deleted"}
            feeds.append(Feed(path=self.path, params=deleted, cost=self.prices.listing, is_of_deleted=True))
        return tuple(feeds)


def _contacts(name: str, event: str, search: Mapping[str, str]) -> PipedriveResource:
    return PipedriveResource(
        path=f"/api/v2/{name}",
        fields_path=f"/api/v2/{event}Fields",
        event=event,
        search=search,
        required=frozenset({"name"}),
    )


PERSONS = _contacts("persons", "person", {"name": "name", "emails": "email", "phones": "phone"})
ORGANIZATIONS = _contacts("organizations", "organization", {"name": "name", "address": "address"})
DEALS = PipedriveResource(
    path="/api/v2/deals",
    fields_path="/api/v2/dealFields",
    archive_path="/api/v2/deals/archived",
    event="deal",
    tells_deleted=True,
    search={"title": "title"},
    required=frozenset({"title"}),
)
ACTIVITIES = PipedriveResource(
    path="/api/v2/activities",
    fields_path="/api/v2/activityFields",
    tells_required=False,
    event="activity",
)
PRODUCTS = PipedriveResource(
    path="/api/v2/products",
    fields_path="/api/v2/productFields",
    tells_required=False,
    event="product",
    has_changes=False,
    search={"name": "name", "code": "code"},
    required=frozenset({"name"}),
)
LEADS = PipedriveResource(
    path="/api/v1/leads",
    archive_path="/api/v1/leads/archived",
    event="lead",
    reads_many=False,
    has_changes=False,
    is_paged_by_offset=True,
    required=frozenset({"title"}),
    prices=OLD_PRICES,
)
"""Of version 1, as version 2 has none."""
NOTES = PipedriveResource(
    path="/api/v1/notes",
    event="note",
    reads_many=False,
    has_changes=False,
    is_paged_by_offset=True,
    update_method="PUT",
    required=frozenset({"content"}),
    prices=OLD_PRICES,
)
"""Of version 1, as version 2 has none."""

RESOURCES: Mapping[str, PipedriveResource] = {"persons": PERSONS, "organizations": ORGANIZATIONS, "deals": DEALS}
"""What a provider knows unless it is told otherwise."""
