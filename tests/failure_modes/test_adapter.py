"""Adapters with mistakes: whatever they raise or answer, the engine goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from ratesync import (
    Applied,
    Cause,
    Conflict,
    Operation,
    OperationState,
    Record,
    Rejected,
    RetryLater,
    RetryPolicy,
    Unknown,
)
from tests.failure_modes.conftest import (
    EngineFactory,
    ScriptedProvider,
    answering,
    create,
    failing,
    upsert,
)

pytestmark = pytest.mark.anyio

MAX_DELAY = RetryPolicy().max_delay
CANARY = "hunter2"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        SystemExit(CANARY),
        BaseException(CANARY),
        ExceptionGroup("group", [ValueError(CANARY)]),
        BaseExceptionGroup("group", [SystemExit(CANARY)]),
        TimeoutError(CANARY),
        RecursionError(CANARY),
        MemoryError(CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_adapter_may_raise_anything(
    make_engine: EngineFactory, scripted: ScriptedProvider, error: BaseException
) -> None:
    """The calls of a batch are in doubt, so idempotent ones are repeated; nothing else is harmed."""
    scripted.script = [failing(error)]
    async with make_engine(providers=[scripted]) as engine:
        doubtful, create_in_doubt = await engine.submit_many([upsert("1"), create(None)])
        assert isinstance(await doubtful.outcome(timeout=60), Applied)
        await create_in_doubt.outcome(timeout=60)
        for letter in await engine.dead_letters():
            assert CANARY not in repr(letter)
        assert isinstance(await (await engine.submit(upsert("2"))).outcome(timeout=60), Applied)


def odd_answers() -> dict[str, Callable[[str], Any]]:
    """What an adapter with mistakes answers, given the id of the operation."""

    class Sneaky(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise RuntimeError(CANARY)

        def __iter__(self) -> Any:
            return iter([])

        def __len__(self) -> int:
            return 0

        def __contains__(self, key: object) -> bool:
            return True

    # Their types would keep us from using them wrongly.
    applied: Any = Applied
    conflict: Any = Conflict
    rejected: Any = Rejected
    unknown: Any = Unknown
    later: Any = RetryLater
    record: Any = Record
    return {
        "nothing": lambda _: None,
        "a list": lambda identity: [Applied(identity)],
        "a text": lambda _: "ok",
        "an outcome": lambda _: Applied(),
        "no results": lambda _: {},
        "a bool for a result": lambda identity: {identity: True},
        "a class for a result": lambda identity: {identity: Applied},
        "a mapping that fails": lambda _: Sneaky(),
        "ids of another type": lambda _: {5: Applied(), None: Applied()},
        "record id is an object": lambda identity: {identity: applied(object())},
        "record is a dict": lambda identity: {identity: applied("1", None, {"id": "1"})},
        "record without fields": lambda identity: {identity: Applied("1", None, record("1", None))},
        "fields are a list": lambda identity: {identity: Applied("1", None, record("1", ["a"]))},
        "fields are not JSON": lambda identity: {identity: Applied("1", None, record("1", {"a": {1, 2}}))},
        "fields contain NaN": lambda identity: {identity: Applied("1", None, record("1", {"a": math.nan}))},
        "fields contain a surrogate": lambda identity: {identity: Applied("1", None, record("1", {"a": "\ud800"}))},
        "current is a dict": lambda identity: {identity: conflict("412", {"id": "1"})},
        "reason is an object": lambda identity: {identity: rejected(object())},
        "reason is bytes": lambda identity: {identity: unknown(b"\xff")},
        "reason has a surrogate": lambda identity: {identity: Rejected("\ud800")},
        "retry_after is a text": lambda identity: {identity: later("429", Cause.THROTTLED, "30")},
        "retry_after is NaN": lambda identity: {identity: later("503", Cause.UNAVAILABLE, math.nan)},
        "retry_after is negative": lambda identity: {identity: later("503", Cause.UNAVAILABLE, -1.0)},
        "retry_after is infinite": lambda identity: {identity: later("503", Cause.UNAVAILABLE, math.inf)},
        "retry_after is a text of 503": lambda identity: {identity: later("503", Cause.UNAVAILABLE, "30")},
        "cause is unknown": lambda identity: {identity: later("?", "because")},
    }


@pytest.mark.parametrize("name", odd_answers())
@pytest.mark.parametrize("operation", [upsert("1"), create(None)], ids=["upsert", "create"])
async def test_an_adapter_may_answer_anything(
    make_engine: EngineFactory, scripted: ScriptedProvider, name: str, operation: Operation
) -> None:
    """Its operation ends one way or another, or is repeated; the engine, the lane and the others go on."""
    make = odd_answers()[name]
    scripted.script = [answering(lambda batch: make(batch.operations[0].id or ""))]
    async with make_engine(providers=[scripted]) as engine:
        odd = await engine.submit(operation)
        await anyio.sleep(0.1)
        good = await engine.submit_many([upsert("2"), upsert("3", connection="other")])
        assert await engine.drain(timeout=2 * MAX_DELAY)
        assert [type(await ticket.outcome()) for ticket in good] == [Applied, Applied]
        assert (await odd.status()).state in {OperationState.COMPLETED, OperationState.DEAD}
        assert CANARY not in repr(await engine.dead_letters())
