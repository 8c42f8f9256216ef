"""Cases 46 to 62 of the failure catalogue, as far as the engine sees them.

Those about HTTP itself are in tests/http; throttling, outages and odd adapters have files of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from attrs import define
from typing_extensions import override

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    Cause,
    ConditionalWrite,
    Conflict,
    CreateIdentity,
    Operation,
    Outcome,
    Rejected,
    RetryLater,
    RetryPolicy,
    Settings,
    Unknown,
)
from ratesync.errors import Throttled, Unauthorised, Untrusted
from ratesync.model.event import CallFinished, Event, LaneParked, LanePaused
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    ScriptedProvider,
    answering,
    create,
    failing,
    gaps,
    upsert,
)

pytestmark = pytest.mark.anyio


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


async def test_case_53_a_connection_that_cannot_be_trusted_is_left_alone_for_ten_minutes(
    make_engine: EngineFactory, scripted: ScriptedProvider, clock: VirtualClock
) -> None:
    expired = {"berlin"}

    @define
    class Tenants(ScriptedProvider):
        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.asked.append((self.clock.now(), batch))
            if batch.connection in expired:
                raise Untrusted("no request reached acme (ConnectError: certificate has expired)")
            return await self.really(batch)

    tenants = Tenants(clock=clock)
    events: list[Event] = []
    started_at = clock.now()
    async with make_engine(providers=[tenants], observers=[events.append]) as engine:
        tickets = await engine.submit_many([upsert(str(number), connection="berlin") for number in range(25)])
        await engine.submit_many([upsert(str(number), connection="paris") for number in range(25)])
        assert await engine.drain("fake", "paris", timeout=60)
        first_calls = [batch.connection for _, batch in tenants.asked].count("berlin")
        assert first_calls <= 10  # those that were under way together
        assert not await engine.drain("fake", "berlin", timeout=started_at + 599 - clock.now())
        assert [batch.connection for _, batch in tenants.asked].count("berlin") == first_calls
        assert {(await ticket.status()).attempts for ticket in tickets} == {0}
        alarms = [event for event in events if isinstance(event, LaneParked) and event.reason == "untrusted"]
        assert {(event.lane.connection, event.detail) for event in alarms} == {
            ("berlin", "no request reached acme (ConnectError: certificate has expired)")
        }
        assert all(600 <= event.until - started_at < 601 for event in alarms)
        expired.clear()
        assert [type(await ticket.outcome(timeout=60)) for ticket in tickets] == [Applied] * 25
        assert await engine.dead_letters() == []


async def test_case_53_how_long_it_is_left_alone_can_be_set(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    scripted.script = [failing(Untrusted("certificate has expired"))]
    settings = Settings(retry=RetryPolicy(untrusted_delay=5))
    async with make_engine(providers=[scripted], settings=settings) as engine:
        assert isinstance(await (await engine.submit(upsert("1"))).outcome(timeout=6), Applied)
    assert gaps(scripted.instants) == [pytest.approx(5, abs=0.1)]


async def test_case_53_a_batch_that_is_also_throttled_waits_for_the_longer_time_and_gives_the_alarm(
    make_engine: EngineFactory, scripted: ScriptedProvider
) -> None:
    scripted.capabilities = Capabilities(batch_max=3)
    untrusted, throttled = RetryLater("expired", Cause.UNTRUSTED), RetryLater("429", Cause.THROTTLED, 100)

    def mixed(batch: Batch) -> dict[str, Outcome]:
        answers: list[Outcome] = [throttled, untrusted, throttled]
        return {operation.id or "": answer for operation, answer in zip(batch.operations, answers, strict=True)}

    scripted.script = [answering(mixed)]
    events: list[Event] = []
    settings = Settings(retry=RetryPolicy(untrusted_delay=5))
    async with make_engine(providers=[scripted], settings=settings, observers=[events.append]) as engine:
        await engine.submit_many([upsert(str(number)) for number in range(3)])
        assert await engine.drain(timeout=200)
    assert gaps(scripted.instants)[0] == pytest.approx(100, abs=0.1)
    assert next(event.detail for event in events if isinstance(event, LaneParked)) == "expired"


async def test_case_54_a_hundred_calls_whose_credentials_ran_out_all_succeed_once_those_are_renewed(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    """What the engine owes whoever renews credentials: no call counts, nothing dies, and the host only resumes."""
    valid_from = clock.now() + 30

    @define
    class Expired(ScriptedProvider):
        @override
        async def execute(self, batch: Batch) -> dict[str, Outcome]:
            self.asked.append((self.clock.now(), batch))
            await anyio.sleep(0.05)
            if self.clock.now() < valid_from:
                raise Unauthorised("401")
            return await self.really(batch)

    provider = Expired(clock=clock, capabilities=Capabilities(batch_max=1, concurrency=100))
    events: list[Event] = []
    settings = Settings(max_calls=100)
    async with make_engine(providers=[provider], observers=[events.append], settings=settings) as engine:
        tickets = await engine.submit_many([upsert(str(number)) for number in range(100)])
        await anyio.sleep(30)
        assert len(provider.asked) == 100, "those under way together, and none after"
        assert {(await ticket.status()).attempts for ticket in tickets} == {0}
        assert any(isinstance(event, LanePaused) for event in events)
        await engine.resume("fake", "default")
        assert await engine.drain(timeout=60)
        assert len(provider.records) == 100
        assert len(provider.asked) == 200
        assert await engine.dead_letters() == []


async def test_case_55_an_account_that_needs_to_be_connected_again_is_paused_and_its_work_kept(
    make_engine: EngineFactory, scripted: ScriptedProvider, clock: VirtualClock
) -> None:
    scripted.script = [failing(Unauthorised("invalid_grant")) for _ in range(1_000)]
    async with make_engine(providers=[scripted]) as engine:
        await engine.submit_many([upsert(str(number)) for number in range(500)])
        await anyio.sleep(7 * 86_400)
        calls = len(scripted.asked)
        assert calls <= 10, "those that were under way together"
        assert (await engine.stats()).pending == 500
        assert await engine.dead_letters() == []
        scripted.script = []
        await engine.resume("fake")
        assert await engine.drain(timeout=600)
    assert len(scripted.records) == 500


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
