"""The model adapter: all that an API can offer, for Kinto (https://docs.kinto-storage.org).

A test counts its lines of code: at most 60, the imports included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Unpack
from urllib.parse import urlencode

from ratesync.errors import CursorExpired, UnsupportedOperation
from ratesync.http import Accounts, NextLink
from ratesync.model.batch import ConditionalWrite
from ratesync.model.change import ChangePage
from ratesync.providers import Feed, HttpOptions, Listing, RequestBatch, Resource, RestProvider, Route
from ratesync.providers.row import needed_text
from ratesync.rules.match_value import json_forms
from ratesync.rules.paging import items_at

_BATCH = RequestBatch(size=25, prefix="/v1", undone_by=frozenset({409}))
_PAGES = NextLink(items_path="data")
_FEED = Feed(deleted_path="deleted", updated_path="last_modified")


def _having(path: str, values: Sequence[str]) -> Mapping[str, str]:
    if not re.fullmatch(r"\w+(\.\w+)*", path) or (len(forms := json_forms(values)) > 1 and "," in "".join(values)):
        raise UnsupportedOperation("Kinto cannot tell that field, or a comma in one of several values", path="values")
    return {f"{'eq' if len(forms) == 1 else 'in'}_{path}": ",".join(forms)}


_LISTING = Listing(pager=_PAGES, link_header="next-page", params={"_sort": "id"}, size_param="_limit", query=_having)


class KintoProvider(RestProvider):
    """Speaks to the collections of one bucket. A resource is a collection.

    Twenty-five operations go out in a call. A write that names a version, the record's ETag, is refused by Kinto if
    the record has another one. Records have ids of the client's choice, so that a create is safe to repeat. There is no
    upsert, as Kinto's PUT takes away the fields that it is not given.

    :param url: where the API begins, its version included: ``https://kinto.example/v1``.
    :param accounts: how to authenticate.
    :param bucket: the bucket's id.
    :param name: the provider's name, as operations give it.
    :param options: as for :class:`~ratesync.providers.HttpProvider`.
    """

    def __init__(
        self, url: str, accounts: Accounts, *, bucket: str, name: str = "kinto", **options: Unpack[HttpOptions]
    ) -> None:
        path = f"/buckets/{bucket}/collections/{{resource}}/records"
        shape = Resource(
            path=path,
            create=None,
            create_with_id=Route("PUT", path + "/{record_id}", {"If-None-Match": "*"}),
            # As a merge patch, or else Kinto replaces objects inside of a record whole.
            update=Route("PATCH", path + "/{record_id}", {"content-type": "application/merge-patch+json"}),
            envelope="data",
            version_path="last_modified",
            version_form='"{}"',
            current_path="details.existing",
            answers_with_record=True,
            id_form="[A-Za-z0-9][A-Za-z0-9_-]*",
            read_only={"id", "last_modified", "schema"},
            listing=_LISTING,
            changes=_FEED,
            schema_path=f"/buckets/{bucket}/collections/{{resource}}",
            schema_at="data.schema",
        )
        strong = ConditionalWrite.STRONG
        super().__init__(name, url, accounts, resources=shape, conditional_write=strong, batch=_BATCH, **options)

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes.

        Kinto remembers deletions for as long as the collection is there, and does not say when it was made anew. So
        each page comes with the collection's own version, and a cursor holds for one version: changing a collection's
        schema makes its cursors expire, too.
        """
        records = self.resource(resource).target(_FEED, connection, resource)
        since, _, known = (cursor or "").partition(".")
        query = urlencode({"_sort": "last_modified", "_limit": limit} | ({"_since": since} if cursor else {}))
        page, collection = await self.ask_together(connection, f"{records}?{query}", records.removesuffix("/records"))
        version, newest = needed_text(collection.json(), "data.last_modified"), page.headers.get("etag", "").strip('"')
        if cursor and (version != known or since > newest):
            raise CursorExpired("the collection was made anew, changed or put back to an earlier state: list it anew")
        rows = items_at(page.json(), "data")
        changes = tuple(_FEED.change(row, self.resource(resource).record_in(row)) for row in rows)
        cursor = f"{needed_text(rows[-1], 'last_modified') if rows else since or newest}.{version}"
        return ChangePage(changes, cursor, "next-page" in page.headers, self.feedback(page))
