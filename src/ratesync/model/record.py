"""A record as a provider holds it."""

from __future__ import annotations

from attrs import field, frozen

from ratesync.model.operation import Fields


@frozen
class Record:
    """A record's fields and version, in the provider's terms."""

    record_id: str
    fields: Fields = field(repr=False)
    version: str | None = None
    """The provider's ETag or revision; opaque, compared only for equality."""
