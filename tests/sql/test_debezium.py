"""Events of Debezium are changes."""

from __future__ import annotations

from typing import Any

import pytest

from ratesync.errors import CursorExpired
from ratesync.model.change import Change
from ratesync.sql import read_debezium

ROW = {"id": 1004, "first_name": "Anne", "email": "anne@example.org"}


def envelope(op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    """As the documentation of the PostgreSQL connector shows them."""
    source = {"connector": "postgresql", "db": "postgres", "schema": "public", "table": "customers", "lsn": 24023128}
    return {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1559033904863, "transaction": None}


@pytest.mark.parametrize("has_schema", [False, True])
@pytest.mark.parametrize("op", ["c", "r", "u"])
def test_a_row_that_is_there_is_a_change(op: str, *, has_schema: bool) -> None:
    event = envelope(op, None if op == "c" else ROW, ROW)
    event = {"schema": {"type": "struct"}, "payload": event} if has_schema else event
    assert read_debezium(event) == Change("1004")
    told = Change("1004", fields={"email": "anne@example.org"})
    assert read_debezium(event, fields=["email", "unchanged_toast"]) == told


def test_a_row_that_is_gone_is_a_tombstone() -> None:
    assert read_debezium(envelope("d", ROW), fields=["email"]) == Change("1004", is_deleted=True)
    assert read_debezium(envelope("d", {"key": "a"}), key="key") == Change("a", is_deleted=True)


@pytest.mark.parametrize("value", [None, {"schema": None, "payload": None}, envelope("m")])
def test_what_tells_of_no_row_is_nothing(value: Any) -> None:
    assert read_debezium(value) is None


def test_a_truncated_table_must_be_read_anew() -> None:
    with pytest.raises(CursorExpired, match="truncated"):
        read_debezium(envelope("t"))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"op": "x"},
        {"op": ["c"]},
        {"payload": "text"},
        ROW,
        envelope("d"),
        envelope("c"),
        envelope("u", ROW, {"name": "s3cret"}),
    ],
)
def test_what_is_no_event_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Debezium|replica identity") as error:
        read_debezium(value)
    assert "s3cret" not in str(error.value)
