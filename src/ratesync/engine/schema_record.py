"""What is kept of a resource's schema, as bytes of a state store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from attrs import frozen

from ratesync.errors import CorruptItem, NewerFormat
from ratesync.model.lane import Lane
from ratesync.model.schema import RemoteField, RemoteSchema

_FORMAT = 1
_LONGEST_KEY = 512


@frozen
class SchemaRecord:
    """The schema of one resource of one connection, as all workers know it."""

    accepted: RemoteSchema
    """What records are translated by."""
    current: RemoteSchema
    """What the provider described last."""
    looked_at: float
    """Instant of the last look that succeeded."""
    claimed_until: float = 0.0
    """Until this instant one worker is looking, and others need not."""

    def encode(self) -> bytes:
        """The record as bytes."""
        content = {
            "v": _FORMAT,
            "accepted": _plain(self.accepted),
            "current": _plain(self.current),
            "looked_at": self.looked_at,
            "claimed_until": self.claimed_until,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes, key: str) -> SchemaRecord:
        """The record from bytes.

        :raises NewerFormat: a newer ratesync wrote it. :raises CorruptItem: it cannot be read.
        """
        try:
            content = json.loads(value)
            if content["v"] > _FORMAT:
                raise NewerFormat(f"{key} was written by a newer ratesync: update this one")
            return cls(
                _schema(content["accepted"]),
                _schema(content["current"]),
                float(content["looked_at"]),
                float(content["claimed_until"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CorruptItem(f"{key} cannot be read: delete it, and the schema is taken as it is then") from None


def schema_key(lane: Lane, resource: str) -> str:
    """Where the record of a resource is."""
    key = "schema/" + "/".join(quote(part, safe="") for part in (*lane, resource))
    return key if len(key) <= _LONGEST_KEY else f"schema/{sha256(key.encode()).hexdigest()}"


def _plain(schema: RemoteSchema) -> dict[str, Any]:
    return {
        path: [
            told.type,
            told.required,
            None if told.choices is None else sorted(told.choices),
            told.max_length,
        ]
        for path, told in schema.fields.items()
    }


def _schema(content: Mapping[str, Any]) -> RemoteSchema:
    return RemoteSchema(
        {
            path: RemoteField(str(kind), bool(required), None if choices is None else frozenset(choices), most)
            for path, (kind, required, choices, most) in content.items()
        }
    )
