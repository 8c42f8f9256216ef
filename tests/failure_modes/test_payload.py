"""The cases of the failure catalogue that concern payloads, from submit to the provider and back.

tests/engine/test_bad_input.py has every kind of bad input; here each case is followed to the end of the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, evolve, field
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Conflict,
    Lane,
    Operation,
    OperationState,
    Outcome,
    PayloadLimits,
    Record,
    Rejected,
    Settings,
    Unknown,
)
from ratesync.codec import encode_operation
from ratesync.errors import InvalidOperation, InvalidPayload
from ratesync.memory import MemoryBackend
from ratesync.model.work import Item
from tests.failure_modes.conftest import EngineFactory, NotingProvider, upsert

pytestmark = pytest.mark.anyio

CANARY = "hunter2"
LANE = Lane("fake", "default")


def with_value(value: object) -> Operation:
    return upsert("1", password=CANARY, odd=value)


async def assert_refused(make_engine: EngineFactory, operation: Operation, place: str) -> InvalidOperation:
    """The operation is refused at submit, nothing of its submission is enqueued, and others go through."""
    async with make_engine() as engine:
        with pytest.raises(InvalidOperation) as caught:
            await engine.submit_many([upsert("2"), operation])
        assert caught.value.path.startswith(f"operations[1]{place}")
        assert CANARY not in str(caught.value)
        assert (await engine.stats()).pending == 0
        assert isinstance(await (await engine.submit(upsert("3"))).outcome(timeout=60), Applied)
    return caught.value


async def put(backend: MemoryBackend, **bodies: bytes) -> None:
    """Enqueue bytes as they might have been stored by something else, each under its name as id and key."""
    await backend.queue.enqueue([Item(name, LANE, name, body) for name, body in bodies.items()])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
async def test_case_65_numbers_that_json_does_not_have_are_refused(make_engine: EngineFactory, value: float) -> None:
    error = await assert_refused(make_engine, with_value([value]), ".fields.odd[0]")
    assert isinstance(error, InvalidPayload)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
async def test_case_65_stored_numbers_that_json_does_not_have_never_reach_the_provider(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, number: bytes
) -> None:
    body = encode_operation(with_value(0)).replace(b'"odd":0', b'"odd":' + number)
    assert number in body
    await put(backend, odd=body, good=encode_operation(upsert("2")))
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
        (letter,) = await engine.dead_letters()
        assert letter.id == "odd"
        assert letter.outcome == Rejected("stored bytes are damaged or foreign (ValueError)", "corrupt")
    assert [each.record_id for each in provider.operations] == ["2"]


async def test_case_65_numbers_that_an_adapter_invents_do_not_harm_the_settlement(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    @define
    class Odd(NotingProvider):
        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            record = Record("1", {"odd": math.nan, "password": CANARY})
            return {operation.id or "": Applied(record=record) for operation in batch.operations}

    async with make_engine(providers=[Odd(clock=provider.clock)]) as engine:
        outcome = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome(timeout=60)
        assert isinstance(outcome, Unknown)
        assert "not JSON" in outcome.reason
        assert CANARY not in repr(await engine.dead_letters())


TEXTS = {
    "nul": "a\0b",
    "bidi": "\u202eabc\u2066",
    "astral": "🦄",
    "combining": "e\u0301",
    "noncharacter": "\uffff\U0010ffff",
    "line separators": "\u2028\u2029\x85\r\n",
    "bom": "\ufeff",
    "all below 32": "".join(map(chr, range(32))),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_case_66_every_text_that_utf_8_can_hold_arrives_unchanged(
    make_engine: EngineFactory, provider: NotingProvider, text: str
) -> None:
    async with make_engine() as engine:
        await (await engine.submit(upsert("1", **{text: text}))).outcome(timeout=60)
        read = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome(timeout=60)
    assert isinstance(read, Applied)
    assert read.record is not None
    assert read.record.fields == provider.writes[0].fields == {text: text}


@pytest.mark.parametrize("text", [chr(0xD800), chr(0xDFFF) + "x", chr(0xDC80), "a" + chr(0xD83D)], ids=ascii)
async def test_case_66_lone_surrogates_are_refused_before_they_are_enqueued(
    make_engine: EngineFactory, text: str
) -> None:
    await assert_refused(make_engine, with_value(text), ".fields.odd")
    await assert_refused(make_engine, with_value({text: 1}), ".fields.odd")
    await assert_refused(make_engine, evolve(upsert("1"), record_id=text), ".record_id")


@pytest.mark.parametrize(
    "outcome",
    [
        Rejected("refused: \ud800", "422"),
        Rejected("refused", "\udfff"),
        Conflict("stale", Record("1", {"a": "\ud800"})),
        Applied("1", "\ud800"),
        Applied("1", "1", Record("1", {"\udc80": 1})),
    ],
    ids=["reason", "code", "current", "version", "field name"],
)
async def test_case_66_surrogates_in_an_answer_do_not_harm_the_settlement(
    make_engine: EngineFactory, provider: NotingProvider, outcome: Outcome
) -> None:
    """As from an adapter that decodes with ``surrogateescape``: the operation is settled, and can be listed."""

    @define
    class Odd(NotingProvider):
        answers: int = field(default=0, init=False)

        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.answers += 1
            answer = {operation.id or "": outcome for operation in batch.operations}
            return answer if self.answers == 1 else await super().execute(batch)

    odd = Odd(clock=provider.clock)
    async with make_engine(providers=[odd]) as engine:
        ticket = await engine.submit(upsert("1"))
        assert isinstance(await ticket.outcome(timeout=60), Unknown)
        (letter,) = await engine.dead_letters()
        assert letter.id == ticket.id
        assert isinstance(letter.outcome, Unknown)
        letter.outcome.reason.encode()
        assert isinstance(await (await engine.submit(upsert("2"))).outcome(timeout=60), Applied)
    assert odd.answers == 2


def deep(levels: int, inner: object = None) -> object:
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize("levels", [64, 1_000, 100_000])
async def test_case_67_deep_nesting_is_refused(make_engine: EngineFactory, levels: int) -> None:
    error = await assert_refused(make_engine, with_value(deep(levels, CANARY)), ".fields.odd")
    assert "nested deeper than 64 levels" in error.problem


async def test_case_67_the_deepest_that_is_accepted_comes_through(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    """Also with the largest limit that can be set, on every way that JSON takes."""
    most = 200
    fields = {"deep": deep(most - 1, "bottom")}
    async with make_engine(settings=Settings(limits=PayloadLimits(max_depth=most))) as engine:
        await (await engine.submit(evolve(upsert("1"), fields=fields))).outcome(timeout=60)
        read = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome(timeout=60)
    assert isinstance(read, Applied)
    assert read.record is not None
    assert read.record.fields == fields


@pytest.mark.parametrize("number", [10**5000, -(10**5000)], ids=["positive", "negative"])
async def test_case_67_ints_of_5000_digits_are_refused(make_engine: EngineFactory, number: int) -> None:
    await assert_refused(make_engine, with_value({"n": number}), ".fields.odd.n")


@pytest.mark.parametrize(
    "value", [b"[" * 100_000 + b"]" * 100_000, b"9" * 5_000], ids=["100,000 levels", "5,000 digits"]
)
async def test_case_67_stored_monsters_become_dead_letters(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, value: bytes
) -> None:
    body = encode_operation(with_value(0)).replace(b'"odd":0', b'"odd":' + value)
    await put(backend, odd=body, good=encode_operation(upsert("2")))
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
        (letter,) = await engine.dead_letters()
    assert (letter.id, letter.outcome) == (
        "odd",
        Rejected(
            f"stored bytes are damaged or foreign ({'RecursionError' if value[0] == 91 else 'ValueError'})", "corrupt"
        ),
    )
    assert [each.record_id for each in provider.operations] == ["2"]


@pytest.mark.parametrize("size", [1_048_577, 10_000_000])
async def test_case_68_what_is_larger_than_a_mebibyte_is_refused_with_the_limit(
    make_engine: EngineFactory, size: int
) -> None:
    error = await assert_refused(make_engine, with_value("x" * size), "")
    assert "1048576 bytes" in error.problem


async def test_case_68_what_just_fits_comes_through(make_engine: EngineFactory, provider: NotingProvider) -> None:
    overhead = len(encode_operation(upsert("1", a="")))
    operation = upsert("1", a="x" * (1_048_576 - overhead))
    async with make_engine() as engine:
        await (await engine.submit(operation)).outcome(timeout=60)
        await assert_one_byte_more_is_refused(make_engine, operation)
    assert provider.writes[0].fields == operation.fields


async def assert_one_byte_more_is_refused(make_engine: EngineFactory, operation: Operation) -> None:
    larger = evolve(operation, fields={"a": operation.fields["a"] + "x"})
    error = await assert_refused(make_engine, larger, "")
    assert error.problem == "1048577 bytes when encoded, at most 1048576 are allowed"


WRONG_TYPES: dict[str, Any] = {
    "priority": "5",
    "record_id": 42,
    "connection": True,
    "kind": "upsert",
    "not_before": "2026-01-01",
    "deadline": 5.9,
    "idempotency_key": 7,
    "fields": "a=1",
}


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES.items(), ids=WRONG_TYPES)
async def test_case_69_wrong_types_are_refused_and_not_converted(
    make_engine: EngineFactory, name: str, value: Any
) -> None:
    await assert_refused(make_engine, evolve(upsert("1"), **{name: value}), f".{name}")


async def test_case_69_values_keep_their_types_all_the_way(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    """A converter might take each of these for something else."""
    fields: dict[str, Any] = {
        "text": "5",
        "no": "false",
        "nan": "nan",
        "none": "None",
        "one": 1,
        "float": 1.0,
        "true": True,
        "null": None,
    }
    async with make_engine() as engine:
        await (await engine.submit(upsert("1", **fields))).outcome(timeout=60)
        read = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome(timeout=60)
    assert isinstance(read, Applied)
    assert read.record is not None
    for found in (provider.writes[0].fields, read.record.fields):
        assert {name: (type(value), value) for name, value in found.items()} == {
            name: (type(value), value) for name, value in fields.items()
        }


STORED: Mapping[str, bytes] = {
    "fields are a text": b'{"v":1,"k":"upsert","r":"contacts","i":"1","f":"ab"}',
    "fields are pairs": b'{"v":1,"k":"upsert","r":"contacts","i":"1","f":[["a","b"]]}',
    "resource is a list": b'{"v":1,"k":"upsert","r":["contacts"],"i":"1"}',
    "resource is null": b'{"v":1,"k":"upsert","r":null,"i":"1"}',
    "record id is a number": b'{"v":1,"k":"upsert","r":"contacts","i":1}',
    "deadline is a text": b'{"v":1,"k":"upsert","r":"contacts","i":"1","d":"soon"}',
    "version is a text": b'{"v":"1","k":"upsert","r":"contacts","i":"1"}',
    "version is null": b'{"v":null,"k":"upsert","r":"contacts","i":"1"}',
}


@pytest.mark.parametrize("body", STORED.values(), ids=STORED)
async def test_case_69_stored_operations_of_wrong_types_become_dead_letters(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, body: bytes
) -> None:
    """Whatever else wrote to the queue's storage: it neither reaches the provider nor stops the engine."""
    good = encode_operation(upsert("2"))
    await put(backend, odd=body, good=good)
    # And behind one of the same record, into which it might be folded.
    await backend.queue.enqueue(
        [Item("first", LANE, "k", encode_operation(upsert("1"))), Item("then", LANE, "k", body)]
    )
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
        letters = await engine.dead_letters()
        assert {letter.id for letter in letters} == {"odd", "then"}
        assert {letter.outcome.code for letter in letters if isinstance(letter.outcome, Rejected)} == {"corrupt"}
        assert (await engine.status("good")).state is OperationState.COMPLETED
        assert (await engine.status("first")).state is OperationState.COMPLETED
    assert sorted(each.id or "" for each in provider.operations) == ["first", "good"]


async def test_case_69_unknown_parts_of_a_stored_operation_are_let_be(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider
) -> None:
    body = encode_operation(upsert("1", n=1)).replace(b'{"v":1', b'{"v":1,"comment":{"by":"somebody"}')
    await put(backend, odd=body)
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
        assert (await engine.status("odd")).state is OperationState.COMPLETED
    assert [dict(write.fields) for write in provider.writes] == [{"n": 1}]
