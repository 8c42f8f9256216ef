"""A resource as its provider describes it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen
class RemoteField:
    """A field as the provider describes it."""

    type: str
    """In the provider's words ("string", "picklist" ...); compared only for equality."""
    required: bool = False
    """A new record must have it."""
    choices: frozenset[str] | None = None
    """The only values that it can have. None: any."""
    max_length: int | None = None
    """Most characters. None: not told."""


@frozen
class RemoteSchema:
    """A resource as the provider describes it: its fields by their path in a record."""

    fields: Mapping[str, RemoteField]
