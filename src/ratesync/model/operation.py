"""An operation: an explicit intent on one record at a provider."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict, Unpack

from attrs import field, frozen

from ratesync.model.lane import Lane

Fields = Mapping[str, Any]
"""A record's fields: a JSON object (str keys; str, int, finite float, bool, None, list and dict values)."""


class Kind(StrEnum):
    """What an operation does to its record."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


class OperationState(StrEnum):
    """Where an operation stands in its life; :mod:`ratesync.rules.lifecycle` has the table of moves."""

    SCHEDULED = "scheduled"
    """Waits for its ``not_before`` instant."""
    AVAILABLE = "available"
    """May be claimed as soon as its lane and its record allow it."""
    LEASED = "leased"
    """A worker holds it."""
    RETRYABLE = "retryable"
    """Was attempted at least once and waits for its next attempt."""
    COMPLETED = "completed"
    """Applied at the provider, or folded into one that was."""
    DEAD = "dead"
    """Will not be retried by itself: a dead letter."""
    CANCELLED = "cancelled"
    """Taken back before it was carried out."""


class Options(TypedDict, total=False):
    """What may be said of an operation of any kind, by keyword. :class:`Operation` explains each."""

    connection: str
    id: str | None
    key: str | None
    priority: int
    not_before: datetime | None
    deadline: datetime | None
    idempotency_key: str | None
    correlation_id: str | None
    if_version: str | None


@frozen(kw_only=True)
class Operation:
    """An explicit intent on one record: create, read, update, upsert or delete.

    Build it with :meth:`create`, :meth:`read`, :meth:`update`, :meth:`upsert` or :meth:`delete`. Nothing is checked
    here: :meth:`ratesync.SyncEngine.submit` checks everything at once and names the place of a mistake.
    """

    provider: str
    """Name of the provider, as its adapter gives it ("hubspot")."""
    resource: str
    """Record type at the provider ("contacts")."""
    kind: Kind
    record_id: str | None = None
    """The record at the provider. For a create: an id chosen by the client, or None if the provider assigns it."""
    fields: Fields = field(factory=dict[str, Any], repr=False)
    """The fields to write, in the host's own terms; the transformer turns them into the provider's."""
    connection: str = "default"
    """The authorised account at the provider. Provider and connection together are the operation's lane."""
    id: str | None = None
    """Unique id. Assigned at submit when None. Submitting the same id twice enqueues once."""
    key: str | None = None
    """Operations of one lane and key are carried out in order, one at a time. Default: resource and record id; for a
    create without a record id: the operation alone."""
    priority: int = 0
    """Higher goes first. One step is worth a fixed number of seconds of waiting, so low priority never starves."""
    not_before: datetime | None = None
    """Not carried out before this instant (aware datetime)."""
    deadline: datetime | None = None
    """Dead-lettered instead of attempted after this instant (aware datetime)."""
    idempotency_key: str | None = None
    """Sent to providers that honour such keys; the same on every attempt. Default: the operation's id. Where given, a
    second operation of the same lane with the same key is taken for the first one and not enqueued."""
    correlation_id: str | None = None
    """Carried along unchanged for the host's own tracing."""
    if_version: str | None = None
    """Write only if the record still has this version (its ETag or revision)."""

    @property
    def lane(self) -> Lane:
        """The unit of fairness, pausing and quota that this operation belongs to."""
        return Lane(self.provider, self.connection)

    @classmethod
    def create(
        cls,
        provider: str,
        resource: str,
        fields: Fields,
        *,
        record_id: str | None = None,
        **options: Unpack[Options],
    ) -> Operation:
        """Build a create. Give ``record_id`` where the provider lets the client choose it: it makes retries safe."""
        return cls(
            provider=provider,
            resource=resource,
            kind=Kind.CREATE,
            record_id=record_id,
            fields=fields,
            **options,
        )

    @classmethod
    def read(cls, provider: str, resource: str, record_id: str, **options: Unpack[Options]) -> Operation:
        """Build a read; its outcome carries the record."""
        return cls(
            provider=provider,
            resource=resource,
            kind=Kind.READ,
            record_id=record_id,
            **options,
        )

    @classmethod
    def update(
        cls,
        provider: str,
        resource: str,
        record_id: str,
        fields: Fields,
        **options: Unpack[Options],
    ) -> Operation:
        """Build an update of the given fields; other fields of the record stay as they are."""
        return cls(
            provider=provider,
            resource=resource,
            kind=Kind.UPDATE,
            record_id=record_id,
            fields=fields,
            **options,
        )

    @classmethod
    def upsert(
        cls,
        provider: str,
        resource: str,
        record_id: str,
        fields: Fields,
        **options: Unpack[Options],
    ) -> Operation:
        """Build an upsert: update the record if it exists, else create it under this id."""
        return cls(
            provider=provider,
            resource=resource,
            kind=Kind.UPSERT,
            record_id=record_id,
            fields=fields,
            **options,
        )

    @classmethod
    def delete(cls, provider: str, resource: str, record_id: str, **options: Unpack[Options]) -> Operation:
        """Build a delete. A record that is already gone counts as deleted."""
        return cls(
            provider=provider,
            resource=resource,
            kind=Kind.DELETE,
            record_id=record_id,
            **options,
        )
