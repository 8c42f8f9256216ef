"""An application with a table of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from attrs import define, field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ratesync.sql import Outbox, SqlRecords


class Base(DeclarativeBase):
    """The application's own tables."""


class Contact(Base):
    """Somebody."""

    __tablename__ = "contact"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None] = mapped_column(unique=True)
    age: Mapped[int | None]
    tenant: Mapped[int] = mapped_column(default=1)


OURS: Mapping[str, Any] = {"tenant": 1}


@define
class Host:
    """The application, and its table as a side of a sync."""

    engine: sa.Engine
    outbox: Outbox = field(factory=Outbox, init=False)
    records: SqlRecords = field(init=False)

    def __attrs_post_init__(self) -> None:
        Base.metadata.create_all(self.engine)
        self.outbox.create(self.engine)
        self.outbox.watch(self.engine, Contact)
        self.records = SqlRecords(self.engine, Contact, outbox=self.outbox, scope=OURS)

    def say(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Carry out a statement, as anybody might."""
        with self.engine.begin() as connection:
            answer = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in answer] if answer.returns_rows else []

    def add(self, name: str, **values: object) -> str:
        """Make a contact; its id."""
        with self.engine.begin() as connection:
            key = connection.execute(sa.insert(Contact).values(name=name, **values)).inserted_primary_key
            assert key is not None
            return str(key[0])


async def everything(records: SqlRecords, cursor: str | None = None, limit: int = 3) -> tuple[dict[str, Any], str]:
    """What a reader knows after it has read to the end: fields by id, None for what is deleted; and the cursor."""
    known: dict[str, Any] = {}
    while True:
        page = await records.changes(cursor, limit=limit)
        assert len(page.changes) <= limit
        known |= {change.record_id: None if change.is_deleted else change.fields for change in page.changes}
        cursor = page.cursor
        if not page.has_more:
            return known, cursor
