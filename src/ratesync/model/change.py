"""Changes of records and listings of them, as a provider tells of them: in webhooks, feeds and pages."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.operation import Fields
from ratesync.model.record import Record


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


@frozen
class ChangePage:
    """One page of a feed of changes: what one call told."""

    changes: tuple[Change, ...]
    """In the feed's order. A change may come again on a later page or with a later pull; none may be left out."""
    cursor: str = field(repr=False)
    """The position behind this page: give it to the next pull. Opaque to all but the adapter."""
    has_more: bool
    """There is more to pull now. False: wait until something changes."""
    feedback: Feedback = NO_FEEDBACK


@frozen
class RecordPage:
    """One page of records: what one call told."""

    records: tuple[Record, ...]
    next_page: str | None = field(default=None, repr=False)
    """The position of the page behind this one, opaque to all but the adapter; None: this was the last."""
    feedback: Feedback = NO_FEEDBACK
