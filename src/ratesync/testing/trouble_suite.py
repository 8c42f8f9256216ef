"""The conformance suite of adapters in trouble: what may have been done is never called undone, nor the other way."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import anyio
import httpx
import pytest

from ratesync.errors import ProviderError
from ratesync.model.batch import Batch, CreateIdentity
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import GONE_CODES, Applied, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.protocols import LooksUp, ProviderClient
from ratesync.rules.provider_errors import outcome_for_error
from ratesync.testing.faulty_transport import FaultyTransport, random_troubles
from ratesync.testing.provider_calls import Sample, again, applied, outcome_of, same_record
from ratesync.testing.suite import Suite
from ratesync.testing.trouble import ALLOWED, HARMLESS, OF_ROWS, UNENDING, Trouble

ProviderOver = Callable[[httpx.AsyncBaseTransport], ProviderClient]
"""Makes the adapter over a transport."""

_PATIENCE = 10.0
_DEADLINES = (0.1, 1.0)
"""Seconds: the first surely comes before one of the adapter's own, the second may come behind it."""
_STORM = 25
_OF_ONE = sorted(set(Trouble) - OF_ROWS - UNENDING)


class TroubleSuite(Suite):
    """Subclass it and give three fixtures.

    ::

        class TestAcmeContactsInTrouble(TroubleSuite):
            @pytest.fixture
            async def provider(self) -> AsyncIterator[AcmeContacts]: ...

            @pytest.fixture
            def sample(self) -> Sample: ...

            @pytest.fixture
            def provider_over(self) -> ProviderOver: ...

    ``provider`` and ``sample`` are those of :class:`~ratesync.testing.provider_suite.ProviderSuite`. ``provider_over``
    is a function that makes the adapter over a transport of httpx's kind, before the same working provider. Give it a
    small bound on the size of answers, or a trouble with a huge one takes its time. The suite closes the transport;
    nothing else of the adapter is closed.

    The transport leads to the provider over the network. Where it is no server but a part of the test, override the
    fixture ``transport`` with one of httpx's kind that leads there.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def transport(self) -> httpx.AsyncBaseTransport:
        """Leads to the working provider."""
        return httpx.AsyncHTTPTransport(trust_env=False)

    @pytest.fixture
    async def faulty(self, transport: httpx.AsyncBaseTransport) -> AsyncIterator[FaultyTransport]:
        """The transport under the adapter in trouble."""
        faulty = FaultyTransport(transport)
        yield faulty
        await faulty.aclose()

    @pytest.mark.parametrize("trouble", _OF_ONE)
    async def test_trouble_is_told_as_what_it_is(
        self,
        provider: ProviderClient,
        provider_over: ProviderOver,
        sample: Sample,
        faulty: FaultyTransport,
        trouble: Trouble,
    ) -> None:
        """Such as a lost answer, which may never be called undone: it would be sent again, or given up."""
        adapter = provider_over(faulty)
        for kind in sorted(provider.capabilities.kinds):
            operation = await sample(kind)
            can_tell = await _can_tell(provider, operation)
            faulty.play(trouble)
            outcome = await _attempt(adapter, operation)
            assert isinstance(outcome, _allowed(kind, trouble)), f"a {kind} that was {trouble} came to {outcome}"
            assert not _says_gone(outcome), "a sync deletes what is told to be gone, and this record is there"
            if can_tell:
                _compare(operation, outcome, is_done=await _is_done(provider, operation))
            assert faulty.met[trouble] >= 1, "the adapter calls over the transport that it is given"
        assert faulty.strays == [], "nothing goes to another host"

    @pytest.mark.parametrize("trouble", sorted(UNENDING))
    async def test_a_call_that_is_never_answered_can_be_cancelled(
        self,
        provider: ProviderClient,
        provider_over: ProviderOver,
        sample: Sample,
        faulty: FaultyTransport,
        trouble: Trouble,
    ) -> None:
        """As the engine does at its deadline, if the adapter has none of its own before that."""
        adapter = provider_over(faulty)
        kind = min(provider.capabilities.kinds)
        for deadline in _DEADLINES:
            operation = await sample(kind)
            faulty.play(trouble)
            with anyio.fail_after(_PATIENCE), anyio.move_on_after(deadline):
                outcome = await _attempt(adapter, operation)
                assert isinstance(outcome, _allowed(kind, trouble)), f"a {kind} that was {trouble} came to {outcome}"
            await applied(adapter, await sample(kind))

    @pytest.mark.parametrize("trouble", sorted(OF_ROWS))
    async def test_rows_of_an_answer_are_given_to_whom_they_belong(
        self,
        provider: ProviderClient,
        provider_over: ProviderOver,
        sample: Sample,
        faulty: FaultyTransport,
        trouble: Trouble,
    ) -> None:
        kinds = [kind for kind in sorted(provider.capabilities.kinds) if provider.capabilities.most(kind) > 1]
        if not kinds:
            pytest.skip("the adapter takes one operation at a time")
        adapter = provider_over(faulty)
        for kind in kinds:
            operations = [await sample(kind) for _ in range(min(provider.capabilities.most(kind), 3))]
            faulty.play(trouble)
            before = faulty.requests
            outcomes = await _attempt_all(adapter, *operations)
            for operation, outcome in zip(operations, outcomes, strict=True):
                assert isinstance(outcome, _allowed(kind, trouble)), f"a {kind} with {trouble} came to {outcome}"
                is_new = isinstance(outcome, Applied) and outcome.record_id not in {None, operation.record_id}
                if isinstance(outcome, Applied) and not (is_new and trouble is Trouble.ROWS_REVERSED):
                    assert await _is_its_own(provider, operation, outcome), "the record is another operation's"
                if isinstance(outcome, Applied) and kind is Kind.READ and faulty.requests == before + 1:
                    assert await _is_as_read(provider, operation, outcome), "the record is not as the provider has it"
            if trouble is Trouble.ROW_MISSING and faulty.requests == before + 1:
                assert not all(isinstance(outcome, Applied) for outcome in outcomes), "who has no row is in doubt"

    async def test_a_new_id_is_told_to_whom_it_belongs(
        self, provider: ProviderClient, provider_over: ProviderOver, sample: Sample, faulty: FaultyTransport
    ) -> None:
        """Whatever the order of the rows. A provider that tells new ids by their order alone is a known failure."""
        able = provider.capabilities
        kinds = [kind for kind in (Kind.CREATE, Kind.UPSERT) if kind in able.kinds and able.most(kind) > 1]
        if not kinds or Kind.READ not in able.kinds:
            pytest.skip("the adapter does not create many records in one call, or does not read them")
        adapter = provider_over(faulty)
        for kind in kinds:
            operations = [await sample(kind) for _ in range(min(able.most(kind), 3))]
            faulty.play(Trouble.ROWS_REVERSED)
            for operation, outcome in zip(operations, await _attempt_all(adapter, *operations), strict=True):
                assert isinstance(outcome, Applied)
                assert await _is_its_own(provider, operation, outcome), "the record is another operation's"

    @pytest.mark.parametrize("seed", range(3))
    async def test_in_a_storm_what_is_told_is_what_was_done(
        self,
        provider: ProviderClient,
        provider_over: ProviderOver,
        sample: Sample,
        faulty: FaultyTransport,
        seed: int,
    ) -> None:
        if Kind.READ not in provider.capabilities.kinds:
            pytest.skip("the adapter reads no records, so that nothing can be compared")
        adapter = provider_over(faulty)
        source = random.Random(seed)
        script = random_troubles(seed, share=0.6, among=_OF_ONE)
        kinds = sorted(provider.capabilities.kinds - {Kind.READ})
        for _ in range(_STORM if kinds else 0):
            operation = await sample(source.choice(kinds))
            if not await _can_tell(provider, operation):
                continue
            faulty.play(next(script))
            outcome = await _attempt(adapter, operation)
            _compare(operation, outcome, is_done=await _is_done(provider, operation))

    @pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.TRUNCATED, Trouble.BROKEN])
    async def test_a_create_whose_answer_was_lost_can_be_repeated(
        self,
        provider: ProviderClient,
        provider_over: ProviderOver,
        sample: Sample,
        faulty: FaultyTransport,
        trouble: Trouble,
    ) -> None:
        """As its capabilities promise: no second record comes of it."""
        identity = provider.capabilities.create_identity
        if Kind.CREATE not in provider.capabilities.kinds or identity in {CreateIdentity.NONE, CreateIdentity.LOOKUP}:
            pytest.skip("the adapter does not promise it")
        adapter = provider_over(faulty)
        operation = await sample(Kind.CREATE)
        faulty.play(trouble)
        await _attempt(adapter, operation)
        repeated = await _attempt(adapter, operation)
        if identity is CreateIdentity.IDEMPOTENCY_KEY:
            assert isinstance(repeated, Applied)
            assert await applied(provider, operation) == repeated
        else:
            assert not isinstance(repeated, Applied), "the second create of an id conflicts"

    async def test_a_create_whose_answer_was_lost_can_be_looked_up(
        self, provider: ProviderClient, provider_over: ProviderOver, sample: Sample, faulty: FaultyTransport
    ) -> None:
        _needs_lookup(provider)
        adapter = provider_over(faulty)
        assert isinstance(adapter, LooksUp)
        operation = await sample(Kind.CREATE)
        faulty.play(Trouble.LOST)
        await _attempt(adapter, operation)
        assert isinstance(await adapter.lookup(operation), Applied)

    async def test_a_lookup_that_fails_denies_nothing(
        self, provider: ProviderClient, provider_over: ProviderOver, sample: Sample, faulty: FaultyTransport
    ) -> None:
        """None says that the create surely was not applied: it would be sent again."""
        _needs_lookup(provider)
        adapter = provider_over(faulty)
        assert isinstance(adapter, LooksUp)
        operation = await sample(Kind.CREATE)
        await applied(provider, operation)
        for trouble in _OF_ONE:
            faulty.play(trouble)
            try:
                with anyio.fail_after(_PATIENCE):
                    found = await adapter.lookup(operation)
            except ProviderError:
                continue
            assert found is not None, f"a lookup that was {trouble} denies a create that was applied"

    async def test_after_trouble_it_works_as_before(
        self, provider: ProviderClient, provider_over: ProviderOver, sample: Sample, faulty: FaultyTransport
    ) -> None:
        adapter = provider_over(faulty)
        kind = min(provider.capabilities.kinds, key=lambda kind: (kind is not Kind.READ, kind))
        for trouble in _OF_ONE:
            faulty.play(trouble)
            await _attempt(adapter, await sample(kind))
        for _ in range((provider.capabilities.concurrency or 10) + 1):
            await applied(adapter, await sample(kind))


def _allowed(kind: Kind, trouble: Trouble) -> tuple[type[Outcome], ...]:
    """A read that failed may simply be made again; but without its record it was not carried out."""
    if kind is Kind.READ and trouble is Trouble.ROW_MISSING:
        return (*ALLOWED[trouble], Rejected)  # a search by ids gives no row for a record that is gone
    if kind is not Kind.READ or trouble in HARMLESS | OF_ROWS:
        return ALLOWED[trouble]
    return (*(outcome for outcome in ALLOWED[trouble] if outcome is not Applied), RetryLater)


def _says_gone(outcome: Outcome) -> bool:
    return isinstance(outcome, Rejected) and outcome.code in GONE_CODES


async def _attempt(adapter: ProviderClient, operation: Operation) -> Outcome:
    """The outcome of an operation, that of an error included, within its time."""
    return (await _attempt_all(adapter, operation))[0]


async def _attempt_all(adapter: ProviderClient, *operations: Operation) -> list[Outcome]:
    """The outcomes as the engine takes them: of what an adapter does not tell, or fails over, nothing is known."""
    first = operations[0]
    batch = Batch(first.lane, first.resource, first.kind, operations)
    with anyio.fail_after(_PATIENCE):
        try:
            outcomes = await adapter.execute(batch)
        except ProviderError as error:
            return [outcome_for_error(error) for _ in operations]
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            return [Unknown(f"the adapter raised {type(error).__name__}") for _ in operations]
    unknown = Unknown("the adapter gave no outcome for this operation")
    return [outcomes.get(operation.id or "", unknown) for operation in operations]


def _needs_lookup(provider: ProviderClient) -> None:
    capabilities = provider.capabilities
    if Kind.CREATE not in capabilities.kinds or capabilities.create_identity is not CreateIdentity.LOOKUP:
        pytest.skip("the adapter does not promise it")


async def _can_tell(provider: ProviderClient, operation: Operation) -> bool:
    """Whether reading the record will tell if a write was carried out."""
    if operation.kind is Kind.READ or Kind.READ not in provider.capabilities.kinds or operation.record_id is None:
        return False
    return not await _is_done(provider, operation)


async def _is_done(provider: ProviderClient, operation: Operation, record_id: str | None = None) -> bool:
    """Whether the record is as the operation wants it.

    :param record_id: of the record. Default: as the operation names it.
    """
    outcome = await outcome_of(provider, again(same_record(operation, Kind.READ, record_id)))
    if not isinstance(outcome, Applied) or outcome.record is None:
        return operation.kind is Kind.DELETE
    return operation.kind is not Kind.DELETE and _has(outcome.record, operation)


async def _is_its_own(provider: ProviderClient, operation: Operation, outcome: Applied) -> bool:
    """Whether the outcome tells of the operation's own record: of a write, the one that has what it wrote."""
    told = operation.record_id if operation.kind is Kind.READ else outcome.record_id or operation.record_id
    if outcome.record is not None and (outcome.record.record_id != told or not _has(outcome.record, operation)):
        return False
    if operation.kind is Kind.READ or Kind.READ not in provider.capabilities.kinds:
        return True
    return await _is_done(provider, operation, told)


async def _is_as_read(provider: ProviderClient, operation: Operation, outcome: Applied) -> bool:
    """Whether a read came to what another read comes to, in an answer that is as it should be."""
    found = await outcome_of(provider, again(operation))
    return isinstance(found, Applied) and found.record == outcome.record


def _has(record: Record, operation: Operation) -> bool:
    return all(record.fields.get(name) == value for name, value in operation.fields.items())


def _compare(operation: Operation, outcome: Outcome, *, is_done: bool) -> None:
    told = f"a {operation.kind} came to {outcome}"
    if is_done:
        assert isinstance(outcome, Applied | Unknown), f"{told}, and it was done"
    else:
        assert not isinstance(outcome, Applied), f"{told}, and it was not done"
