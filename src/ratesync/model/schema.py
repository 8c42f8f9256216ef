"""A resource as its provider describes it, and how that changed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen
from attrs.validators import gt


@frozen
class RemoteField:
    """A field as the provider describes it."""

    type: str
    """In the provider's words ("string", "picklist" ...); compared only for equality."""
    required: bool = False
    """A new record must have it."""
    choices: frozenset[str] | None = None
    """The only values that it can have, whole numbers as their digits. None: any."""
    max_length: int | None = None
    """Most characters. None: not told."""


@frozen
class RemoteSchema:
    """A resource as the provider describes it: its fields by their path in a record."""

    fields: Mapping[str, RemoteField]


class DriftKind(StrEnum):
    """How a field differs from before."""

    NEW = "new"
    """It is there now."""
    NEW_REQUIRED = "new_required"
    """It is there now, and new records must have it; or one that was there is required now."""
    GONE = "gone"
    """It is no longer there."""
    TYPE = "type"
    """It has another type."""
    SHORTER = "shorter"
    """It holds fewer characters than before."""
    CHOICES_NEW = "choices_new"
    """It can have values that it could not have before."""
    CHOICES_GONE = "choices_gone"
    """It can no longer have values that it could have."""


@frozen
class FieldDrift:
    """One difference."""

    path: str
    kind: DriftKind
    is_used: bool
    """The mapping reads or writes this field, or one around or inside it."""
    choices: tuple[str, ...] = ()
    """The values that came or went, sorted."""


class DriftPolicy(StrEnum):
    """What to do about a schema that changed."""

    EVOLVE = "evolve"
    """Go on, and take new fields and values as they come, as long as what the mapping uses is still there."""
    FREEZE = "freeze"
    """Stop until somebody has looked at it, whatever changed."""
    DISCARD = "discard"
    """Go on without what changed: new fields are not passed through, and a used field that changed is left alone."""


@frozen
class DriftDecision:
    """What to do with a resource until somebody has looked at it."""

    stops: bool
    """Its records wait: translating them could lose or spoil something."""
    left_out: frozenset[str]
    """Paths whose fields are neither read nor written."""
    reasons: tuple[FieldDrift, ...]
    """Why it stops, if it does."""


@frozen(kw_only=True)
class SchemaWatch:
    """That an engine looks whether a provider changed the schema of a resource, and what it does about it."""

    policy: DriftPolicy = field(default=DriftPolicy.EVOLVE, converter=DriftPolicy)
    """What to do about a change. Default: evolve."""
    connections: tuple[str, ...] = field(default=("default",), converter=tuple)
    """The connections to look at: accounts have fields of their own."""
    every: float = field(default=3_600.0, validator=gt(0))
    """Seconds between two looks, each of which is a call, whatever the number of workers. Default an hour."""
