"""Where a reader of an outbox stands, and what stands in its cursor."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from ratesync.errors import CursorExpired


@frozen(order=True)
class Position:
    """A place in the outbox: behind this row. Rows of one transaction follow one another."""

    transaction: int = 0
    """Always 0 in SQLite, where transactions that write follow one another anyway."""
    number: int = 0


@frozen
class Cursor:
    """How far a reader has come: in the listing of all records, or in the outbox."""

    position: Position
    """Of the outbox; while listing: where to go on once that is over."""
    listed: str | None = None
    """While listing: the id behind which it goes on; empty at its beginning."""

    def encode(self) -> str:
        """As text."""
        parts: list[Any] = [self.position.transaction, self.position.number]
        return json.dumps(parts if self.listed is None else [*parts, self.listed])

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """The cursor of that text.

        :raises CursorExpired: it is no cursor of an outbox.
        """
        try:
            parts: Any = json.loads(text)
        except ValueError:
            parts = None
        match parts:
            case [int(transaction), int(number)]:
                return cls(Position(transaction, number))
            case [int(transaction), int(number), str(listed)]:
                return cls(Position(transaction, number), listed)
            case _:
                pass
        raise CursorExpired("this is not a cursor of an outbox: read all records anew")
