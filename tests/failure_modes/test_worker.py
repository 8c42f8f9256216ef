"""The cases of the failure catalogue that concern workers and their processes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import define, evolve
from typing_extensions import override

from ratesync import (
    Applied,
    Capabilities,
    CreateIdentity,
    Fields,
    Kind,
    Lane,
    Operation,
    OperationState,
    Rejected,
    RetryPolicy,
    Settings,
    SyncEngine,
    Unknown,
)
from ratesync import codec as codec_module
from ratesync.codec import FORMAT, encode_operation
from ratesync.errors import EnqueueUncertain, ForkedProcess, QueueError
from ratesync.memory import MemoryBackend
from ratesync.model.event import LeaseRefused
from ratesync.model.work import Claim, ClaimRequest, Enqueued, Finished, Item, Settlement
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.virtual_time import VirtualClock
from tests.failure_modes.conftest import (
    EngineFactory,
    NotingProvider,
    Process,
    ProcessFactory,
    create,
    nothing,
    upsert,
)

pytestmark = pytest.mark.anyio

LEASE = 15.0
REDELIVERED_WITHIN = 20.0
"""Seconds from the death of a worker to its work being done by another."""
ACKED_WITHIN = 2.0
"""Seconds that an ack is waited for when the engine must leave."""
SLOW = (10.0, 10.0)
"""A latency: the request is applied after 5 s, the answer comes after 10 s."""
LANE = Lane("fake", "default")
CANARY = "hunter2"


async def hand_over(
    host: SyncEngine, operation: Operation, first: Process, second: Process, *, kill_after: float | None = None
) -> None:
    """Let the first process work on the operation until it dies, by itself or when told, and then the second."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await host.submit(operation)
        await anyio.sleep(kill_after or 1)
        if kill_after is not None:
            first.kill()
        tasks.start_soon(second.run)
        assert await host.drain(timeout=600)
        second.stop()


async def test_case_01_killed_after_the_claim(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    first = make_process()
    first.queue.when_claimed = first.kill
    started_at = clock.now()
    async with make_engine(role="submit") as host:
        await hand_over(host, create("1", n=1), first, make_process())
    (write,) = provider.writes
    assert provider.calls == 1
    assert LEASE < write.at - started_at <= REDELIVERED_WITHIN


async def test_case_02_killed_during_the_call_before_it_was_applied(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.latency = SLOW
    started_at = clock.now()
    async with make_engine(role="submit") as host:
        await hand_over(host, create("1", n=1), make_process(), make_process(), kill_after=2)
    assert len(provider.writes) == 1
    assert len(provider.asked) == 2
    assert provider.instants[1] - started_at <= 2 + REDELIVERED_WITHIN


@pytest.mark.parametrize(
    ("operation", "identity", "applied"),
    [
        pytest.param(upsert("1", n=1), CreateIdentity.CLIENT_ID, 2, id="upsert"),
        pytest.param(upsert("1", n=1), CreateIdentity.IDEMPOTENCY_KEY, 1, id="upsert-by-key"),
        pytest.param(create("1", n=1), CreateIdentity.CLIENT_ID, 1, id="create-by-client-id"),
        pytest.param(create(None, n=1), CreateIdentity.IDEMPOTENCY_KEY, 1, id="create-by-key"),
        pytest.param(create(None, n=1), CreateIdentity.LOOKUP, 1, id="create-looked-up"),
    ],
)
async def test_case_03_killed_after_it_was_applied(
    make_engine: EngineFactory,
    make_process: ProcessFactory,
    provider: NotingProvider,
    *,
    operation: Operation,
    identity: CreateIdentity,
    applied: int,
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(create_identity=identity)
    async with make_engine(role="submit") as host:
        await hand_over(host, evolve(operation, id="op"), make_process(), make_process(), kill_after=7)
        assert isinstance((await host.status("op")).outcome, Applied)
    assert len(provider.writes) == applied
    assert len(provider.asked) + provider.lookups == 2
    assert {each.idempotency_key for each in provider.operations} == {"op"}
    assert [dict(record.fields) for record in provider.records.values()] == [{"n": 1}]


async def test_case_03_a_create_in_doubt_without_identity_is_reported_and_not_repeated(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(create_identity=CreateIdentity.NONE)
    async with make_engine(role="submit") as host:
        await hand_over(host, create(None, n=1), make_process(), make_process(), kill_after=7)
        (letter,) = await host.dead_letters()
    assert isinstance(letter.outcome, Unknown)
    assert len(provider.asked) == 1


async def test_case_04_killed_after_the_ack(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    first = make_process()
    first.queue.when_settled = first.kill
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        ticket = await host.submit(create("1", n=1))
        tasks.start_soon(first.run)
        await anyio.sleep(1)
        assert first.scope.cancel_called
        second = make_process()
        tasks.start_soon(second.run)
        await anyio.sleep(100)
        second.stop()
        assert await ticket.outcome() == Applied("1", "1")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("step", ["when_settling", "when_settled"])
async def test_case_05_killed_in_the_move_to_the_dead_letters(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, step: str
) -> None:
    first, second = make_process(), make_process()
    setattr(first.queue, step, first.kill)
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        await host.submit(Operation.update("fake", "contacts", "absent", {"n": 1}))
        tasks.start_soon(first.run)
        await anyio.sleep(1)
        stats = await host.stats()
        assert stats.pending + stats.dead == 1
        tasks.start_soon(second.run)
        assert await host.drain(timeout=60)
        second.stop()
        assert len(await host.dead_letters()) == (await host.stats()).dead == 1
    assert len(provider.asked) == (1 if step == "when_settled" else 2)


async def test_case_05_killed_in_the_claim_that_took_over_a_dead_workers_item(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider
) -> None:
    first, second, third = make_process(), make_process(), make_process()
    first.queue.when_claimed = first.kill
    second.queue.when_claimed = second.kill
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        await host.submit(create("1", n=1))
        for process in (first, second, third):
            tasks.start_soon(process.run)
            await anyio.sleep(LEASE + 1)
            assert (await host.stats()).pending + len(provider.writes) == 1
        third.stop()
        assert (await host.stats()).pending == 0
    assert len(provider.asked) == 1


@define
class LostReplyQueue(MortalQueue):
    """Enqueues, but the first reply is lost."""

    lost: int = 0

    @override
    async def enqueue(self, items: Sequence[Item], *, wait_until: float | None = None) -> Sequence[Enqueued]:
        received = await super().enqueue(items, wait_until=wait_until)
        if not self.lost:
            self.lost += 1
            raise EnqueueUncertain("no answer", ids=[item.id for item in items])
        return received


async def test_case_06_submitting_again_after_a_lost_reply_enqueues_once(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    operations = [upsert("1", n=1), upsert("2", n=2)]
    async with make_engine(queue=LostReplyQueue(backend.queue, clock)) as engine:
        with pytest.raises(EnqueueUncertain) as caught:
            await engine.submit_many(operations)
        again = [evolve(each, id=identity) for each, identity in zip(operations, caught.value.ids, strict=True)]
        tickets = await engine.submit_many(again)
        assert [ticket.duplicate for ticket in tickets] == [True, True]
        assert await engine.drain(timeout=60)
    assert sorted(write.record_id for write in provider.writes) == ["1", "2"]


async def test_case_07_a_zombie_cannot_settle(
    make_engine: EngineFactory, make_process: ProcessFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    """Stopped for 40 s in a call: another worker takes over, and what the zombie says afterwards counts for nothing."""
    provider.latency = SLOW
    zombie, other = make_process(), make_process()
    async with make_engine(role="submit") as host, anyio.create_task_group() as tasks:
        ticket = await host.submit(upsert("1", n=1))
        tasks.start_soon(zombie.run)
        await anyio.sleep(1)
        zombie.queue.freeze(clock.now() + 40)
        tasks.start_soon(other.run)
        assert await ticket.outcome(timeout=30) == Applied("1", "2")
        # The same record is being worked on again, under another lease, when the zombie awakes.
        await anyio.sleep(40 - (clock.now() - provider.instants[0]) - 3)
        later = await host.submit(upsert("1", n=2))
        await anyio.sleep(5)
        assert zombie.queue.refused == 1
        assert [event.key for event in zombie.events if isinstance(event, LeaseRefused)] == ["contacts\0001"]
        assert (await later.status()).state is OperationState.LEASED
        assert await later.outcome(timeout=30) == Applied("1", "3")
        assert await ticket.outcome() == Applied("1", "2")
        zombie.stop()
        other.stop()
    assert dict(provider.records["default", "contacts", "1"].fields) == {"n": 2}


@pytest.mark.parametrize(("takes", "finished"), [(4.0, True), (400.0, False)])
async def test_case_08_leaving_finishes_or_releases_what_is_under_way(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock, *, takes: float, finished: bool
) -> None:
    provider.latency = (takes, takes)
    async with make_engine(settings=Settings(grace=5, call_timeout=1000)) as engine:
        ticket = await engine.submit(upsert("1", n=1))
        await anyio.sleep(1)
        left_at = clock.now()
    assert clock.now() - left_at <= (takes if finished else 5 + 1)
    provider.latency = (0.0, 0.0)
    started_at = clock.now()
    async with make_engine() as engine:
        assert ((await engine.status(ticket.id)).state is OperationState.COMPLETED) == finished
        assert await engine.drain(timeout=60)
    assert clock.now() - started_at < 0.1  # the next holder need not wait for a lease to lapse
    assert len(provider.asked) == (1 if finished else 2)


async def test_case_09_cancelled_while_it_was_leaving(
    make_engine: EngineFactory, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.latency = SLOW
    started_at = clock.now()
    with anyio.CancelScope(deadline=anyio.current_time() + 1 + 3) as scope:
        async with make_engine(settings=Settings(grace=8)) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(25)])
            await anyio.sleep(1)
    assert scope.cancelled_caught
    assert clock.now() - started_at <= 1 + 3 + 1
    provider.latency = (0.0, 0.0)
    async with make_engine() as engine:
        assert await engine.drain(timeout=1)
        assert await engine.dead_letters() == []
    assert len(provider.records) == 25


@define
class FailingQueue(MortalQueue):
    """A queue that cannot settle any more."""

    failing: bool = False
    when_claimed: Callable[[], None] = nothing
    """Happens when a claim has got work, before the engine begins with it."""

    @override
    async def claim(self, request: ClaimRequest) -> Claim:
        claim = await super().claim(request)
        if claim.batches:
            self.when_claimed()
        return claim

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        if self.failing:
            raise QueueError("no connection")
        return await super().settle(worker, settlements)


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
@pytest.mark.parametrize("operations", [1, 40])
async def test_case_09_a_failing_backend_does_not_keep_the_engine_from_leaving(
    make_engine: EngineFactory,
    backend: MemoryBackend,
    provider: NotingProvider,
    clock: VirtualClock,
    operations: int,
    *,
    cancelled: bool,
) -> None:
    provider.latency = SLOW
    provider.capabilities = Capabilities(batch_max=1, concurrency=None)
    queue = FailingQueue(backend.queue, clock)
    left_at = clock.now() + 1
    with anyio.CancelScope() as scope:
        async with make_engine(queue=queue, settings=Settings(grace=2, max_calls=64)) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(operations)])
            await anyio.sleep(1)
            queue.failing = True
            if cancelled:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert clock.now() - left_at <= (0 if cancelled else 2) + 1.1
    queue.failing = False
    provider.latency = (0.0, 0.0)
    async with make_engine(queue=queue) as engine:
        assert await engine.drain(timeout=600)
    assert len(provider.records) == operations


async def test_case_09_calls_that_had_not_begun_do_not_keep_the_engine_either(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    provider.capabilities = Capabilities(batch_max=1, concurrency=None)
    queue = FailingQueue(backend.queue, clock)
    started_at = clock.now()
    with anyio.CancelScope() as scope:

        def fail_and_cancel() -> None:
            queue.failing = True
            scope.cancel()

        queue.when_claimed = fail_and_cancel
        async with make_engine(queue=queue) as engine:
            await engine.submit_many([upsert(str(number), n=number) for number in range(40)])
            await anyio.sleep_forever()
    assert clock.now() - started_at <= 1.1
    queue.failing, queue.when_claimed = False, nothing
    async with make_engine(queue=queue) as engine:
        assert await engine.drain(timeout=600)
    assert len(provider.records) == 40


@define
class SlowQueue(MortalQueue):
    """A queue whose settlements take their time to be acknowledged."""

    takes: float = 0.0

    @override
    async def settle(self, worker: str, settlements: Sequence[Settlement]) -> Sequence[bool]:
        await anyio.sleep(self.takes)
        return await super().settle(worker, settlements)


async def test_case_10_cancelled_during_the_ack(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, clock: VirtualClock
) -> None:
    queue = SlowQueue(backend.queue, clock, takes=0.6)
    provider.latency = (1.0, 1.0)
    with anyio.move_on_after(1.3) as scope:  # in the middle of the ack
        async with make_engine(queue=queue) as engine:
            await engine.submit(evolve(upsert("1", n=1), id="op"))
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert clock.now() - provider.instants[0] <= 1.3 + ACKED_WITHIN + 0.1
    async with make_engine(role="submit") as engine:
        assert (await engine.status("op")).outcome == Applied("1", "1")


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
async def test_case_10_an_ack_that_never_ends_is_given_up_and_the_lease_decides(
    make_engine: EngineFactory,
    backend: MemoryBackend,
    provider: NotingProvider,
    clock: VirtualClock,
    *,
    cancelled: bool,
) -> None:
    """A backend behind a broken connection: whether the ack reached it is unknown."""
    queue = SlowQueue(backend.queue, clock, takes=10_000.0)
    left_at = clock.now() + 1
    with anyio.CancelScope() as scope:
        async with make_engine(queue=queue, settings=Settings(grace=1)) as engine:
            await engine.submit(upsert("1", n=1))
            await anyio.sleep(1)
            if cancelled:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    assert clock.now() - left_at <= 1 + ACKED_WITHIN + 1
    async with make_engine() as engine:
        assert await engine.drain(timeout=60)
    assert len(provider.writes) == 2


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


def is_refused_in_a_fork(call: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Whether the call, made in a forked child, raises :class:`ForkedProcess` before it does anything."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call().send(None)
        except ForkedProcess:
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def not_refused(calls: Mapping[str, Callable[[], Coroutine[Any, Any, object]]]) -> list[str]:
    return [name for name, call in calls.items() if not is_refused_in_a_fork(call)]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
ignores_threads = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the test runner's


@needs_fork
@ignores_threads
async def test_case_15_a_forked_child_cannot_use_the_engine(
    make_engine: EngineFactory, provider: NotingProvider
) -> None:
    async with make_engine() as engine:
        await engine.pause()
        ticket = await engine.submit(upsert("1", n=1))
        calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "submit": lambda: engine.submit(upsert("2")),
            "submit_many": lambda: engine.submit_many([upsert("2")]),
            "status": lambda: engine.status(ticket.id),
            "cancel": lambda: engine.cancel(ticket.id),
            "pause": engine.pause,
            "resume": engine.resume,
            "drain": engine.drain,
            "stats": engine.stats,
            "set_weight": lambda: engine.set_weight("fake", "default", 2.0),
            "dead_letters": engine.dead_letters,
            "replay": lambda: engine.replay([ticket.id]),
            "discard": lambda: engine.discard([ticket.id]),
        }
        assert not_refused(calls) == []
        # The parent goes on as if nothing had been.
        await engine.resume()
        assert await ticket.outcome(timeout=60) == Applied("1", "1")
    assert len(provider.asked) == 1


@needs_fork
@ignores_threads
async def test_case_15_a_forked_child_cannot_use_a_ticket(make_engine: EngineFactory) -> None:
    """What it would be told, or take back, is in a copy of the queue that nobody works on."""
    async with make_engine() as engine:
        ticket = await engine.submit(upsert("1", n=1))
        assert not_refused({"outcome": ticket.outcome, "status": ticket.status, "cancel": ticket.cancel}) == []


def newer(operation: Operation) -> bytes:
    """An operation's bytes as a newer ratesync might write them."""
    return encode_operation(operation).replace(b'{"v":%d' % FORMAT, b'{"new":"part","v":%d' % (FORMAT + 1))


def item(identity: str, key: str, body: bytes) -> Item:
    return Item(identity, LANE, key, body)


async def test_case_16_what_a_newer_version_wrote_is_left_to_a_newer_worker(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.queue.enqueue([item("new", "k", newer(upsert("1", n=1)))])
    async with make_engine() as old:
        good = await old.submit(upsert("2", n=2))
        assert await good.outcome(timeout=1) == Applied("2", "1")
        assert not await old.drain(timeout=3600)
        status = await old.status("new")
        assert (status.attempts, status.outcome) == (0, None)
        assert await old.dead_letters() == []
    assert len(provider.asked) == 1
    monkeypatch.setattr(codec_module, "FORMAT", FORMAT + 1)
    async with make_engine() as upgraded:
        assert await upgraded.drain(timeout=60)
        assert (await upgraded.status("new")).state is OperationState.COMPLETED
    assert len(provider.asked) == 2


async def test_case_16_an_upgraded_worker_reads_what_the_older_one_wrote(
    make_engine: EngineFactory, provider: NotingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_engine(role="submit") as old:
        await old.submit(upsert("1", n=1))
    monkeypatch.setattr(codec_module, "FORMAT", FORMAT + 1)
    async with make_engine() as upgraded:
        assert await upgraded.drain(timeout=60)
    assert len(provider.writes) == 1


async def test_case_16_what_came_before_a_newer_item_of_the_record_is_carried_out(
    make_engine: EngineFactory, backend: MemoryBackend, provider: NotingProvider
) -> None:
    first, second = upsert("1", n=1), upsert("1", n=2)
    await backend.queue.enqueue([item("old", "k", encode_operation(first)), item("new", "k", newer(second))])
    async with make_engine() as engine:
        assert not await engine.drain(timeout=600)
        assert (await engine.status("old")).state is OperationState.COMPLETED
        assert (await engine.status("new")).attempts == 0
    assert [dict(write.fields) for write in provider.writes] == [{"n": 1}]


async def test_case_16_a_newer_workers_dead_letter_does_not_hide_the_others(
    make_engine: EngineFactory, backend: MemoryBackend
) -> None:
    queue = backend.queue
    await queue.enqueue([item("new", "1", newer(upsert("1"))), item("old", "2", encode_operation(upsert("2")))])
    claim = await queue.claim(ClaimRequest("newer worker", 10, {"fake": 10}))
    answers = [b'{"v":2,"o":"shattered"}', codec_module.encode_outcome(Rejected("no"))]
    leases = sorted((lease for batch in claim.batches for lease in batch), key=lambda lease: lease.key)
    await queue.settle(
        "newer worker",
        [
            Settlement(lease, (Finished(lease.items[0].id, OperationState.DEAD, answer),))
            for lease, answer in zip(leases, answers, strict=True)
        ],
    )
    async with make_engine(role="submit") as engine:
        letters = await engine.dead_letters()
    assert [letter.id for letter in letters] == ["new", "old"]
    assert letters[1].outcome == Rejected("no")


class Poison(FakeProvider):
    """Kills the process that calls it for the record "poison"."""

    victim: Process | None = None

    @override
    async def execute(self, batch: Any) -> Any:
        if any(operation.record_id == "poison" for operation in batch.operations) and self.victim is not None:
            self.calls += 1
            self.victim.kill()
            await anyio.sleep_forever()
        return await super().execute(batch)


async def crash(provider: Poison, make_process: ProcessFactory, until: Callable[[], Awaitable[bool]]) -> int:
    """Start a process each time the last one has died, until the condition holds; the number of deaths."""
    deaths = 0
    async with anyio.create_task_group() as tasks:
        provider.victim = make_process()
        tasks.start_soon(provider.victim.run)
        with anyio.fail_after(600):
            while not await until():
                await anyio.sleep(1)
                if provider.victim.scope.cancel_called:
                    deaths += 1
                    provider.victim = make_process()
                    tasks.start_soon(provider.victim.run)
        provider.victim.stop()
    return deaths


async def test_case_18_what_crashes_every_worker_becomes_a_dead_letter(
    make_engine: EngineFactory, make_process: ProcessFactory, clock: VirtualClock
) -> None:
    provider = Poison(clock=clock)
    async with make_engine(role="submit", providers=[provider]) as host:

        def make() -> Process:
            process = make_process()
            process.options["providers"] = [provider]
            return process

        ticket = await host.submit(upsert("poison"))

        async def is_drained() -> bool:
            return await host.drain(timeout=0.5)

        assert await crash(provider, make, is_drained) == RetryPolicy().max_lapses
        outcome = await ticket.outcome()
        assert isinstance(outcome, Unknown)
        assert "poison" in outcome.reason
        (letter,) = await host.dead_letters()
        assert letter.id == ticket.id
        # It can be looked at, and played again, when what is wrong was put right.
        provider.victim = None
        assert await host.replay([ticket.id]) == [True]
        async with make_engine(providers=[provider], role="work"):
            assert await ticket.outcome(timeout=60) == Applied("poison", "1")


@pytest.mark.parametrize("connection", ["default", "other"], ids=["same lane", "another lane"])
async def test_case_18_the_poison_takes_nobody_with_it(
    make_engine: EngineFactory, make_process: ProcessFactory, clock: VirtualClock, connection: str
) -> None:
    """What merely was in the same process, or batch, when it crashed is innocent."""
    provider = Poison(clock=clock, latency=(1.0, 1.0))
    async with make_engine(role="submit", providers=[provider]) as host:

        def make() -> Process:
            process = make_process()
            process.options["providers"] = [provider]
            return process

        innocent = [upsert(str(number), connection=connection, n=number) for number in range(5)]
        tickets = await host.submit_many([upsert("poison"), *innocent])

        async def is_drained() -> bool:
            return await host.drain(timeout=0.5)

        await crash(provider, make, is_drained)
        outcomes = [await ticket.outcome() for ticket in tickets]
    assert [type(outcome) for outcome in outcomes] == [Unknown] + [Applied] * 5
