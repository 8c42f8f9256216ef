"""The contract of a lens: a mapping as two-way sync needs it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ratesync.model.difference import View
from ratesync.model.operation import Fields


@runtime_checkable
class Lens(Protocol):
    """Translates a provider's record to the view that both sides share, and back.

    :class:`ratesync.mapping.Mapping` is one. What it raises sets the one record aside. As that one, it may have
    ``match_keys``, which :class:`~ratesync.sync.Binding` takes if it is given none, and ``places``.
    """

    def get(self, record: Fields) -> View:
        """The view of a provider's record."""
        ...

    def put(self, record: Fields, view: View) -> Fields:
        """The record, changed so that it has this view: all of it. What the lens does not know stays."""
        ...

    def create(self, view: View) -> Fields:
        """A new record of the provider's for this view."""
        ...
