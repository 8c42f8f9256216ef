"""A mark: a record of one side is to be looked at. No payload, so marks fold, may come twice and cannot be outdated."""

from __future__ import annotations

from attrs import frozen

from ratesync.model.difference import Side


@frozen
class Lack:
    """A record that another one refers to, and that has no counterpart on the other side."""

    name: str
    """The field that refers to it."""
    side: Side
    record_id: str


@frozen
class Mark:
    """A record may have changed."""

    side: Side
    record_id: str
    revision: int = 0
    """Of the mark in the state store. A newer one says that the record may have changed again."""
    waits_for: tuple[str, ...] = ()
    """Links whose creations must be settled first: this record may be what one of them made."""
    lacks: tuple[Lack, ...] = ()
    """What must be linked first. Not empty only while nobody works on the record: whoever takes it up clears it."""
