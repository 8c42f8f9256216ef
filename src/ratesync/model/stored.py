"""Values of a state store."""

from __future__ import annotations

from attrs import frozen


@frozen
class Stored:
    """A value and its revision."""

    key: str
    value: bytes
    revision: int
    """Grows with every write of the key; at least 1."""


@frozen
class Write:
    """One part of a commit."""

    key: str
    value: bytes | None
    """None deletes the key."""
    if_revision: int | None = None
    """Write only if the key has this revision; 0: only if it does not exist; None: always."""
