from __future__ import annotations

import inspect
import random
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

import anyio.lowlevel
import pytest
from attrs import define, evolve, field

from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Outcome, Rejected, Unknown
from ratesync.model.record import Record
from ratesync.protocols import ProviderClient
from ratesync.providers import Resource, RestProvider, Route
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.faults import Faults
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.provider_suite import ProviderSuite
from tests.providers.kinto import kinto_provider
from tests.servers.fault_server import FaultServer, Reply
from tests.servers.kinto_server import Kinto
from tests.servers.replies import BROKEN_ON_THE_WIRE, hang, html, problem, redirect
from tests.testing.suite_run import cases

pytestmark = pytest.mark.anyio

EXISTING = frozenset({Kind.READ, Kind.UPDATE, Kind.DELETE})
WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})
numbers = count(1)


def sampler(provider: ProviderClient, resource: str) -> Sample:
    """Samples whose records have names of the client's choice."""

    def operation(kind: Kind, record_id: str, **fields: Any) -> Operation:
        identity = f"op-{next(numbers)}"
        return Operation(
            provider=provider.name,
            resource=resource,
            kind=kind,
            record_id=record_id,
            fields=fields if kind in WRITES else {},
            id=identity,
            idempotency_key=identity,
        )

    async def sample(kind: Kind) -> Operation:
        record_id = f"record-{next(numbers)}"
        if kind in EXISTING:
            await applied(provider, operation(Kind.CREATE, record_id, name="Ада", age=36))
        return operation(kind, record_id, age=37)

    return sample


TROUBLE: dict[str, Reply | None] = {
    "no connection": None,
    "no answer": hang,
    "connection reset": BROKEN_ON_THE_WIRE["reset before the answer"],
    "truncated": BROKEN_ON_THE_WIRE["truncated body"],
    "not HTTP": BROKEN_ON_THE_WIRE["garbage status line"],
    "HTML": html(200),
    "down": problem(503, "1"),
    "throttled": problem(429),
    "broken": problem(500),
    "redirected": redirect("https://evil.example/"),
}
EVERYTHING_AT_ONE_PATH = Resource(
    create_with_id=Route("PUT", "/all?id={record_id}"),
    read=Route("GET", "/all?id={record_id}"),
    update=Route("PATCH", "/all?id={record_id}"),
    upsert=Route("PUT", "/all?id={record_id}"),
    delete=Route("DELETE", "/all?id={record_id}"),
)


class TestRestProviderBeforeKinto(ProviderSuite):
    @pytest.fixture
    async def provider(self, kinto: Kinto) -> AsyncIterator[RestProvider]:
        async with kinto_provider(kinto) as provider:
            yield provider

    @pytest.fixture
    def sample(self, provider: RestProvider, kinto: Kinto) -> Sample:
        collection = f"suite_{next(numbers)}"
        kinto.create_collection("crm", collection)
        return sampler(provider, collection)

    @pytest.fixture(params=TROUBLE)
    async def provider_in_trouble(
        self, request: pytest.FixtureRequest, fault_server: FaultServer
    ) -> AsyncIterator[RestProvider]:
        reply = TROUBLE[request.param]
        fault_server.script("/all", *([] if reply is None else [reply]))
        url = "http://127.0.0.1:9" if reply is None else fault_server.url
        async with RestProvider("kinto", url, resources=EVERYTHING_AT_ONE_PATH, timeout=0.3) as provider:
            yield provider


def fake(faults: Faults | None = None, **changes: Any) -> FakeProvider:
    capabilities = Capabilities(
        batch_max=10, create_identity=CreateIdentity.CLIENT_ID, conditional_write=ConditionalWrite.STRONG
    )
    return FakeProvider(
        "fake", evolve(capabilities, **changes), faults=faults or Faults(), latency=(0.0, 0.0), random=random.Random(7)
    )


IDENTITIES = [CreateIdentity.CLIENT_ID, CreateIdentity.IDEMPOTENCY_KEY, CreateIdentity.LOOKUP, CreateIdentity.NONE]


class TestFakeProvider(ProviderSuite):
    @pytest.fixture(params=IDENTITIES)
    def provider(self, request: pytest.FixtureRequest) -> FakeProvider:
        return fake(create_identity=request.param)

    @pytest.fixture
    def sample(self, provider: FakeProvider) -> Sample:
        return sampler(provider, "contacts")

    @pytest.fixture(params=["throttled", "throttled_silently", "unavailable", "not_sent", "lost_answer"])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> FakeProvider:
        shares: dict[str, Any] = {request.param: 1.0}
        return fake(Faults(**shares))


@define
class Mutant:
    """An adapter that passes everything on to a good one, until a subclass does otherwise."""

    good: FakeProvider = field(factory=fake)

    @property
    def name(self) -> str:
        return self.good.name

    @property
    def capabilities(self) -> Capabilities:
        return self.good.capabilities

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        return await self.good.execute(batch)


class MatchesByPosition(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        answers = (await self.good.execute(batch)).values()
        return {operation.id or "": answer for operation, answer in zip(batch.operations, answers, strict=True)}


class AnswersForOthers(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        return {**await self.good.execute(batch), "nobody": Applied()}


class ForgetsTheLast(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        answer = await self.good.execute(batch)
        return dict(list(answer.items())[:-1]) if len(answer) > 1 else answer


class ClaimsTooMuch(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if batch.kind is Kind.UPSERT:
            raise TypeError("who would ask for that")
        return await self.good.execute(batch)


class SwallowsCancellation(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        try:
            return await self.good.execute(batch)
        except BaseException:  # noqa: BLE001  the very mistake
            return {operation.id or "": Unknown("something happened") for operation in batch.operations}


class LeaksOnCancellation(Mutant):
    free = 3

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        self.free -= 1
        assert self.free >= 0, "the pool is empty"
        answer = await self.good.execute(batch)
        self.free += 1
        return answer


class IgnoresVersions(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        operations = tuple(evolve(operation, if_version=None) for operation in batch.operations)
        return await self.good.execute(evolve(batch, operations=operations))


class ReplacesRecords(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if batch.kind is Kind.UPDATE:
            for operation in batch.operations:
                key = (batch.connection, batch.resource, operation.record_id or "")
                self.good.records[key] = evolve(self.good.records[key], fields={})
        return await self.good.execute(batch)


class AnswersWithWhatWasSent(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        outcomes = dict(await self.good.execute(batch))
        for operation in batch.operations:
            outcome = outcomes[operation.id or ""]
            if batch.kind is Kind.UPDATE and isinstance(outcome, Applied):
                record = Record(operation.record_id or "", operation.fields, outcome.version)
                outcomes[operation.id or ""] = evolve(outcome, record=record)
        return outcomes


class CreatesAgain(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if batch.kind is Kind.CREATE:
            batch = evolve(batch, kind=Kind.UPSERT)
            batch = evolve(batch, operations=tuple(evolve(o, kind=Kind.UPSERT) for o in batch.operations))
        return await self.good.execute(batch)


class FailsOnWhatIsGone(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if batch.kind is Kind.DELETE:
            for operation in batch.operations:
                assert (batch.connection, batch.resource, operation.record_id or "") in self.good.records
        return await self.good.execute(batch)


class RefusesAllForOne(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        answer = await self.good.execute(batch)
        refused = next((outcome for outcome in answer.values() if isinstance(outcome, Rejected)), None)
        return answer if refused is None or batch.kind is Kind.READ else dict.fromkeys(answer, refused)


class TakesOneForAll(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        answer = await self.good.execute(batch)
        is_done = any(isinstance(outcome, Applied) for outcome in answer.values())
        return dict.fromkeys(answer, Applied()) if is_done and batch.kind is Kind.UPDATE else answer


class ChangesItsMind(Mutant):
    @property
    def capabilities(self) -> Capabilities:
        return evolve(self.good.capabilities, batch_max=1 + len(self.good.writes))


class WorksOnTheBatch(Mutant):
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        for operation in batch.operations:
            if isinstance(operation.fields, dict):
                operation.fields["sent"] = True
        return await self.good.execute(batch)


class MixesCalls(Mutant):
    latest: Batch | None = None

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        self.latest = batch
        await anyio.lowlevel.checkpoint()
        assert self.latest is not None
        answer = await self.good.execute(self.latest)
        return dict(zip([operation.id or "" for operation in batch.operations], answer.values(), strict=False))


class TakesSilenceForConsent(Mutant):
    """Before a provider in trouble."""

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        return {operation.id or "": Applied() for operation in batch.operations}


class LetsTransportErrorsThrough(Mutant):
    """Before a provider in trouble."""

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        raise ConnectionResetError("connection reset")


IN_TROUBLE = (TakesSilenceForConsent, LetsTransportErrorsThrough)
MUTANTS: dict[type[Mutant], str] = {
    MatchesByPosition: "test_outcomes_are_matched_by_id",
    AnswersForOthers: "test_every_kind_that_it_names_is_carried_out",
    ForgetsTheLast: "test_outcomes_are_matched_by_id",
    ClaimsTooMuch: "test_every_kind_that_it_names_is_carried_out",
    SwallowsCancellation: "test_a_cancelled_call_ends_at_once",
    LeaksOnCancellation: "test_after_cancelled_calls_it_works_as_before",
    IgnoresVersions: "test_a_write_for_another_version_is_a_conflict",
    ReplacesRecords: "test_an_update_writes_its_fields_and_no_others",
    AnswersWithWhatWasSent: "test_a_record_that_answers_a_write_is_what_a_read_finds",
    CreatesAgain: "test_a_create_that_is_repeated_makes_no_second_record",
    FailsOnWhatIsGone: "test_a_deleted_record_is_gone_and_may_be_deleted_again",
    RefusesAllForOne: "test_one_bad_write_does_not_spoil_the_batch",
    TakesOneForAll: "test_one_bad_write_does_not_spoil_the_batch",
    ChangesItsMind: "test_name_and_capabilities_stay_as_they_are",
    WorksOnTheBatch: "test_every_kind_that_it_names_is_carried_out",
    MixesCalls: "test_calls_at_the_same_time_do_not_mix",
    TakesSilenceForConsent: "test_trouble_is_told_and_nothing_is_taken_for_done",
    LetsTransportErrorsThrough: "test_trouble_is_told_and_nothing_is_taken_for_done",
}


async def failing(provider: ProviderClient, in_trouble: ProviderClient) -> set[str]:
    """The tests of the suite that an adapter fails."""
    suite = ProviderSuite()
    failed: set[str] = set()
    for name, test in inspect.getmembers(suite, inspect.iscoroutinefunction):
        wanted = inspect.signature(test).parameters
        values = {"provider": provider, "provider_in_trouble": in_trouble, "sample": sampler(provider, "contacts")}
        arguments = {parameter: value for parameter, value in values.items() if parameter in wanted}
        for case in cases(test):
            try:
                await test(**arguments, **case)
            except pytest.skip.Exception:
                pass
            except Exception:  # noqa: BLE001  any failure counts
                failed.add(name)
    return failed


async def test_an_adapter_that_does_nothing_wrong_fails_nothing() -> None:
    assert await failing(Mutant(), Mutant(fake(Faults(not_sent=1.0)))) == set()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
async def test_the_suite_finds_the_mistake(mutant: type[Mutant]) -> None:
    if mutant in IN_TROUBLE:
        found = await failing(Mutant(), mutant())
    else:
        found = await failing(mutant(), Mutant(fake(Faults(not_sent=1.0))))
    assert MUTANTS[mutant] in found
