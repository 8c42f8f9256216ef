"""Cases 13 and 14: transformers that fail. test_blocking.py has those that take too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, evolve

from ratesync import (
    Applied,
    Batch,
    Fields,
    Kind,
    Operation,
    Outcome,
    Record,
    Rejected,
    Settings,
)
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    upsert,
)

pytestmark = pytest.mark.anyio

CANARY = "hunter2"


@define
class Transforming:
    """A transformer that fails on fields with "poison", in the way and the direction asked for."""

    fail: Callable[[], Any]
    outwards: bool = True

    def to_external(self, fields: Fields, kind: Kind) -> Fields:
        return self._transformed(fields, fails=self.outwards)

    def to_local(self, fields: Fields) -> Fields:
        return self._transformed(fields, fails=not self.outwards)

    def _transformed(self, fields: Fields, *, fails: bool) -> Fields:
        transformed: Fields = self.fail() if fails and "poison" in fields else fields
        return transformed


def raising(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def overflow() -> object:
    return overflow()


def hog() -> object:
    return bytearray(1 << 62)


def named(name: str) -> Operation:
    """An operation on the record of that name, with a field of that name."""
    return evolve(upsert(name), fields={name: 1})


async def assert_one_dies_alone(make_engine: EngineFactory, fail: Callable[[], object], *, outwards: bool) -> str:
    """Among good operations in one batch, one that its transformer fails on dies, and nothing else; why it died."""
    transformer = Transforming(fail, outwards)
    options = {"transformers": {("fake", "contacts"): transformer}, "settings": Settings(max_calls=1)}
    async with make_engine(**options) as engine:
        await engine.submit_many([upsert(name, connection="other") for name in "ab"])
        if not outwards:
            # What it will read, by a transformer that lets it pass.
            await engine.submit_many([named("poison"), named("1"), named("2")])
            assert await engine.drain(timeout=60)
            operations = [Operation.read("fake", "contacts", name) for name in ("1", "poison", "2")]
        else:
            operations = [named("1"), named("poison"), named("2")]
        tickets = await engine.submit_many(operations)
        outcomes = [await ticket.outcome(timeout=60) for ticket in tickets]
        assert [type(outcome) for outcome in outcomes] == [Applied, Rejected, Applied]
        assert isinstance(await (await engine.submit(upsert("after"))).outcome(timeout=60), Applied)
        (letter,) = await engine.dead_letters()
        assert letter.id == tickets[1].id
    assert isinstance(letter.outcome, Rejected)
    assert letter.outcome.code == "transform"
    assert CANARY not in letter.outcome.reason
    return letter.outcome.reason


@pytest.mark.parametrize("outwards", [True, False], ids=["to_external", "to_local"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        SystemExit(CANARY),
        BaseException(CANARY),
        ExceptionGroup("group", [ValueError(CANARY)]),
        BaseExceptionGroup("group", [SystemExit(CANARY)]),
        StopIteration(CANARY),
        StopAsyncIteration(CANARY),
        TimeoutError(CANARY),
        AssertionError(CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_case_13_a_transformer_may_raise_anything(
    make_engine: EngineFactory, error: BaseException, *, outwards: bool
) -> None:
    reason = await assert_one_dies_alone(make_engine, raising(error), outwards=outwards)
    assert type(error).__name__ in reason


@pytest.mark.parametrize("outwards", [True, False], ids=["to_external", "to_local"])
@pytest.mark.parametrize("answer", [None, 7, "text", ["list"]], ids=repr)
async def test_case_13_a_transformer_may_give_anything(
    make_engine: EngineFactory, answer: object, *, outwards: bool
) -> None:
    reason = await assert_one_dies_alone(make_engine, lambda: answer, outwards=outwards)
    assert type(answer).__name__ in reason


@pytest.mark.parametrize("outwards", [True, False], ids=["to_external", "to_local"])
@pytest.mark.parametrize(("fail", "name"), [(overflow, "RecursionError"), (hog, "MemoryError")])
async def test_case_14_a_transformer_may_run_out_of_stack_or_memory(
    make_engine: EngineFactory, fail: Callable[[], object], name: str, *, outwards: bool
) -> None:
    assert name in await assert_one_dies_alone(make_engine, fail, outwards=outwards)


class Echoing(FakeProvider):
    """Answers writes with the record as it is by then."""

    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        outcomes = await super().execute(batch)
        for operation in batch.operations:
            outcomes[operation.id or ""] = Applied(record=Record(operation.record_id or "", operation.fields))
        return outcomes


@pytest.mark.parametrize("fail", [raising(ValueError(CANARY)), lambda: 7], ids=["raises", "gives a number"])
async def test_case_13_what_was_applied_stays_so_though_its_answer_cannot_be_turned_into_the_hosts_terms(
    make_engine: EngineFactory, clock: VirtualClock, fail: Callable[[], object]
) -> None:
    transformers = {("fake", "contacts"): Transforming(fail, outwards=False)}
    async with make_engine(providers=[Echoing(clock=clock)], transformers=transformers) as engine:
        ticket = await engine.submit(named("poison"))
        outcome = await ticket.outcome(timeout=60)
        assert isinstance(outcome, Applied)
        assert outcome.record is None
        assert await engine.dead_letters() == []
