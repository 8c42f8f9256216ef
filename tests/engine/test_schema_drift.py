"""Providers that change their schemas: noticed, told, and acted on as the policy says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from attrs import define, evolve, field

from ratesync import (
    Applied,
    Batch,
    DriftPolicy,
    Operation,
    OperationState,
    Outcome,
    RemoteField,
    RemoteSchema,
    SchemaWatch,
    SyncEngine,
)
from ratesync.engine.schema_record import SchemaRecord, schema_key
from ratesync.engine.schema_watcher import LOOK_AT_STATE
from ratesync.errors import ConfigurationError, CorruptItem, NewerFormat, Unavailable
from ratesync.mapping import Field
from ratesync.mapping import Mapping as Lens
from ratesync.memory import MemoryBackend
from ratesync.model.event import BackendFailed, Event, SchemaDrifted, SchemaUnread
from ratesync.model.lane import Lane
from ratesync.model.schema import DriftKind, FieldDrift
from ratesync.model.stored import Write
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

TEXT = RemoteField("text")
STAGE = RemoteField("picklist", choices=frozenset({"open", "won"}))
FIELDS: Mapping[str, RemoteField] = {"props.email": TEXT, "props.stage": STAGE}
LANE = Lane("fake", "default")
EVERY = 600.0
KEY = ("fake", "contacts")


@define
class Describing(FakeProvider):
    """Describes contacts, as told."""

    fields: Mapping[str, RemoteField] = field(default=FIELDS, kw_only=True)
    problem: Exception | None = field(default=None, kw_only=True)
    described: int = field(default=0, init=False)

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        self.described += 1
        await anyio.sleep(0.01)
        if self.problem is not None:
            raise self.problem
        return RemoteSchema(self.fields)


@pytest.fixture
def provider(clock: VirtualClock) -> Describing:
    return Describing(clock=clock)


@pytest.fixture
def told() -> list[Event]:
    return []


def drifts(told: Sequence[Event]) -> list[SchemaDrifted]:
    return [event for event in told if isinstance(event, SchemaDrifted)]


def mapping() -> Lens:
    return Lens(Field("email", "props.email"), Field("stage", "props.stage"), passthrough=True)


class Watching:
    """Makes engines that watch."""

    def __init__(self, make_engine: EngineFactory, told: list[Event]) -> None:
        self._make, self._told = make_engine, told

    def __call__(self, policy: str = "evolve", **options: Any) -> SyncEngine:
        parts: dict[str, Any] = {
            "transformers": {KEY: mapping()},
            "schemas": {KEY: SchemaWatch(policy=policy, every=EVERY)},
            "observers": [self._told.append],
        }
        return self._make(**(parts | options))


@pytest.fixture
def watching(make_engine: EngineFactory, told: list[Event]) -> Watching:
    return Watching(make_engine, told)


def upsert(name: str, **fields: object) -> Operation:
    return Operation.upsert("fake", "contacts", name, fields)


async def test_a_schema_that_stays_is_read_at_the_interval_and_nothing_is_told(
    watching: Watching, provider: Describing, told: list[Event]
) -> None:
    async with watching():
        await anyio.sleep(4 * EVERY + 100)
    assert 4 <= provider.described <= 5
    assert drifts(told) == []


async def test_a_new_field_evolves(watching: Watching, provider: Describing, told: list[Event]) -> None:
    async with watching() as engine:
        await anyio.sleep(1)
        provider.fields = {**FIELDS, "props.score": TEXT}
        await anyio.sleep(2 * EVERY)
        assert await engine.schema_drift() == []  # it is taken as it is now
        assert isinstance(await (await engine.submit(upsert("a", email="x"))).outcome(timeout=9), Applied)
    (event,) = drifts(told)
    assert event.drift == (FieldDrift("props.score", DriftKind.NEW, is_used=False),)
    assert not event.stops


async def test_a_field_that_is_gone_stops_its_resource_until_somebody_has_looked(
    watching: Watching, provider: Describing, told: list[Event]
) -> None:
    async with watching() as engine:
        await anyio.sleep(1)
        provider.fields = {"props.stage": STAGE}
        await anyio.sleep(EVERY + LOOK_AT_STATE)
        (event,) = drifts(told)
        assert event.stops
        ticket = await engine.submit(upsert("a", email="x"))
        other = await engine.submit(Operation.upsert("fake", "companies", "b", {"n": 1}))
        assert isinstance(await other.outcome(timeout=9), Applied)  # other resources go on
        await anyio.sleep(300)
        assert (await engine.status(ticket.id)).state is not OperationState.COMPLETED
        assert await engine.schema_drift() == [evolve(event, at=(await engine.schema_drift())[0].at)]
        await engine.accept_schema("fake", "contacts")
        assert isinstance(await ticket.outcome(timeout=LOOK_AT_STATE + 61), Applied)
        assert await engine.schema_drift() == []
    assert len(drifts(told)) == 1


async def test_freeze_stops_at_any_change(watching: Watching, provider: Describing, told: list[Event]) -> None:
    async with watching("freeze") as engine:
        await anyio.sleep(1)
        provider.fields = {**FIELDS, "props.score": TEXT}
        await anyio.sleep(EVERY + LOOK_AT_STATE)
        ticket = await engine.submit(upsert("a", email="x"))
        await anyio.sleep(100)
        assert (await engine.status(ticket.id)).state is not OperationState.COMPLETED
    assert [event.stops for event in drifts(told)] == [True]


async def test_what_was_stopped_is_so_after_a_restart_too(
    watching: Watching, provider: Describing, told: list[Event]
) -> None:
    async with watching("freeze"):
        await anyio.sleep(1)
        provider.fields = {**FIELDS, "props.score": TEXT}
        await anyio.sleep(EVERY + LOOK_AT_STATE)
    told.clear()
    async with watching("freeze") as engine:
        ticket = await engine.submit(upsert("a", email="x"))
        await anyio.sleep(100)
        assert (await engine.status(ticket.id)).state is not OperationState.COMPLETED
    assert [event.stops for event in drifts(told)] == [True]
    assert provider.writes == []


async def test_discard_leaves_the_changed_field_alone(
    watching: Watching, provider: Describing, told: list[Event]
) -> None:
    async with watching("discard") as engine:
        await anyio.sleep(1)
        provider.fields = {"props.email": TEXT, "props.stage": RemoteField("number")}
        await anyio.sleep(EVERY + LOOK_AT_STATE)
        (event,) = drifts(told)
        assert (event.stops, event.left_out) == (False, frozenset({"props.stage"}))
        assert isinstance(await (await engine.submit(upsert("a", email="x"))).outcome(timeout=9), Applied)
        dead = await engine.submit(upsert("b", email="x", stage="open"))
        assert not isinstance(await dead.outcome(timeout=9), Applied)  # a view that names it is refused
        await engine.accept_schema("fake", "contacts")
        await anyio.sleep(LOOK_AT_STATE)
        assert isinstance(await (await engine.submit(upsert("c", email="x", stage="open"))).outcome(timeout=9), Applied)
    assert [dict(write.fields) for write in provider.writes] == [
        {"props": {"email": "x"}},
        {"props": {"email": "x", "stage": "open"}},
    ]


class Answering(Describing):
    """Reads give a stage that the schema does not name."""

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        outcomes = await super().execute(batch)
        for identity, outcome in outcomes.items():
            if isinstance(outcome, Applied) and outcome.record is not None:
                record = evolve(outcome.record, fields={"props": {"email": "x", "stage": "lost"}})
                outcomes[identity] = evolve(outcome, record=record)
        return outcomes


async def test_a_value_that_the_schema_does_not_name_is_told_once_and_the_schema_is_read_again(
    watching: Watching, clock: VirtualClock, told: list[Event]
) -> None:
    provider = Answering(clock=clock)
    async with watching(providers=[provider]) as engine:
        await anyio.sleep(1)
        await (await engine.submit(upsert("a", email="x"))).outcome(timeout=9)
        for _ in range(3):
            read = await engine.submit(Operation.read("fake", "contacts", "a"))
            assert isinstance(await read.outcome(timeout=9), Applied)
        before = provider.described
        await anyio.sleep(2 * LOOK_AT_STATE)
        assert provider.described == before + 1
    (event,) = drifts(told)
    assert event.drift == (FieldDrift("props.stage", DriftKind.CHOICES_NEW, is_used=True, choices=("lost",)),)


async def test_workers_look_once_for_all(
    watching: Watching, provider: Describing, told: list[Event], backend: MemoryBackend
) -> None:
    async with watching(), watching(backend=backend), watching(backend=backend):
        await anyio.sleep(1)
        started = provider.described
        provider.fields = {"props.stage": STAGE}
        await anyio.sleep(EVERY + 2 * LOOK_AT_STATE)
        assert provider.described == started + 1
    assert [event.stops for event in drifts(told)] == [True, True, True]  # each worker tells its observers


@pytest.mark.parametrize("problem", [Unavailable("down"), RuntimeError("s3cr3t")])
async def test_a_schema_that_cannot_be_read_is_told_and_tried_again(
    watching: Watching, provider: Describing, told: list[Event], problem: Exception
) -> None:
    provider.problem = problem
    async with watching() as engine:
        assert isinstance(await (await engine.submit(upsert("a", email="x"))).outcome(timeout=9), Applied)
        await anyio.sleep(2 * LOOK_AT_STATE)
        provider.problem = None
        await anyio.sleep(4 * LOOK_AT_STATE)
        assert await engine.schema_drift() == []
    reasons = {event.reason for event in told if isinstance(event, SchemaUnread)}
    assert reasons == {"down" if isinstance(problem, Unavailable) else "the adapter raised RuntimeError"}
    assert provider.described < 10


async def test_what_cannot_be_read_of_the_store_is_told(
    watching: Watching, backend: MemoryBackend, told: list[Event]
) -> None:
    key = schema_key(LANE, "contacts")
    await backend.state.commit([Write(key, b"rubbish")])
    async with watching() as engine:
        await anyio.sleep(LOOK_AT_STATE)
        with pytest.raises(CorruptItem, match="delete it"):
            await engine.schema_drift()
    assert {event.reason for event in told if isinstance(event, BackendFailed)} == {"CorruptItem"}


async def test_only_what_is_watched_and_was_described_can_be_accepted(watching: Watching, provider: Describing) -> None:
    provider.problem = Unavailable("down")
    async with watching() as engine:
        with pytest.raises(ConfigurationError, match="is not watched"):
            await engine.accept_schema("fake", "companies")
        with pytest.raises(ConfigurationError, match="not been described yet"):
            await engine.accept_schema("fake", "contacts")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schemas": {KEY: 7}}, "give a SchemaWatch"),
        ({"transformers": {}}, "no transformer for it"),
        ({"transformers": {KEY: Lens()}, "providers": [FakeProvider()]}, "describe"),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused(watching: Watching, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        watching(**options)


def test_a_record_survives_its_way_through_the_store_and_newer_ones_are_refused() -> None:
    schema = RemoteSchema({"a": RemoteField("text", required=True, max_length=5), "b": STAGE})
    record = SchemaRecord(schema, RemoteSchema({}), 5.0, 6.0)
    assert SchemaRecord.decode(record.encode(), "key") == record
    with pytest.raises(NewerFormat):
        SchemaRecord.decode(b'{"v": 2}', "key")
    assert len(schema_key(Lane("p", "x" * 600), "r")) < 512
    assert SchemaWatch(policy="freeze").policy is DriftPolicy.FREEZE
