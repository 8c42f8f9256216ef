"""Records that no state store can take in: what is told of them, and that they stop no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.engine.sync.provider_side import PlainLens
from ratesync.memory.records import MemoryRecords
from ratesync.model.conflict import FieldConflict, Resolution, SetValue
from ratesync.model.difference import Side, View
from ratesync.model.operation import Fields
from ratesync.model.record import Record
from tests.sync.desk import PLAIN, Desk
from tests.sync.test_oddities import stored_in
from tests.sync.test_provider_side import mapped

pytestmark = pytest.mark.anyio

NOT_JSON = {
    "text": float("nan"),
    "decimal": Decimal(1),
    "time": datetime(2026, 1, 1, tzinfo=UTC),
    "bytes": b"x",
    "set": {1},
}


class Odd(PlainLens):
    """Gives what is not JSON for one record."""

    def __init__(self, value: object) -> None:
        self.value = value

    @override
    def get(self, record: Fields) -> View:
        return {**record, "when": {"at": [self.value]}} if record["name"] == "odd" else dict(record)


@pytest.mark.parametrize("kind", NOT_JSON)
async def test_a_view_that_is_not_json_is_told_by_its_place_and_stops_no_other_record(kind: str) -> None:
    desk = mapped(Desk(), Odd(NOT_JSON[kind]))
    desk.crm.put("x1", {"name": "odd"})
    desk.crm.put("x2", {"name": "fine"})
    for _ in range(2):
        run = await desk.sync()
        assert (run.errors, desk.names()[0]) == ([], ["fine"])
        (trouble,) = run.troubles
        assert (trouble.record_id, trouble.reason[:16]) == ("x1", "view.when.at[0]:")
        assert repr(NOT_JSON[kind]) not in trouble.reason


class OddRecords(MemoryRecords):
    """Gives what is not JSON for one record."""

    @override
    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        found = await super().read(record_ids)
        return {each: _odd(record) for each, record in found.items()}

    @override
    async def find(self, name: str, values: Sequence[object]) -> Sequence[Record]:
        return [_odd(record) for record in await super().find(name, values)]


def _odd(record: Record) -> Record:
    return evolve(record, fields={**record.fields, "price": Decimal(1)}) if record.fields["name"] == "odd" else record


async def test_a_store_that_gives_what_is_not_json_is_told_the_place_and_stops_no_other_record() -> None:
    desk = stored_in(Desk(match_keys=("name",)), OddRecords())
    desk.local.put("l1", {"name": "odd"})
    desk.local.put("l2", {"name": "fine"})
    for _ in range(2):
        run = await desk.sync()
        assert (run.errors, desk.names()[1]) == ([], ["fine"])
        ((reason, count),) = run.reasons.items()
        assert (reason.split(":")[0], count) == ("view.price", 1)


@pytest.mark.parametrize("value", [float("nan"), Decimal(1)])
async def test_a_resolver_that_decides_what_is_not_json_stops_no_other_record(value: object) -> None:
    def resolve(_conflict: FieldConflict) -> Resolution:
        return SetValue(value)

    desk = Desk(resolve=resolve)
    for name in ("a", "b"):
        desk.local.put(f"l-{name}", {"name": name})
    await desk.sync()
    await desk.sync()
    desk.local.change("l-a", name="a here")
    (there,) = [record_id for record_id, record in desk.crm.records.items() if record.fields["name"] == "a"]
    desk.crm.put(there, {"name": "a there"})
    desk.local.change("l-b", name="b here")
    for _ in range(2):
        run = await desk.sync()
        assert (run.errors, run.left) == ([], 1)
        assert desk.names() == (["a here", "b here"], ["a there", "b here"])


IMPOSSIBLE = {"long": "x" * 600, "NUL": "x\0", "empty": "", "half a character": "\ud800"}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
@pytest.mark.parametrize("tombstones", [True, False])
async def test_an_id_that_no_key_can_hold_is_told_and_stops_no_other_record(kind: str, tombstones: bool) -> None:
    desk = Desk(evolve(PLAIN, tombstones=tombstones))
    desk.crm.put(IMPOSSIBLE[kind], {"name": "odd"})
    desk.crm.put("y", {"name": "fine"})
    run = await desk.sync()
    assert (run.errors, desk.names()[0]) == ([], ["fine"])
    (trouble,) = run.troubles
    assert (trouble.side, trouble.record_id) == (Side.EXTERNAL, IMPOSSIBLE[kind][:100].replace("\ud800", "?"))
    assert "is not synced" in trouble.reason
    assert (await desk.sync()).errors == []
