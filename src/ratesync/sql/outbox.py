"""A table in the host's database that tells which records changed, in the transactions that changed them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ratesync.errors import ConfigurationError
from ratesync.sql.dialect import HORIZON, TRANSACTION, check_engine, is_postgres
from ratesync.sql.triggers import statements

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Engine, MetaData, Table
    from sqlalchemy.orm import Session

AT_ONCE = 5_000
"""Rows that are deleted in one transaction."""

KEPT = 7 * 86_400.0
"""Seconds for which rows are kept by default."""


class Outbox:
    """The tables of an outbox, for any number of the host's tables.

    A row that is written in the transaction of a change is there if and only if the change is. Let triggers write them
    (:meth:`watch`), so that none is forgotten; or write them yourself (:meth:`note`).

    Args:
        metadata: Where the tables are declared, so that migrations such as Alembic's see them. Default: a new one.
        name: What the names of the tables begin with. Default ``"ratesync_outbox"``.
        schema: Their schema. Default: the database's own.
    """

    def __init__(
        self, metadata: MetaData | None = None, *, name: str = "ratesync_outbox", schema: str | None = None
    ) -> None:
        import sqlalchemy as sa

        metadata = sa.MetaData() if metadata is None else metadata
        big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts INTEGER keys only
        self.rows = sa.Table(
            name,
            metadata,
            sa.Column("number", big, sa.Identity(), primary_key=True),
            sa.Column("transaction_id", sa.BigInteger, nullable=False),  # no default: who forgets it is refused
            sa.Column("resource", sa.Text, nullable=False),
            sa.Column("record_id", sa.Text, nullable=False),
            sa.Column("op_id", sa.Text),
            sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
            sa.Index(f"{name}_order", "resource", "transaction_id", "number"),
            schema=schema,
            sqlite_autoincrement=True,
        )
        self.made = sa.Table(
            f"{name}_made",
            metadata,
            sa.Column("op_id", sa.Text, primary_key=True),
            sa.Column("record_id", sa.Text, nullable=False),
            sa.Column("version", sa.Text, nullable=False),
            sa.Column("fields", sa.JSON, nullable=False),
            sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
            schema=schema,
        )
        self.floor = sa.Table(
            f"{name}_floor",
            metadata,
            sa.Column("resource", sa.Text, primary_key=True),
            sa.Column("transaction_id", sa.BigInteger, nullable=False),
            sa.Column("number", sa.BigInteger, nullable=False),
            schema=schema,
        )

    def create(self, bind: Engine | Connection) -> None:
        """Make the tables that are not there yet. Any number of processes may do so at once.

        :param bind: the database; a connection if it is to happen in a transaction of yours, such as a migration's.
        :raises ConfigurationError: the database is neither PostgreSQL nor SQLite.
        """
        from sqlalchemy.schema import CreateIndex, CreateTable

        check_engine(bind.engine)
        with _transaction(bind) as connection:
            self._one_at_a_time(connection)
            for table in (self.rows, self.made, self.floor):
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))

    def watch(self, bind: Engine | Connection, table: Any, *, resource: str | None = None) -> None:
        """Have every change of a table noted by triggers, whoever makes it. Done again, it changes nothing.

        In PostgreSQL, whoever writes to the table needs the right to write to the outbox. What no trigger sees is not
        noted: partitions that are detached, rows that SQLite's REPLACE removes (unless ``recursive_triggers`` is on).

        :param bind: as for :meth:`create`.
        :param table: a ``Table`` or a mapped class with one column as its primary key.
        :param resource: what the rows are called. Default: the table's name.
        :raises ConfigurationError: the database or the table cannot be watched.
        """
        import sqlalchemy as sa

        check_engine(bind.engine)
        table = table_of(table)
        with _transaction(bind) as connection:
            self._one_at_a_time(connection)
            for statement in statements(connection, self.rows, table, resource or table.name):
                connection.execute(sa.text(statement.replace(":", "\\:")))

    def _one_at_a_time(self, connection: Connection) -> None:
        """In PostgreSQL, IF NOT EXISTS alone fails where two make the same at once."""
        import sqlalchemy as sa

        if is_postgres(connection.dialect):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(self.rows.name))))

    def note(
        self, connection: Connection | Session, resource: str, record_id: object, *, op_id: str | None = None
    ) -> None:
        """Note that a record changed or went, in the transaction that the connection or session is in.

        :param resource: what its rows are called: the table's name, if not said otherwise.
        :param record_id: its primary key.
        :param op_id: of the sync's own writes.
        """
        import sqlalchemy as sa

        number = transaction_number(_dialect(connection))
        row = {"resource": resource, "record_id": str(record_id), "op_id": op_id}
        connection.execute(sa.insert(self.rows).values(transaction_id=number, **row))

    def trim(self, bind: Engine | Connection, *, keep: float = KEPT) -> int:
        """Delete rows that are older than ``keep`` seconds; how many. Call it now and then.

        A reader that has not come that far begins anew with a listing of all records. Notes of which records the sync
        made are kept four times as long: they prevent doubles after a crash that was not recovered from until then.
        """
        import sqlalchemy as sa

        count = 0
        while True:
            with _transaction(bind) as connection:
                gone = self._trim_some(connection, keep)
                count += gone
                if gone < AT_ONCE:
                    connection.execute(sa.delete(self.made).where(self.made.c.at < _ago(connection.dialect, 4 * keep)))
                    return count

    def _trim_some(self, connection: Connection, keep: float) -> int:
        import sqlalchemy as sa

        self._one_at_a_time(connection)
        rows, floor = self.rows.c, self.floor
        old = rows.at < _ago(connection.dialect, keep)
        if is_postgres(connection.dialect):
            old &= rows.transaction_id < sa.literal_column(HORIZON)
        some = sa.select(rows.number).where(old).order_by(rows.number).limit(AT_ONCE)
        chosen = sa.delete(self.rows).where(rows.number.in_(some))
        gone = connection.execute(chosen.returning(rows.resource, rows.transaction_id, rows.number)).all()
        highest: dict[str, tuple[int, int]] = {}
        for resource, transaction, number in gone:
            highest[resource] = max(highest.get(resource, (0, 0)), (transaction, number))
        for resource, place in highest.items():
            before = connection.execute(
                sa.delete(floor).where(floor.c.resource == resource).returning(floor.c.transaction_id, floor.c.number)
            ).one_or_none()
            transaction, number = max(place, (0, 0) if before is None else tuple(before))
            values = {"resource": resource, "transaction_id": transaction, "number": number}
            connection.execute(sa.insert(floor).values(values))
        return len(gone)


@contextmanager
def _transaction(bind: Engine | Connection) -> Generator[Connection]:
    """A transaction of its own, or the one that the connection is in."""
    from sqlalchemy import Engine

    if isinstance(bind, Engine):
        with bind.begin() as connection:
            yield connection
    else:
        yield bind


def table_of(table: Any) -> Table:
    """The table itself, of a table or a mapped class.

    :raises ConfigurationError: it is neither, or its primary key is not one column.
    """
    import sqlalchemy as sa

    found: Any = getattr(table, "__table__", table)
    if not isinstance(found, sa.Table):
        raise ConfigurationError(f"{table!r} is neither a Table nor a mapped class of SQLAlchemy")
    if len(found.primary_key.columns) != 1:
        raise ConfigurationError(f"table {found.name}: its primary key must be one column, as it is the record's id")
    return cast("Table", found)


def transaction_number(dialect: Dialect) -> Any:
    """The number of the transaction under way, as an expression."""
    import sqlalchemy as sa

    return cast("Any", sa.literal_column(TRANSACTION if is_postgres(dialect) else "0"))


def _dialect(connection: Connection | Session) -> Dialect:
    from sqlalchemy.orm import Session

    return connection.get_bind().dialect if isinstance(connection, Session) else connection.dialect


def _ago(dialect: Dialect, seconds: float) -> Any:
    """An instant of the server's clock."""
    import sqlalchemy as sa

    if is_postgres(dialect):
        return sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return sa.func.datetime("now", f"-{seconds:.3f} seconds")
