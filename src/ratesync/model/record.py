"""A record as a provider holds it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ratesync.model.operation import Fields


@frozen
class Record:
    """A record's fields and version, in the provider's terms."""

    record_id: str
    fields: Fields = field(repr=False)
    version: str | None = None
    """The provider's ETag or revision; opaque, compared only for equality."""
    changed_at: float | None = None
    """When it was last changed, in seconds since the epoch by the clock of whoever holds it; None: not told."""
    field_times: Mapping[str, float] = field(factory=dict[str, float])
    """The same for single fields, where that is told: by name, or by path (``"properties.email"``)."""
