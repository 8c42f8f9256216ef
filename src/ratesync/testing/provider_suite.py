"""The conformance suite of adapters: each sentence of :class:`ratesync.protocols.ProviderClient` as a test."""

from __future__ import annotations

import inspect

import anyio
import anyio.lowlevel
import pytest

from ratesync.errors import ProviderError
from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Outcome
from ratesync.protocols import LooksUp, ProviderClient
from ratesync.testing.provider_calls import Sample, again, applied, execute, outcome_of, read, same_record
from ratesync.testing.suite import Suite

_PATIENCE = 10.0
"""Seconds after which a call that should have ended counts as one that never ends."""
_WRITES = frozenset({Kind.CREATE, Kind.UPDATE, Kind.UPSERT})


class ProviderSuite(Suite):
    """Subclass it and give three fixtures.

    ::

        class TestAcmeContacts(ProviderSuite):
            @pytest.fixture
            async def provider(self) -> AsyncIterator[AcmeContacts]: ...

            @pytest.fixture
            def sample(self) -> Sample: ...

            @pytest.fixture(params=["no connection", "answer lost", "HTML"])
            def provider_in_trouble(self, request) -> AcmeContacts: ...

    ``provider`` is the adapter before a working provider. ``sample`` is an async function that gives an operation of a
    kind (one of the adapter's capabilities) that the provider can carry out now: each time on another record, which it
    makes first where the kind needs one; with ``id`` and ``idempotency_key``; all of one lane and resource; with fields
    that come back from a read as they were written. ``provider_in_trouble`` is the adapter before a provider of which
    nothing it asks for is known to be done: each way of failing that the fixture's parameters give.

    Tests of what the capabilities do not promise are skipped.
    """

    pytestmark = pytest.mark.anyio

    async def test_it_keeps_the_protocol(self, provider: ProviderClient) -> None:
        assert isinstance(provider, ProviderClient)
        assert isinstance(provider.name, str)
        assert provider.name
        assert isinstance(provider.capabilities, Capabilities)
        assert inspect.iscoroutinefunction(provider.execute)
        if provider.capabilities.create_identity is CreateIdentity.LOOKUP:
            assert isinstance(provider, LooksUp), "LOOKUP promises a method lookup"

    async def test_name_and_capabilities_stay_as_they_are(self, provider: ProviderClient, sample: Sample) -> None:
        before = provider.name, provider.capabilities
        await applied(provider, await sample(_some_kind(provider)))
        assert (provider.name, provider.capabilities) == before

    async def test_samples_are_of_the_adapter(self, provider: ProviderClient, sample: Sample) -> None:
        """Checks the author's fixture, so that the other tests mean something."""
        kinds = sorted(provider.capabilities.kinds)
        samples = [await sample(kind) for kind in kinds]
        assert [operation.kind for operation in samples] == kinds
        assert {operation.provider for operation in samples} == {provider.name}
        assert len({(operation.lane, operation.resource) for operation in samples}) == 1
        assert len({operation.id for operation in samples}) == len({operation.record_id for operation in samples})
        assert all(operation.id and operation.idempotency_key for operation in samples)

    @pytest.mark.parametrize("kind", Kind)
    async def test_every_kind_that_it_names_is_carried_out(
        self, provider: ProviderClient, sample: Sample, kind: Kind
    ) -> None:
        _needs(provider, kind)
        operations = [await sample(kind) for _ in range(min(provider.capabilities.most(kind), 2))]
        outcomes = await execute(provider, *operations)
        assert all(isinstance(outcome, Applied) for outcome in outcomes.values()), (
            f"{kind} of samples came to {outcomes}"
        )

    async def test_a_created_record_can_be_read(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.CREATE, Kind.READ)
        operation = await sample(Kind.CREATE)
        created = await applied(provider, operation)
        record_id = created.record_id or operation.record_id
        assert record_id, "the outcome of a create names the record's id if the operation did not"
        record = await read(provider, operation, record_id)
        assert record.record_id == record_id
        assert {name: record.fields.get(name) for name in operation.fields} == operation.fields

    async def test_an_update_writes_its_fields_and_no_others(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.UPDATE, Kind.READ)
        operation = await sample(Kind.UPDATE)
        before = (await read(provider, operation)).fields
        await applied(provider, operation)
        after = (await read(provider, operation)).fields
        assert {name: after.get(name) for name in operation.fields} == operation.fields
        assert before.keys() <= after.keys(), "fields that an update does not name stay"

    async def test_an_upsert_updates_what_it_has_created(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.UPSERT, Kind.READ)
        operation = await sample(Kind.UPSERT)
        await applied(provider, operation)
        await applied(provider, again(operation))
        record = await read(provider, operation)
        assert {name: record.fields.get(name) for name in operation.fields} == operation.fields

    async def test_a_record_that_answers_a_write_is_what_a_read_finds(
        self, provider: ProviderClient, sample: Sample
    ) -> None:
        _needs(provider, Kind.READ)
        for kind in sorted(provider.capabilities.kinds & _WRITES):
            operation = await sample(kind)
            answer = await applied(provider, operation)
            if answer.record is not None:
                record = await read(provider, operation, answer.record_id)
                assert answer.record.record_id == record.record_id
                assert answer.record.fields == record.fields, "no record is better than one with only some fields"
                assert answer.record.version == answer.version == record.version

    async def test_a_deleted_record_is_gone_and_may_be_deleted_again(
        self, provider: ProviderClient, sample: Sample
    ) -> None:
        _needs(provider, Kind.DELETE)
        operation = await sample(Kind.DELETE)
        await applied(provider, operation)
        await applied(provider, again(operation))
        if Kind.READ in provider.capabilities.kinds:
            outcome = await outcome_of(provider, same_record(operation, Kind.READ))
            assert not isinstance(outcome, Applied), "a read of a record that is gone is not applied"

    async def test_outcomes_are_matched_by_id(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.READ)
        operations = [await sample(Kind.READ) for _ in range(min(provider.capabilities.most(Kind.READ), 5))]
        for batch in (operations, operations[::-1], operations[1:] + operations[:1]):
            outcomes = await execute(provider, *batch)
            assert _records_read(outcomes) == {operation.id: operation.record_id for operation in operations}

    async def test_one_bad_operation_does_not_spoil_the_batch(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.READ, Kind.DELETE)
        if provider.capabilities.most(Kind.READ) == 1:
            pytest.skip("the adapter takes one operation at a time")
        good, gone = await sample(Kind.READ), await sample(Kind.READ)
        await applied(provider, same_record(gone, Kind.DELETE))
        outcomes = await execute(provider, gone, good)
        assert _records_read(outcomes) == {good.id: good.record_id}

    @pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.DELETE])
    async def test_one_bad_write_does_not_spoil_the_batch(
        self, provider: ProviderClient, sample: Sample, kind: Kind
    ) -> None:
        _needs(provider, kind, Kind.READ, Kind.DELETE)
        if provider.capabilities.most(kind) == 1:
            pytest.skip("the adapter takes one operation at a time")
        good, gone = await sample(kind), await sample(kind)
        await applied(provider, same_record(gone, Kind.DELETE))
        outcomes = await execute(provider, gone, good)
        assert isinstance(outcomes[good.id or ""], Applied), f"beside a record that is gone: {outcomes}"
        is_again = isinstance(outcomes[gone.id or ""], Applied)
        assert is_again is (kind is Kind.DELETE), "a record that is gone may be deleted again, and not be changed"
        found = await outcome_of(provider, same_record(good, Kind.READ))
        if kind is Kind.DELETE:
            assert not isinstance(found, Applied), "what was deleted is gone"
        else:
            assert isinstance(found, Applied)
            assert found.record is not None
            assert {name: found.record.fields.get(name) for name in good.fields} == good.fields

    async def test_calls_at_the_same_time_do_not_mix(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.READ)
        operations = [await sample(Kind.READ) for _ in range(min(provider.capabilities.concurrency or 5, 5))]
        outcomes: dict[str, Outcome] = {}

        async def call(operation: Operation) -> None:
            outcomes.update(await execute(provider, operation))

        async with anyio.create_task_group() as tasks:
            for operation in operations:
                tasks.start_soon(call, operation)
        assert _records_read(outcomes) == {operation.id: operation.record_id for operation in operations}

    async def test_a_write_for_another_version_is_a_conflict(self, provider: ProviderClient, sample: Sample) -> None:
        _needs(provider, Kind.UPDATE, Kind.READ)
        if provider.capabilities.conditional_write is not ConditionalWrite.STRONG:
            pytest.skip("the adapter promises no conditional writes")
        operation = await sample(Kind.UPDATE)
        version = (await read(provider, operation)).version
        assert version, "where writes are conditional a read tells the version"
        await applied(provider, again(operation, if_version=version))
        assert isinstance(await outcome_of(provider, again(operation, if_version=version)), Conflict)

    async def test_a_create_that_is_repeated_makes_no_second_record(
        self, provider: ProviderClient, sample: Sample
    ) -> None:
        _needs(provider, Kind.CREATE)
        operation = await sample(Kind.CREATE)
        first = await applied(provider, operation)
        match provider.capabilities.create_identity:
            case CreateIdentity.CLIENT_ID:
                assert operation.record_id, "with CLIENT_ID the sample create names its record's id"
                assert isinstance(await outcome_of(provider, operation), Conflict)
            case CreateIdentity.IDEMPOTENCY_KEY:
                assert (await applied(provider, operation)).record_id == first.record_id
            case CreateIdentity.LOOKUP:
                assert isinstance(provider, LooksUp)
                assert await provider.lookup(operation) == Applied(record_id=first.record_id)
                assert await provider.lookup(await sample(Kind.CREATE)) is None
            case CreateIdentity.NONE:
                pytest.skip("the adapter does not promise it")

    async def test_trouble_is_told_and_nothing_is_taken_for_done(
        self, provider: ProviderClient, provider_in_trouble: ProviderClient, sample: Sample
    ) -> None:
        for kind in sorted(provider.capabilities.kinds):
            operation = await sample(kind)
            try:
                with anyio.fail_after(_PATIENCE):
                    outcome = await outcome_of(provider_in_trouble, operation)
            except ProviderError:
                continue
            assert not isinstance(outcome, Applied), f"a {kind} that surely was not answered counts as applied"

    async def test_a_cancelled_call_ends_at_once(self, provider: ProviderClient, sample: Sample) -> None:
        operation = await sample(_some_kind(provider))
        with anyio.fail_after(_PATIENCE), anyio.CancelScope() as scope:
            scope.cancel()
            await execute(provider, operation)
        assert scope.cancelled_caught, "execute must let a cancellation through"

    async def test_after_cancelled_calls_it_works_as_before(self, provider: ProviderClient, sample: Sample) -> None:
        kind = _some_kind(provider)
        for steps in range(12):
            operation = await sample(kind)
            with anyio.fail_after(_PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(execute, provider, operation)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
        for _ in range((provider.capabilities.concurrency or 10) + 1):
            await applied(provider, await sample(kind))


def _needs(provider: ProviderClient, *kinds: Kind) -> None:
    missing = set(kinds) - provider.capabilities.kinds
    if missing:
        pytest.skip(f"the adapter does not {', '.join(sorted(missing))}")


def _some_kind(provider: ProviderClient) -> Kind:
    kinds = provider.capabilities.kinds
    assert kinds, "an adapter can do something"
    return Kind.READ if Kind.READ in kinds else min(kinds)


def _records_read(outcomes: dict[str, Outcome]) -> dict[str | None, str | None]:
    """Ids of the operations that read a record, with the ids of the records."""
    return {
        identity: outcome.record.record_id
        for identity, outcome in outcomes.items()
        if isinstance(outcome, Applied) and outcome.record is not None
    }
