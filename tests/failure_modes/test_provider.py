"""The cases of the failure catalogue that concern providers, as far as the engine sees them.

Those that are about HTTP itself are in tests/http.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    Cause,
    CircuitPolicy,
    ConditionalWrite,
    Conflict,
    CreateIdentity,
    Operation,
    OperationState,
    Outcome,
    Record,
    Rejected,
    RetryLater,
    RetryPolicy,
    Settings,
    Ticket,
    Unknown,
)
from ratesync.errors import Throttled, Unauthorised
from ratesync.model.event import CallFinished, CircuitChanged, CircuitState, Event, LaneParked, LanePaused
from ratesync.testing.faults import Faults
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import EngineFactory, NotingProvider, create, upsert

pytestmark = pytest.mark.anyio

MAX_DELAY = RetryPolicy().max_delay
CANARY = "hunter2"

Answer = Callable[[Batch], Awaitable[Any]]


@define
class ScriptedProvider(NotingProvider):
    """Answers its first calls as it is told, the others well."""

    script: list[Answer] = field(factory=list[Answer])

    @override
    async def execute(self, batch: Batch) -> dict[str, Outcome]:
        if self.script:
            self.asked.append((self.clock.now(), batch))
            await anyio.sleep(self.latency[0])
            answer: dict[str, Outcome] = await self.script.pop(0)(batch)
            return answer
        return await super().execute(batch)

    async def really(self, batch: Batch) -> dict[str, Outcome]:
        """Carry the batch out, for use in a script."""
        return self._apply(batch)


def failing(error: BaseException) -> Answer:
    async def fail(batch: Batch) -> Any:
        raise error

    return fail


def answering(make: Callable[[Batch], Any]) -> Answer:
    async def answer(batch: Batch) -> Any:
        return make(batch)

    return answer


@pytest.fixture
def scripted(clock: VirtualClock) -> ScriptedProvider:
    return ScriptedProvider(clock=clock, latency=(0.02, 0.02))


def gaps(instants: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(instants)]


RETRY_AFTERS = {
    "seconds": (30.0, 30.0, 30.1),
    "fraction": (0.25, 0.25, 0.35),
    "zero": (0.0, 0.0, 1.1),
    "negative": (-5.0, 0.0, 1.1),
    "none": (None, 0.0, 1.1),
    "nan": (math.nan, 0.0, 1.1),
    "a billion": (1e9, MAX_DELAY, MAX_DELAY + 0.1),
    "infinity": (math.inf, 0.0, 1.1),
    # As an adapter gives it that hands the header on as it came.
    "text": ("30", 0.0, 30.1),
    "date": ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0, 1.1),
}


@pytest.mark.parametrize(("retry_after", "least", "most"), RETRY_AFTERS.values(), ids=RETRY_AFTERS)
async def test_case_43_a_throttled_lane_waits_as_long_as_it_was_asked_to(
    make_engine: EngineFactory, scripted: ScriptedProvider, retry_after: Any, least: float, most: float
) -> None:
    """The whole lane and only it; within bounds; and what was asked for in no sensible way counts as not asked for."""
    scripted.script = [failing(Throttled("429", retry_after=retry_after))]
    events: list[Event] = []
    async with make_engine(providers=[scripted], observers=[events.append]) as engine:
        await engine.submit(upsert("1"))
        await anyio.sleep(0.03)
        await engine.submit_many([upsert("2"), upsert("3", connection="other")])
        assert await engine.drain(connection="other", provider="fake", timeout=1)
        assert await engine.drain(timeout=2 * MAX_DELAY)
        assert await engine.dead_letters() == []
    throttled_at = scripted.instants[0] + scripted.latency[0]
    again = [at - throttled_at for at, batch in scripted.asked[1:] if batch.connection == "default"]
    assert least - 0.001 <= min(again) <= most
    (parked,) = {event.lane for event in events if isinstance(event, LaneParked)}
    assert parked.connection == "default"
    assert any(event.throttled for event in events if isinstance(event, CallFinished))


async def test_case_43_being_throttled_is_no_attempt(make_engine: EngineFactory, scripted: ScriptedProvider) -> None:
    times = 5 * RetryPolicy().max_attempts
    scripted.script = [failing(Throttled("429", retry_after=1.0)) for _ in range(times)]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(upsert("1"))
        await anyio.sleep(times / 2)
        assert (await ticket.status()).attempts == 0
        assert await ticket.outcome(timeout=2 * times) == Applied("1", "1")
    assert len(scripted.asked) == times + 1


async def test_case_44_throttled_without_a_time_waits_are_spread(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    scripted.script = [failing(Throttled("429")) for _ in range(30)]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(upsert("1"))
        assert await ticket.outcome(timeout=40 * MAX_DELAY) == Applied("1", "1")
    waits = [gap - scripted.latency[0] for gap in gaps(scripted.instants)]
    assert len({round(wait, 6) for wait in waits}) > 25
    assert max(waits) <= MAX_DELAY


async def test_case_44_a_provider_that_only_throttles_is_not_hammered(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    """Two minutes of 429 without a time to wait, at 50 operations a second: calls stay well below operations."""
    provider.faults = Faults(throttled_silently=1.0)
    async with make_engine() as engine:
        for second in range(120):
            await engine.submit_many([upsert(f"{second}-{number}") for number in range(50)])
            await anyio.sleep(1)
        assert len(provider.asked) <= 0.05 * 120 * 50
        provider.faults = Faults()
        assert await engine.drain(timeout=MAX_DELAY + 60)
        assert await engine.dead_letters() == []


async def test_case_46_a_call_that_hangs_ends_at_our_deadline(
    make_engine: EngineFactory, scripted: ScriptedProvider, clock: VirtualClock
) -> None:
    async def hang(batch: Batch) -> Any:
        await anyio.sleep_forever()

    async def drip(batch: Batch) -> Any:
        """Always something, never the end: no time-out between two bytes would notice."""
        while True:  # noqa: ASYNC110  it waits for nothing
            await anyio.sleep(0.4)

    scripted.script = [hang, drip]
    events: list[Event] = []
    async with make_engine(
        providers=[scripted], settings=Settings(call_timeout=5), observers=[events.append]
    ) as engine:
        ticket = await engine.submit(upsert("1"))
        assert await ticket.outcome(timeout=60) == Applied("1", "1")
    ends = [event.duration for event in events if isinstance(event, CallFinished)]
    assert ends[:2] == pytest.approx([5.0, 5.0], abs=0.01)
    assert len(scripted.asked) == 3


async def test_case_56_refused_credentials_pause_that_connection_only(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    revoked = {"berlin"}

    @define
    class Tenants(ScriptedProvider):
        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.asked.append((self.clock.now(), batch))
            if batch.connection in revoked:
                raise Unauthorised("403: this account was closed")
            return await self.really(batch)

    tenants = Tenants(clock=scripted.clock)
    events: list[Event] = []
    async with make_engine(providers=[tenants], observers=[events.append]) as engine:
        tickets = await engine.submit_many([upsert(str(number), connection="berlin") for number in range(25)])
        others = await engine.submit_many([upsert(str(number), connection="paris") for number in range(25)])
        assert await engine.drain("fake", "paris", timeout=60)
        assert not await engine.drain("fake", "berlin", timeout=3600)
        asked = [batch.connection for _, batch in tenants.asked]
        assert asked.count("berlin") <= 3  # those that were under way together
        assert {event.lane.connection for event in events if isinstance(event, LanePaused)} == {"berlin"}
        assert {(await ticket.status()).attempts for ticket in tickets} == {0}
        assert await engine.dead_letters() == []
        revoked.clear()
        await engine.resume("fake", "berlin")
        assert [type(await ticket.outcome(timeout=60)) for ticket in (*tickets, *others)] == [Applied] * 50


async def test_case_57_a_conflict_is_kept_with_what_the_provider_holds_and_not_repeated(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    provider.capabilities = Capabilities(conditional_write=ConditionalWrite.STRONG)
    async with make_engine() as engine:
        await (await engine.submit(create("1", name="Ada", age=36))).outcome(timeout=60)
        stale = Operation.update("fake", "contacts", "1", {"name": "Bob"}, if_version="0")
        tickets = await engine.submit_many([stale, Operation.update("fake", "contacts", "1", {"age": 37})])
        conflict = await tickets[0].outcome(timeout=60)
        assert isinstance(conflict, Conflict)
        assert conflict.current is not None
        assert (conflict.current.fields, conflict.current.version) == ({"name": "Ada", "age": 36}, "1")
        # What came behind it goes on, and the loser is kept, with its fields, for somebody to decide.
        assert isinstance(await tickets[1].outcome(timeout=60), Applied)
        (letter,) = await engine.dead_letters()
        assert letter.operation.fields == {"name": "Bob"}
        assert letter.outcome == conflict
    assert provider.records["default", "contacts", "1"].fields == {"name": "Ada", "age": 37}
    assert Counter(each.if_version for each in provider.operations)["0"] == 1


async def no_answer(provider: ScriptedProvider, batch: Batch) -> Any:
    await provider.really(batch)
    await anyio.sleep_forever()


async def broken_off(provider: ScriptedProvider, batch: Batch) -> Any:
    await provider.really(batch)
    raise ConnectionResetError("while reading the answer")


async def unclear_answer(provider: ScriptedProvider, batch: Batch) -> Any:
    return dict.fromkeys(await provider.really(batch), Unknown("HTTP 500"))


every_loss = pytest.mark.parametrize("lose", [no_answer, broken_off, unclear_answer])


@every_loss
@pytest.mark.parametrize(
    ("identity", "operation", "applied", "lookups"),
    [
        pytest.param(CreateIdentity.NONE, upsert("1", n=1), 2, 0, id="upsert"),
        pytest.param(CreateIdentity.CLIENT_ID, create("1", n=1), 1, 0, id="create-by-client-id"),
        pytest.param(CreateIdentity.IDEMPOTENCY_KEY, create(None, n=1), 1, 0, id="create-by-key"),
        pytest.param(CreateIdentity.LOOKUP, create(None, n=1), 1, 1, id="create-looked-up"),
    ],
)
async def test_case_58_a_write_whose_answer_was_lost_is_repeated_without_a_second_effect(
    make_engine: EngineFactory,
    scripted: ScriptedProvider,
    *,
    identity: CreateIdentity,
    operation: Operation,
    applied: int,
    lookups: int,
    lose: Callable[[ScriptedProvider, Batch], Any],
) -> None:
    scripted.capabilities = Capabilities(create_identity=identity)
    scripted.script = [partial(lose, scripted)]
    async with make_engine(providers=[scripted], settings=Settings(call_timeout=5)) as engine:
        ticket = await engine.submit(operation)
        outcome = await ticket.outcome(timeout=60)
    assert isinstance(outcome, Applied)
    assert outcome.record_id == (operation.record_id or "r1")
    assert len(scripted.records) == 1
    assert len(scripted.writes) == applied
    assert scripted.lookups == lookups
    assert len(scripted.asked) + lookups == 2
    assert {each.idempotency_key for each in scripted.operations} == {ticket.id}


@every_loss
@pytest.mark.parametrize("identity", [CreateIdentity.NONE, CreateIdentity.CLIENT_ID])
async def test_case_58_a_create_that_cannot_be_told_from_a_second_one_is_reported_as_in_doubt(
    make_engine: EngineFactory,
    scripted: ScriptedProvider,
    identity: CreateIdentity,
    lose: Callable[[ScriptedProvider, Batch], Any],
) -> None:
    scripted.capabilities = Capabilities(create_identity=identity)
    scripted.script = [partial(lose, scripted)]
    async with make_engine(providers=[scripted], settings=Settings(call_timeout=5)) as engine:
        ticket = await engine.submit(create(None, n=1))
        outcome = await ticket.outcome(timeout=60)
        assert isinstance(outcome, Unknown)
        assert "may or may not have been applied" in outcome.reason
        (letter,) = await engine.dead_letters()
        assert letter.id == ticket.id
    assert len(scripted.asked) == len(scripted.writes) == 1


async def test_case_58_a_lookup_that_finds_nothing_lets_the_create_be_sent_again(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    scripted.capabilities = Capabilities(create_identity=CreateIdentity.LOOKUP)
    scripted.script = [failing(ConnectionResetError("while sending"))]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(create(None, n=1))
        assert await ticket.outcome(timeout=60) == Applied("r1", "1")
    assert scripted.lookups == 1
    assert len(scripted.asked) == 2
    assert len(scripted.writes) == 1


async def test_case_59_results_of_a_batch_are_matched_by_id_and_only_what_failed_is_repeated(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    async def partly(batch: Batch) -> dict[str, Outcome]:
        """Reversed; "2" is missing, "4" is in doubt, "6" is refused, and something is there that nobody asked for."""
        done = await scripted.really(batch)
        ids = {operation.record_id or "": operation.id or "" for operation in batch.operations}
        answer = {identity: done[identity] for identity in reversed(list(ids.values()))}
        del answer[ids["2"]]
        answer[ids["4"]] = Unknown("HTTP 500 for this one")
        answer[ids["6"]] = Rejected("not an address", "422")
        answer["somebody else's"] = Applied("99")
        return answer

    scripted.script = [partly]
    async with make_engine(providers=[scripted]) as engine:
        tickets = await engine.submit_many([upsert(str(number), n=number) for number in range(10)])
        outcomes = [await ticket.outcome(timeout=60) for ticket in tickets]
    assert [type(outcome) for outcome in outcomes[:6]] == [Applied] * 6
    assert outcomes[6] == Rejected("not an address", "422")
    for number, outcome in enumerate(outcomes):
        assert number == 6 or (isinstance(outcome, Applied) and outcome.record_id == str(number))
    repeated = [each.record_id for _, batch in scripted.asked[1:] for each in batch.operations]
    assert sorted(repeated, key=str) == ["2", "4"]


OUTAGES = {
    "no connection": (Faults(not_sent=1.0), 1),
    "503": (Faults(unavailable=1.0), 1),
    "connections break": (Faults(lost_request=1.0), 1),
    "no answers": (Faults(hang=1.0), 1),
    "answers get lost": (Faults(lost_answer=1.0), 1),
    "no connection for batches": (Faults(not_sent=1.0), 10),
    "no answers for batches": (Faults(hang=1.0), 10),
}


@pytest.mark.parametrize(("faults", "together"), OUTAGES.values(), ids=OUTAGES)
async def test_case_60_an_outage_costs_few_calls_and_nothing_is_given_up(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock, faults: Faults, together: int
) -> None:
    """120 s of it at 50 operations a second: at most 0.05 calls for each operation, and all are done afterwards."""
    provider.capabilities = Capabilities(batch_max=together, create_identity=CreateIdentity.CLIENT_ID)
    tickets: list[Ticket] = []
    async with make_engine(settings=Settings(call_timeout=20)) as engine:

        async def submit(seconds: int) -> None:
            for _ in range(seconds * 50):
                tickets.append(await engine.submit(upsert(str(len(tickets)), n=len(tickets))))
                await anyio.sleep(1 / 50)

        await submit(30)
        before = len(provider.asked)
        provider.faults = faults
        await submit(120)
        assert len(provider.asked) - before <= 0.05 * 120 * 50
        provider.faults = Faults()
        ended_at = clock.now()
        assert await engine.drain(timeout=600)
        assert await engine.dead_letters() == []
        assert [type(await ticket.outcome()) for ticket in tickets] == [Applied] * len(tickets)
    # Whatever had the bad luck to be attempted last in the outage is back by then too.
    assert clock.now() - ended_at <= MAX_DELAY + CircuitPolicy().max_open_for
    assert len(provider.records) == 150 * 50


async def test_case_61_a_recovery_begins_with_one_call_and_then_doubles(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """100 callers wait behind the open circuit: exactly one gets through to try, the others follow by and by."""

    @define
    class Crowd(NotingProvider):
        under_way: int = field(default=0, init=False)
        succeeded: int = field(default=0, init=False)
        started: list[tuple[int, int]] = field(factory=list[tuple[int, int]], init=False)
        """(calls under way with it, calls that succeeded before) for each call since the end of the outage."""

        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.under_way += 1
            if not self.faults.not_sent:
                self.started.append((self.under_way, self.succeeded))
            try:
                answer = await super().execute(batch)
                self.succeeded += 1
                return answer
            finally:
                self.under_way -= 1

    crowd = Crowd(
        capabilities=Capabilities(batch_max=1, concurrency=None),
        faults=Faults(not_sent=1.0),
        latency=(1.0, 1.0),
        clock=clock,
    )
    policy = CircuitPolicy(slow_start_calls=16)
    events: list[Event] = []
    settings = Settings(max_calls=200, circuit=policy)
    async with make_engine(providers=[crowd], settings=settings, observers=[events.append]) as engine:
        await engine.submit_many([upsert(str(number)) for number in range(100)])
        await anyio.sleep(200)
        probes = [event for event in events if isinstance(event, CircuitChanged)]
        assert probes[-1].after in {CircuitState.OPEN, CircuitState.HALF_OPEN}
        opened_at = next(event.at for event in probes if event.after is CircuitState.OPEN)
        during = [at for at in crowd.instants if at > opened_at]
        assert 3 <= len(during) <= 20
        assert min(gaps(during)) >= policy.open_for  # one at a time, never a herd
        crowd.faults = Faults()
        assert await engine.drain(timeout=600)
    # The probe is alone until its answer is there.
    assert crowd.started[0] == (1, 0)
    assert crowd.started[1][1] == 1
    # Then each success lets twice as many through, up to the end of the slow start.
    slow = [(under_way, succeeded) for under_way, succeeded in crowd.started if succeeded <= 4]
    assert all(under_way <= 2 ** max(succeeded - 1, 0) for under_way, succeeded in slow)
    assert max(under_way for under_way, _ in crowd.started) > policy.slow_start_calls
    assert len(crowd.records) == 100


async def test_case_62_a_version_is_passed_on_as_it_is(make_engine: EngineFactory, scripted: ScriptedProvider) -> None:
    """Weak ETags, quotes and all: versions are the provider's, compared by nobody else."""
    scripted.capabilities = Capabilities(conditional_write=ConditionalWrite.STRONG)
    version = 'W/"0815-é"'
    scripted.script = [answering(lambda batch: {batch.operations[0].id or "": Applied("1", version)})]
    async with make_engine(providers=[scripted]) as engine:
        ticket = await engine.submit(Operation.update("fake", "contacts", "1", {"n": 1}, if_version=version))
        assert await ticket.outcome(timeout=60) == Applied("1", version)
    assert [each.if_version for each in scripted.operations] == [version]


async def test_case_62_the_providers_clock_decides_nothing(
    make_engine: EngineFactory, scripted: ScriptedProvider, clock: VirtualClock
) -> None:
    """Waits are spans, never instants: however wrong the provider's clock goes, the lane opens after the span."""
    scripted.script = [failing(Throttled("429", retry_after=7.0))]
    async with make_engine(providers=[scripted]) as engine:
        await (await engine.submit(upsert("1"))).outcome(timeout=60)
    assert gaps(scripted.instants) == [pytest.approx(7.0 + scripted.latency[0], abs=0.01)]


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
