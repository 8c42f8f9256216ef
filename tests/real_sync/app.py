"""An application with a table of contacts in a SQLite file, which knows nothing of any sync but its outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from attrs import frozen

from ratesync.sql import Outbox, SqlRecords
from tests.real_sync.users import NAMES, Fields

CONTACTS = sa.Table(
    "contact",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("origin", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text) for name in NAMES),
    sqlite_autoincrement=True,  # the id of a deleted contact is never given to another one
)


def records(path: Path) -> SqlRecords:
    """The table as a side of a sync."""
    return SqlRecords(sa.create_engine(f"sqlite:///{path}"), CONTACTS, outbox=Outbox())


@frozen
class App:
    """The application, for its users: they change contacts with plain SQL, each in one transaction."""

    path: Path

    @classmethod
    def made(cls, path: Path) -> App:
        """A new one, with an empty table."""
        engine = sa.create_engine(f"sqlite:///{path}")
        CONTACTS.metadata.create_all(engine)
        outbox = Outbox()
        outbox.create(engine)
        outbox.watch(engine, CONTACTS)
        engine.dispose()
        return cls(path)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def records(self) -> dict[str, Fields]:
        """All contacts by id."""
        with self._transaction() as connection:
            rows = [dict(row) for row in connection.execute("SELECT * FROM contact ORDER BY id")]
        return {str(row.pop("id")): row for row in rows}

    def writes(self) -> object:
        """Something that is another after each write, whoever made it."""
        with self._transaction() as connection:
            return connection.execute("SELECT MAX(number) FROM ratesync_outbox").fetchone()[0]

    def create(self, fields: Fields) -> None:
        """Make a contact."""
        names, marks = ", ".join(fields), ", ".join(f":{name}" for name in fields)
        with self._transaction() as connection:
            connection.execute(f"INSERT INTO contact ({names}) VALUES ({marks})", dict(fields))  # noqa: S608  our names

    def change(self, record_id: str, seen: Fields, patch: Fields) -> bool:
        """Change a contact, if it is still as it was seen."""
        settings = ", ".join(f"{name} = :{name}" for name in patch)
        statement = f"UPDATE contact SET {settings} WHERE id = :id"  # noqa: S608  our names
        return self._if_seen(record_id, seen, statement, patch)

    def delete(self, record_id: str, seen: Fields) -> bool:
        """Delete a contact, if it is still as it was seen."""
        return self._if_seen(record_id, seen, "DELETE FROM contact WHERE id = :id", {})

    def _if_seen(self, record_id: str, seen: Fields, statement: str, values: Fields) -> bool:
        with self._transaction() as connection:
            row = connection.execute("SELECT * FROM contact WHERE id = ?", (int(record_id),)).fetchone()
            found = None if row is None else {name: row[name] for name in seen}
            if found == dict(seen):
                connection.execute(statement, {**values, "id": int(record_id)})
            return found == dict(seen)
