"""A change of a record, as a provider tells of it: in a webhook, or in a feed of changes."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.model.operation import Fields


@frozen
class Change:
    """A record changed, or went. Only ``record_id`` is always told; the rest may be missing."""

    record_id: str
    version: str | None = None
    """The version that the record has by it. Opaque, compared only for equality."""
    fields: Fields | None = field(default=None, repr=False)
    """The fields that the record has by it."""
    is_deleted: bool = False
    """The record is gone: a tombstone."""
