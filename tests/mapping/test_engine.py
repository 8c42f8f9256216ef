"""A mapping inside the engine."""

from __future__ import annotations

import pytest

from ratesync import Applied, Operation, Rejected
from ratesync.mapping import Field, InvalidFields, Mapping
from ratesync.mapping.codecs import decimal, text
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.transformer_suite import TransformerSuite
from tests.engine.conftest import EngineFactory, anyio_backend, backend, clock, make_engine, provider
from tests.mapping.contact import CONTACT

__all__ = ["anyio_backend", "backend", "clock", "make_engine", "provider"]

LINES = (Field("email", "properties.email", text(), required=True), Field("amount", "properties.amount", decimal(2)))


class TestContact(TransformerSuite):
    @pytest.fixture
    def transformer(self) -> Mapping:
        return CONTACT

    @pytest.fixture
    def local_samples(self) -> list[dict[str, object]]:
        return [{}, {"email": "a", "amount": "5", "tags": ["x"], "full_name": "Ada King"}, {"nickname": None}]

    @pytest.fixture
    def external_samples(self) -> list[dict[str, object]]:
        return [{}, {"id": 1, "properties": {"email": "A", "amount": "5"}}, {"properties": None, "phones": ["1"]}]


@pytest.mark.anyio
async def test_records_go_out_and_come_back_translated(make_engine: EngineFactory, provider: FakeProvider) -> None:
    async with make_engine(transformers={("fake", "contacts"): Mapping(*LINES)}) as engine:
        await engine.submit(Operation.upsert("fake", "contacts", "1", {"email": "ada@example.org", "amount": "5"}))
        assert await engine.drain(timeout=60)
        read = await (await engine.submit(Operation.read("fake", "contacts", "1"))).outcome(timeout=60)
    assert [dict(record.fields) for record in provider.records.values()] == [
        {"properties": {"email": "ada@example.org", "amount": "5.00"}}
    ]
    assert isinstance(read, Applied)
    assert read.record is not None
    assert read.record.fields == {"email": "ada@example.org", "amount": "5.00"}


@pytest.mark.anyio
async def test_a_record_that_fails_is_a_dead_letter_with_its_reasons_and_nothing_waits_for_it(
    make_engine: EngineFactory,
) -> None:
    lazy = Mapping(*LINES, eager=False)
    async with make_engine(transformers={("fake", "contacts"): lazy}) as engine:
        tickets = await engine.submit_many(
            [
                Operation.upsert("fake", "contacts", "1", {"email": "a"}),
                Operation.upsert("fake", "contacts", "2", {"amount": "hunter2", "emial": "b"}),
                Operation.upsert("fake", "contacts", "3", {"email": "c"}),
            ]
        )
        outcomes = [await ticket.outcome(timeout=60) for ticket in tickets]
        (letter,) = await engine.dead_letters()
    assert [type(outcome) for outcome in outcomes] == [Applied, Rejected, Applied]
    assert isinstance(letter.outcome, Rejected)
    assert letter.outcome.code == "transform"
    for reason in ("email: must be given", "amount: must be a decimal number", "emial: is no field of the mapping"):
        assert reason in letter.outcome.reason
    assert "hunter2" not in letter.outcome.reason


@pytest.mark.anyio
async def test_an_eager_mapping_refuses_at_submit_and_nothing_is_enqueued(make_engine: EngineFactory) -> None:
    async with make_engine(transformers={("fake", "contacts"): Mapping(*LINES)}) as engine:
        good = Operation.upsert("fake", "contacts", "1", {"email": "a"})
        bad = Operation.update("fake", "contacts", "2", {"email": None, "amount": "x"})
        with pytest.raises(InvalidFields) as caught:
            await engine.submit_many([good, bad])
        assert (await engine.stats()).pending == 0
        elsewhere = Operation.update("fake", "deals", "2", {"amount": "x"})
        delete = Operation.delete("fake", "contacts", "1")
        await engine.submit_many([elsewhere, delete])
    assert caught.value.path == "operations[1].fields"
    assert [(error.path, error.code) for error in caught.value.errors] == [("email", "required"), ("amount", "invalid")]


@pytest.mark.anyio
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_good_change_does_not_die_for_having_waited_beside_a_bad_one(
    make_engine: EngineFactory, provider: FakeProvider, place: int
) -> None:
    """Several changes of one record are folded into one. Only those die that cannot be translated."""
    lazy = Mapping(*LINES, eager=False)
    changes = [{"email": "a"}, {"amount": "1"}, {"email": "c"}]
    changes[place] = {"emial": "hunter2"}
    async with make_engine(transformers={("fake", "contacts"): lazy}) as engine:
        await engine.submit(Operation.upsert("fake", "contacts", "1", {"email": "old", "amount": "0"}))
        assert await engine.drain(timeout=60)
        await engine.pause()
        tickets = await engine.submit_many([Operation.update("fake", "contacts", "1", change) for change in changes])
        other = await engine.submit(Operation.upsert("fake", "contacts", "2", {"email": "b"}))
        await engine.resume()
        outcomes = [await ticket.outcome(timeout=60) for ticket in tickets]
        assert isinstance(await other.outcome(timeout=60), Applied)
        (letter,) = await engine.dead_letters()
    assert [isinstance(outcome, Applied) for outcome in outcomes] == [number != place for number in range(3)]
    assert letter.id == tickets[place].id
    assert isinstance(letter.outcome, Rejected)
    assert "emial: is no field of the mapping" in letter.outcome.reason
    written = [write.fields["properties"] for write in provider.writes if write.record_id == "1"][1:]
    both = [{"email": "c", "amount": "1.00"}, {"email": "c"}, {"email": "a", "amount": "1.00"}]
    assert written == [both[place]]
