"""The whole engine in virtual time, under seeded faults, with every operation accounted for afterwards.

The same seed gives the same run, to the last event. :func:`simulate` runs one seed; its report says what went wrong.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from attrs import define, field

from ratesync.engine import SyncEngine
from ratesync.memory import MemoryLimiter, MemoryQueue
from ratesync.model.event import CallFinished, CircuitChanged, Event, LaneParked, LeaseRefused, OperationDied, Settled
from ratesync.model.operation import OperationState
from ratesync.model.settings import Role
from ratesync.model.work import Entry
from ratesync.testing.accounting import find_violations
from ratesync.testing.fake_provider import FakeProvider
from ratesync.testing.mortal_queue import MortalQueue
from ratesync.testing.scenario import PROVIDER, Blow, Scenario
from ratesync.testing.virtual_time import EPOCH, Backend, VirtualClock, run_virtual

_LONGEST = 3600.0
"""Virtual seconds after which work that is not finished counts as stuck."""
_FROZEN_FOR = 40.0

QueueFactory = Callable[[VirtualClock], Any]


@define
class Report:
    """What came of a simulated run."""

    seed: int
    violations: list[str] = field(factory=list[str])
    """Broken promises, in words; empty if all is well."""
    seen: Counter[str] = field(factory=Counter[str])
    """What happened how often: faults, states, events of note."""
    trace: list[str] = field(factory=list[str])
    """Every event in order."""


@define
class _Run:
    scenario: Scenario
    clock: VirtualClock
    queue: Any
    provider: FakeProvider
    report: Report
    limiter: MemoryLimiter
    leaving: dict[int, anyio.Event] = field(factory=dict[int, anyio.Event])
    scopes: dict[int, anyio.CancelScope] = field(factory=dict[int, anyio.CancelScope])
    mortals: dict[int, MortalQueue] = field(factory=dict[int, MortalQueue])

    def note(self, event: Event) -> None:
        self.report.trace.append(repr(event))
        match event:
            case LaneParked(reason=reason):
                self.report.seen[f"parked: {reason}"] += 1
            case CircuitChanged(after=after):
                self.report.seen[f"circuit: {after}"] += 1
            case LeaseRefused():
                self.report.seen["late settlement refused"] += 1
            case CallFinished(size=size) if size > 1:
                self.report.seen["batched"] += 1
            case Settled(retried=retried) if retried:
                self.report.seen["retried"] += 1
            case OperationDied():
                self.report.seen["died"] += 1
            case _:
                pass

    def engine(self, queue: Any, role: Role, number: int) -> SyncEngine:
        return SyncEngine(
            queue=queue,
            limiter=self.limiter,
            providers=[self.provider],
            quotas={PROVIDER: list(self.scenario.quotas)},
            observers=[self.note],
            role=role,
            settings=self.scenario.settings,
            clock=self.clock,
            random=random.Random(self.scenario.seed * 100 + number),
        )

    async def work(self, number: int) -> None:
        """One worker process, until it leaves or dies."""
        mortal = self.mortals[number]
        with self.scopes[number]:
            async with self.engine(mortal, Role.WORK, number):
                await self.leaving[number].wait()

    async def strike(self, blow: Blow) -> None:
        await anyio.sleep(blow.after)
        self.report.seen[blow.kind] += 1
        self.report.trace.append(f"{blow.kind} {blow.engine}")
        if blow.kind == "kill":
            self.mortals[blow.engine].kill()
            self.scopes[blow.engine].cancel()
        elif blow.kind == "freeze":
            self.mortals[blow.engine].freeze(self.clock.now() + _FROZEN_FOR)
        else:
            self.leaving[blow.engine].set()

    async def pause(self, start: float, end: float, host: SyncEngine) -> None:
        await anyio.sleep(start)
        await host.pause()
        await anyio.sleep(end - start)
        await host.resume()

    async def cancel(self, after: float, operation_id: str, host: SyncEngine) -> None:
        await anyio.sleep(after)
        self.report.seen[f"cancel: {await host.cancel(operation_id)}"] += 1

    async def submit(self, host: SyncEngine) -> None:
        started_at = self.clock.now()
        for submission in self.scenario.submissions:
            delay = started_at + submission.after - self.clock.now()
            if delay > 0:
                await anyio.sleep(delay)
            await host.submit_many(submission.operations, wait=60)


def simulate(seed: int, *, backend: Backend = "asyncio", make_queue: QueueFactory | None = None) -> Report:
    """Run the scenario of ``seed`` in virtual time and account for every operation.

    ``make_queue`` gives the queue under test; default: a new :class:`~ratesync.memory.MemoryQueue`.
    """
    return run_virtual(_simulate, seed, make_queue, backend=backend, seed=seed)


async def _simulate(seed: int, make_queue: QueueFactory | None) -> Report:
    clock = VirtualClock()
    scenario = Scenario.of(seed, EPOCH)
    queue = make_queue(clock) if make_queue else MemoryQueue(clock=clock)
    provider = FakeProvider(
        PROVIDER,
        scenario.capabilities,
        faults=scenario.faults,
        clock=clock,
        random=random.Random(seed),
    )
    run = _Run(scenario, clock, queue, provider, Report(seed), MemoryLimiter(clock=clock, cold_start=False))
    for number in range(scenario.engines):
        run.leaving[number] = anyio.Event()
        run.scopes[number] = anyio.CancelScope()
        run.mortals[number] = MortalQueue(queue, clock)
    await _play(run)
    return run.report


async def _play(run: _Run) -> None:
    scenario = run.scenario
    async with anyio.create_task_group() as tasks:
        for number in range(scenario.engines):
            tasks.start_soon(run.work, number)
        async with run.engine(run.queue, Role.SUBMIT, 99) as host, anyio.create_task_group() as events:
            for blow in scenario.blows:
                events.start_soon(run.strike, blow)
            for start, end in scenario.pauses:
                events.start_soon(run.pause, start, end, host)
            for after, operation_id in scenario.cancels:
                events.start_soon(run.cancel, after, operation_id, host)
            await run.submit(host)
        async with run.engine(run.queue, Role.SUBMIT, 98) as host:
            if not await host.drain(timeout=_LONGEST):
                run.report.violations.append(f"stuck: {await host.stats()}")
        await _account(run)
        for event in run.leaving.values():
            event.set()


async def _account(run: _Run) -> None:
    submitted = [operation for submission in run.scenario.submissions for operation in submission.operations]
    operations = list({operation.id: operation for operation in submitted}.values())
    report = run.report
    report.seen["submitted twice"] += len(submitted) - len(operations)
    entries: Sequence[Entry | None] = await run.queue.get([operation.id or "" for operation in operations])
    for entry in entries:
        report.seen[f"state: {'lost' if entry is None else entry.state}"] += 1
    report.seen.update({f"fault: {fault}": count for fault, count in run.provider.happened.items()})
    report.seen["lookup"] += run.provider.lookups
    report.seen["folded"] += _folded(run, entries)
    frozen = any(blow.kind == "freeze" for blow in run.scenario.blows)
    report.violations += find_violations(operations, entries, run.provider, quotas=run.scenario.quotas, zombies=frozen)
    report.trace += [repr(write) for write in run.provider.writes]


def _folded(run: _Run, entries: Sequence[Entry | None]) -> int:
    sent = {write.operation_id for write in run.provider.writes}
    completed = [entry for entry in entries if entry is not None and entry.state is OperationState.COMPLETED]
    return sum(entry.id not in sent for entry in completed)
