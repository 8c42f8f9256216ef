"""Reading the outbox: in the order of transactions, and never past one that may still write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from attrs import Factory, field, frozen

from ratesync.errors import CursorExpired
from ratesync.sql.dialect import HORIZON, NEXT, is_postgres
from ratesync.sql.free_ids import FreeIds
from ratesync.sql.outbox import Outbox
from ratesync.sql.position import Position

if TYPE_CHECKING:
    from sqlalchemy import Connection


@frozen
class Feed:
    """The outbox's rows of one resource.

    In PostgreSQL the numbers of rows are given out before transactions commit, so a row can appear behind one that was
    read already. Rows are therefore read by the number of their transaction, and only those of transactions below the
    horizon: the oldest that has not ended. Nothing can appear there any more. SQLite lets one transaction write at a
    time, so there the order of numbers is the order of commits.
    """

    outbox: Outbox
    resource: str
    free_ids: FreeIds = field(
        default=Factory(lambda self: FreeIds(self.outbox, self.resource), takes_self=True), init=False, eq=False
    )
    """Numbers for new rows, in SQLite."""

    def end(self, connection: Connection) -> Position:
        """Where to go on after a listing that begins now: what is not in it yet comes behind."""
        if is_postgres(connection.dialect):
            return Position(_number(connection, HORIZON), 0)  # numbers begin with 1
        return self._last(connection)

    def read(self, connection: Connection, after: Position, limit: int) -> Sequence[tuple[Position, str]]:
        """At most so many rows behind a place: each row's place, and its record's id.

        :raises CursorExpired: rows behind it have been trimmed, or the place is of another database.
        """
        import sqlalchemy as sa

        rows = self.outbox.rows.c
        place = sa.tuple_(rows.transaction_id, rows.number)
        chosen = sa.select(rows.transaction_id, rows.number, rows.record_id).where(
            rows.resource == self.resource, place > sa.tuple_(sa.literal(after.transaction), sa.literal(after.number))
        )
        if is_postgres(connection.dialect):
            chosen = chosen.where(rows.transaction_id < sa.literal_column(HORIZON))
        chosen = chosen.order_by(rows.transaction_id, rows.number).limit(limit)
        found = [
            (Position(transaction, number), record_id) for transaction, number, record_id in _all(connection, chosen)
        ]
        self._check(connection, after)  # last, so that what is trimmed meanwhile is noticed
        return found

    def _check(self, connection: Connection, after: Position) -> None:
        if after < self._floor(connection):
            raise CursorExpired("what changed since the cursor has been trimmed from the outbox: read all records anew")
        if is_postgres(connection.dialect):
            is_ahead = after.transaction > _number(connection, NEXT)
        else:
            is_ahead = after > self._last(connection)
        if is_ahead:
            raise CursorExpired("the cursor is ahead of the database, as after a restore: read all records anew")

    def _last(self, connection: Connection) -> Position:
        import sqlalchemy as sa

        rows = self.outbox.rows.c
        number = connection.scalar(sa.select(sa.func.max(rows.number)).where(rows.resource == self.resource))
        return max(Position(0, int(number or 0)), self._floor(connection))

    def _floor(self, connection: Connection) -> Position:
        """The last place that was trimmed."""
        import sqlalchemy as sa

        floor = self.outbox.floor.c
        found = _all(connection, sa.select(floor.transaction_id, floor.number).where(floor.resource == self.resource))
        return Position(*found[0]) if found else Position()


def _number(connection: Connection, expression: str) -> int:
    import sqlalchemy as sa

    (row,) = _all(connection, sa.select(cast("Any", sa.literal_column(expression))))
    return int(row[0])


def _all(connection: Connection, chosen: Any) -> Sequence[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(chosen)]
