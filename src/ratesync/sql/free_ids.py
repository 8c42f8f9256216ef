"""Numbers for new rows in SQLite that no row had before them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from ratesync.sql.outbox import Outbox
from ratesync.sql.row import BEYOND

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection


@define
class FreeIds:
    """The numbers that rows get which a sync makes.

    Without AUTOINCREMENT, SQLite gives the number of the newest row, once that is deleted, to the next one. As long as
    the delete is not carried over, a sync would take the new row for the old one. So the number is above all that the
    outbox names. Of the outbox, each row is read once.
    """

    outbox: Outbox
    resource: str
    _read_to: int = field(default=0, init=False)
    """The number of the outbox's last row that was read."""
    _highest: int = field(default=0, init=False)
    """The highest id that these rows name."""

    def next(self, connection: Connection, key: Column[Any]) -> int | None:
        """The number for a row that is made in this transaction, the only one that writes. None: SQLite is to choose.

        :param key: the table's primary key.
        """
        import sqlalchemy as sa

        if self._is_counted(connection, key):
            return None
        rows = self.outbox.rows.c
        named = sa.func.max(sa.cast(rows.record_id, sa.Integer))
        behind = sa.tuple_(rows.transaction_id, rows.number) > sa.tuple_(sa.literal(0), sa.literal(self._read_to))
        chosen = sa.select(sa.func.max(rows.number), named).where(rows.resource == self.resource, behind)
        last, highest = connection.execute(chosen).one()
        self._read_to, self._highest = max(self._read_to, last or 0), max(self._highest, highest or 0)
        found = 1 + max(self._highest, connection.scalar(sa.select(sa.func.max(key))) or 0)
        return found if found < BEYOND else None

    @staticmethod
    def _is_counted(connection: Connection, key: Column[Any]) -> bool:
        """The table has AUTOINCREMENT: no number is given twice."""
        import sqlalchemy as sa

        tables = sa.table("sqlite_master", sa.column("name"), sa.column("sql"), schema=key.table.schema)
        text = connection.scalar(sa.select(tables.c.sql).where(tables.c.name == key.table.name))
        return "AUTOINCREMENT" in str(text).upper()
