"""Values of every kind of column come and go as JSON."""

from __future__ import annotations

import enum
import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from ratesync.errors import ConfigurationError
from ratesync.model.outcome import Applied, Rejected
from ratesync.sql import Outbox, SqlRecords
from ratesync.sql.row import version_of
from ratesync.sql.values import codec_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Values are the same on either loop."""
    return "asyncio"


class Stage(enum.Enum):
    OPEN = "o"
    WON = "w"


KINDS: dict[str, tuple[Any, Any, Any]] = {
    "whole": (sa.Integer, 7, 7),
    "big": (sa.BigInteger, 2**60, 2**60),
    "truth": (sa.Boolean, True, True),
    "number": (sa.Float, 1.5, 1.5),
    "text": (sa.Text, "é\n\U0001f600", "é\n\U0001f600"),
    "day": (sa.Date, date(2026, 2, 28), "2026-02-28"),
    "hour": (sa.Time, time(9, 30), "09:30:00"),
    "naive": (sa.DateTime, datetime(2026, 2, 28, 9, 30), "2026-02-28T09:30:00"),  # noqa: DTZ001
    "moment": (
        sa.DateTime(timezone=True),
        datetime(2026, 2, 28, 9, 30, tzinfo=UTC),
        "2026-02-28T09:30:00+00:00",
    ),
    "token": (sa.Uuid, uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "raw": (sa.LargeBinary, b"\0\xff", "AP8="),
    "stage": (sa.Enum(Stage), Stage.WON, "WON"),
    "tags": (sa.JSON, ["a", {"b": None}], ["a", {"b": None}]),
}


async def test_each_kind_comes_and_goes(engine: sa.Engine) -> None:
    table = sa.Table(
        "kind",
        sa.MetaData(),
        sa.Column("id", sa.Uuid, primary_key=True),
        *(sa.Column(name, kind) for name, (kind, _, _) in KINDS.items()),
    )
    outbox = Outbox()
    table.metadata.create_all(engine)
    outbox.create(engine)
    outbox.watch(engine, table)
    records = SqlRecords(engine, table, outbox=outbox)
    given = {name: value for name, (_, _, value) in KINDS.items()}
    op_id = str(uuid.UUID(int=9))
    made = await records.apply(None, given, if_version=None, op_id=op_id)
    assert isinstance(made, Applied), made
    assert made.record is not None
    assert made.record_id == op_id, "a key that is a UUID is the operation's id"
    assert made.record.fields == given
    assert json.loads(json.dumps(made.record.fields)) == given
    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(*(table.c[name] for name in KINDS)))
    for name, value in zip(KINDS, row, strict=True):
        expected = KINDS[name][1]
        if name == "moment" and engine.dialect.name == "sqlite":
            expected = expected.replace(tzinfo=None)
        assert value == expected, name
    page = await records.changes("[0, 0]", limit=9)
    if engine.dialect.name == "sqlite":
        assert [change.record_id for change in page.changes] == [op_id], "however the trigger spelt it"
    emptied = await records.apply(op_id, dict.fromkeys(KINDS), if_version=made.version, op_id="o2")
    assert isinstance(emptied, Applied)
    assert emptied.record is not None
    assert set(emptied.record.fields.values()) == {None}


WRONG: dict[str, list[Any]] = {
    "whole": ["7", 7.5, True, []],
    "truth": [1, "true"],
    "number": ["1.5", True],
    "text": [7, ["a"]],
    "day": ["2026-02-30", "today", 7],
    "naive": ["yesterday", 7, "0001-01-01T00:00:00+14:00"],
    "token": ["5", 6],
    "raw": ["?", 5],
    "stage": ["w", 1],
}


async def test_a_value_of_another_kind_is_refused(on_sqlite: sa.Engine) -> None:
    columns = (sa.Column(name, KINDS[name][0]) for name in WRONG)
    table = sa.Table("kind", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns)
    outbox = Outbox(table.metadata)
    outbox.create(on_sqlite)
    table.create(on_sqlite)
    records = SqlRecords(on_sqlite, table, outbox=outbox)
    for name, several in WRONG.items():
        for wrong in several:
            outcome = await records.apply(None, {name: wrong}, if_version=None, op_id="o1")
            assert isinstance(outcome, Rejected), (name, wrong)
            assert outcome.reason.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (sa.Numeric(10, 2), "1.50", Decimal("1.50")),
        (sa.Numeric(10, 2), 2, Decimal(2)),
        (sa.Numeric(10, 2, asdecimal=False), 2, 2.0),
        (sa.DateTime(), "2026-01-01T12:00:00+02:00", datetime(2026, 1, 1, 10)),  # noqa: DTZ001
        (sa.DateTime(timezone=True), "2026-01-01T12:00:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        (sa.Uuid(as_uuid=False), "a", "a"),
        (sa.Enum("a", "b"), "a", "a"),
    ],
    ids=repr,
)
def test_what_is_given_is_kept(kind: Any, given: object, kept: object) -> None:
    codec = codec_of(sa.Column("x", kind))
    found = codec.from_json(given)
    assert (found, type(found)) == (kept, type(kept))


def test_an_instant_is_spelt_alike_in_every_zone() -> None:
    codec = codec_of(sa.Column("x", sa.DateTime(timezone=True)))
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    zones = [UTC, timezone(timedelta(hours=5.5)), timezone(timedelta(hours=-3))]
    assert {codec.to_json(at.astimezone(zone)) for zone in zones} == {"2026-01-01T12:00:00+00:00"}


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "1,5", "", True, [1]])
def test_a_number_of_fixed_scale_is_finite(wrong: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        codec_of(sa.Column("x", sa.Numeric(10, 2))).from_json(wrong)


def test_a_column_that_cannot_be_json_is_named() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Interval))
    with pytest.raises(ConfigurationError, match=r"t\.x"):
        codec_of(table.c.x)


def test_a_version_is_another_one_when_a_field_is() -> None:
    assert version_of({"a": 1, "b": 2}) == version_of({"b": 2, "a": 1})
    several: list[dict[str, Any]] = [{}, {"a": 1}, {"a": "1"}, {"a": None}, {"a": True}, {"a": 1.0}, {"b": 1}]
    assert len({version_of(fields) for fields in several}) == len(several)
