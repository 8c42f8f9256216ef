# pyright: basic, reportPrivateUsage=false
"""Bugs put in on purpose. Each must be caught by the simulation or, where that is blind, by a check of its own.

Bugs of a single part (queue, limiter) are also put before that part's conformance suite, in ``tests/testing``.

Bugs reach inside and replace things by others of about their form, so the strict type rules are off here.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from attrs import evolve

from ratesync import Applied, Lane, Operation, Outcome, SyncEngine
from ratesync.codec import encode_operation, encode_outcome
from ratesync.engine import admission, call, execution, intake, settlement, work
from ratesync.engine.execution import Executor
from ratesync.memory import MemoryBackend, MemoryQueue
from ratesync.memory.leases import Leases
from ratesync.memory.ledger import Ledger
from ratesync.memory.mailbox import Hold
from ratesync.memory.store import Store
from ratesync.model.operation import OperationState
from ratesync.model.work import ClaimRequest, Finished, Item, Lease, Settlement
from ratesync.rules import coalescing, meter, verdict
from ratesync.rules.coalescing import Step
from ratesync.rules.verdict import Again, Finish, Repeat
from ratesync.rules.window import open_window
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.simulation import simulate
from ratesync.testing.virtual_time import VirtualClock, run_virtual

ITEM = Item("o1", Lane("fake"), "contacts/1", encode_operation(Operation.upsert("fake", "contacts", "1", {"n": 1})))
SEEDS = 300
"""Seeds after which a bug counts as missed."""

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], None]
BUGS: dict[str, tuple[Bug, Callable[[], bool]]] = {}


def held_by(leases: Leases, worker: str) -> list[Hold]:
    """What a worker holds."""
    known = leases._workers.get(worker)
    return [] if known is None else [hold for holds in known.holds.values() for hold in holds.values()]


def held_by_all(leases: Leases) -> list[Hold]:
    """What all workers hold."""
    return [hold for worker in leases._workers for hold in held_by(leases, worker)]


def simulation_fails() -> bool:
    """Whether some seed tells that something is wrong."""
    for seed in range(SEEDS):
        try:
            if simulate(seed).violations:
                return True
        except BaseException:  # noqa: BLE001  a bug may show as any error
            return True
    return False


def zombie_settles() -> bool:
    """Whether a worker can settle a lease that lapsed and went to another worker."""

    async def run() -> bool:
        queue = MemoryQueue(clock=VirtualClock())
        await queue.enqueue([ITEM])
        ((stale,),) = (await queue.claim(ClaimRequest("zombie", 1, {"fake": 1}))).batches
        await anyio.sleep(queue.lease_seconds + 1)
        assert (await queue.claim(ClaimRequest("successor", 1, {"fake": 1}))).batches
        done = Finished(ITEM.id, OperationState.COMPLETED, encode_outcome(Applied()))
        return (await queue.settle("zombie", [Settlement(stale, (done,))])) == [True]

    return run_virtual(run)


def poison_is_tried_again() -> bool:
    """Whether an operation that has brought down three workers is given to the provider once more."""

    async def run() -> bool:
        clock = VirtualClock()
        backend = MemoryBackend(clock=clock)
        provider = FakeProvider(clock=clock)
        await backend.queue.enqueue([ITEM])
        for worker in "abc":
            assert (await backend.queue.claim(ClaimRequest(worker, 1, {"fake": 1}))).batches
            await anyio.sleep(backend.queue.lease_seconds + 1)
        async with SyncEngine(backend=backend, providers=[provider], clock=clock) as engine:
            assert await engine.drain(timeout=60)
        return provider.calls > 0

    return run_virtual(run)


def bug(name: str, caught_by: Callable[[], bool] = simulation_fails) -> Callable[[Bug], Bug]:
    """Put a bug on the list, with what must notice it."""

    def add(function: Bug) -> Bug:
        BUGS[name] = function, caught_by
        return function

    return add


@bug("a create in doubt is sent again")
def _(patch: Patch) -> None:
    patch.setattr(work, "decide_repeat", lambda *_: Repeat.SEND)
    patch.setattr(verdict, "decide_repeat", lambda *_: Repeat.SEND)


@bug("an unknown outcome counts as applied")
def _(patch: Patch) -> None:
    read = Executor._read

    def hopeful(self: Executor, operation: Operation, answer: dict[str, object]) -> Outcome:
        outcome = read(self, operation, answer)
        return Applied() if type(outcome).__name__ == "Unknown" else outcome

    patch.setattr(Executor, "_read", hopeful)


@bug("results are matched by position")
def _(patch: Patch) -> None:
    def positional(self: Executor, operation: Operation, answer: dict[str, Outcome]) -> Outcome:
        return next(iter(answer.values()), Applied())

    patch.setattr(Executor, "_read", positional)


@bug("a missing result counts as applied")
def _(patch: Patch) -> None:
    read = Executor._read
    patch.setattr(Executor, "_read", lambda self, op, answer: read(self, op, answer) if op.id in answer else Applied())


@bug("earlier values win when updates are folded")
def _(patch: Patch) -> None:
    fold = coalescing.fold_head

    def stale(pending: list[coalescing.Pending]) -> Step:
        step = fold(pending)
        if step.operation is None or step.count == 1:
            return step
        first = pending[0].operation.fields
        return Step(evolve(step.operation, fields={**step.operation.fields, **first}), step.count)

    patch.setattr(work, "fold_head", stale)


@bug("folding swallows one operation too many")
def _(patch: Patch) -> None:
    fold = coalescing.fold_head

    def greedy(pending: list[coalescing.Pending]) -> Step:
        step = fold(pending)
        return Step(step.operation, min(step.count + 1, len(pending)))

    patch.setattr(work, "fold_head", greedy)


@bug("what may have been sent is folded away")
def _(patch: Patch) -> None:
    fold = coalescing.fold_head
    patch.setattr(work, "fold_head", lambda pending: fold([evolve(one, sent_as=0) for one in pending]))


@bug("a lease that lapsed leaves no mark of having been sent")
def _(patch: Patch) -> None:
    lapse = Store.lapse

    def forgetful(self: Store, now: float) -> None:
        before = [(record, record.sent_as) for hold in held_by_all(self.leases) for record in hold.records]
        lapse(self, now)
        for record, sent_as in before:
            record.sent_as = sent_as

    patch.setattr(Store, "lapse", forgetful)


@bug("an attempt leaves no mark of having been sent")
def _(patch: Patch) -> None:
    judge = verdict.judge

    def unmarked(*args: object, **options: object) -> object:
        decided = judge(*args, **options)  # type: ignore[arg-type]
        return evolve(decided, sent=False) if isinstance(decided, Again) else decided

    patch.setattr(settlement, "judge", unmarked)


@bug("a lease never ends")
def _(patch: Patch) -> None:
    patch.setattr(Leases, "lapsed", lambda *_: [])
    patch.setattr(Leases, "next_lapses", lambda *_, but: [])


@bug("a worker that stops keeps its leases")
def _(patch: Patch) -> None:
    async def keep(self: call.Call) -> None:
        return None

    patch.setattr(call.Call, "give_back", keep)


@bug("permits are never given back")
def _(patch: Patch) -> None:
    async def keep(self: admission.Admission, entered: admission.Pass, *_: object, ok: bool, duration: float) -> None:
        self._health.record(entered.lane, ok=ok, duration=duration, probe=entered.probe)

    patch.setattr(admission.Admission, "close", keep)


@bug("a quota permits one call too many")
def _(patch: Patch) -> None:
    opened = open_window
    patch.setattr(meter, "open_window", lambda rate, **doubt: opened(evolve(rate, permits=rate.permits + 1), **doubt))


@bug("a window ends ten percent early")
def _(patch: Patch) -> None:
    opened = open_window
    patch.setattr(meter, "open_window", lambda rate, **doubt: opened(evolve(rate, per=rate.per * 0.9), **doubt))


@bug("a lane that waits for a call to end is not opened again")
def _(patch: Patch) -> None:
    async def forget(self: admission.Admission, *_: object) -> None:
        return None

    patch.setattr(admission.Admission, "_reopen", forget)
    patch.setattr(admission, "_LOOK_AGAIN", 1e9)


@bug("a rejected record is tried for ever")
def _(patch: Patch) -> None:
    judge = verdict.judge

    def stubborn(*args: object, **options: object) -> object:
        decided = judge(*args, **options)  # type: ignore[arg-type]
        return Again(1.0, counted=False, sent=True) if isinstance(decided, Finish) else decided

    patch.setattr(settlement, "judge", stubborn)


@bug("a dead letter is called completed")
def _(patch: Patch) -> None:
    finish = settlement.Settler.finish

    def rosy(self: settlement.Settler, task: work.Task, _: OperationState, outcome: Outcome) -> Settlement:
        return finish(self, task, OperationState.COMPLETED, outcome)

    patch.setattr(settlement.Settler, "finish", rosy)


@bug("every operation has a mailbox of its own")
def _(patch: Patch) -> None:
    patch.setattr(intake, "mailbox_key", lambda operation, identity: identity)


@bug("a lost create that conflicts with itself is called a conflict")
def _(patch: Patch) -> None:
    judge = verdict.judge
    patch.setattr(settlement, "judge", lambda *args, **options: judge(*args, **(options | {"sent_before": False})))


@bug("the lookup's answer is ignored")
def _(patch: Patch) -> None:
    async def never(*_: object) -> None:
        return None

    patch.setattr(execution.Executor, "lookup", never)


@bug("late settlements are accepted", caught_by=zombie_settles)
def _(patch: Patch) -> None:
    release = Leases.release

    def lenient(self: Leases, worker: str, lease: Lease) -> Hold | None:
        for name in [worker, *self._workers]:
            for hold in held_by(self, name):
                if (hold.records[0].lane, hold.records[0].key) == (lease.lane, lease.key):
                    return release(self, name, lease._replace(token=hold.token))
        return None

    patch.setattr(Leases, "release", lenient)


@bug("the poison limit is off by two", caught_by=poison_is_tried_again)
def _(patch: Patch) -> None:
    decide = verdict.decide_claimed

    def lenient(now: float, deadline: float | None, lapses: int, *rest: object, **options: bool) -> Outcome | None:
        return decide(now, deadline, lapses - 2, *rest, **options)  # type: ignore[arg-type]

    patch.setattr(work, "decide_claimed", lenient)


@bug("an operation submitted again is enqueued again")
def _(patch: Patch) -> None:
    patch.setattr(Ledger, "earlier", lambda *_: None)
    patch.setattr(Ledger, "new", lambda _, items: list(items))


@pytest.mark.simulation
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_caught(name: str, monkeypatch: Patch) -> None:
    put_in, caught = BUGS[name]
    put_in(monkeypatch)
    assert caught(), f"nothing noticed: {name}"


@pytest.mark.parametrize("check", [zombie_settles, poison_is_tried_again])
def test_a_check_is_content_without_its_bug(check: Callable[[], bool]) -> None:
    assert not check()


def test_the_list_is_long_enough() -> None:
    assert len(BUGS) >= 15
