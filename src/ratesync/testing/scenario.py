"""A seeded scenario for the simulation: what is submitted, what goes wrong, who dies when."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.operation import Operation
from ratesync.model.policy import CircuitPolicy, RetryPolicy
from ratesync.model.quota import Concurrency, Quota, QuotaScope, Rate
from ratesync.model.settings import Settings
from ratesync.testing.faults import Fault, Faults

PROVIDER = "fake"


@frozen
class Submission:
    """Operations that are submitted together, some time after the start."""

    after: float
    operations: tuple[Operation, ...]


@frozen
class Blow:
    """Something that happens to the engine of that number."""

    after: float
    engine: int
    kind: str
    """"kill" (its process dies), "freeze" (stands still longer than its lease), "leave" (stops orderly)."""


@frozen(kw_only=True)
class Scenario:
    """Everything that a simulated run depends on; made from a seed alone."""

    seed: int
    capabilities: Capabilities
    faults: Faults
    quotas: Sequence[Quota]
    settings: Settings
    engines: int
    submissions: Sequence[Submission]
    blows: Sequence[Blow]
    cancels: Sequence[tuple[float, str]]
    """(seconds after the start, operation id)."""
    pauses: Sequence[tuple[float, float]]
    """(from, to) in seconds after the start."""

    @classmethod
    def of(cls, seed: int, epoch: float) -> Scenario:
        """The scenario of a seed; ``epoch`` is the instant at which the run starts."""
        source = random.Random(seed)
        submissions = _submissions(source, epoch)
        ids = [operation.id or "" for submission in submissions for operation in submission.operations]
        engines = source.randint(1, 3)
        return cls(
            seed=seed,
            capabilities=_capabilities(source),
            faults=_faults(source, epoch),
            quotas=_quotas(source),
            settings=_settings(source),
            engines=engines,
            submissions=submissions,
            blows=_blows(source, engines),
            cancels=[(source.uniform(0, 10), source.choice(ids)) for _ in range(source.randint(0, 3))],
            pauses=[(source.uniform(0, 5), source.uniform(5, 20))] if source.random() < 0.2 else [],
        )


def _capabilities(source: random.Random) -> Capabilities:
    return Capabilities(
        batch_max=source.choice([1, 2, 5, 20]),
        create_identity=source.choice(list(CreateIdentity)),
        conditional_write=source.choice(list(ConditionalWrite)),
        concurrency=source.choice([None, 1, 3, 10]),
    )


def _faults(source: random.Random, epoch: float) -> Faults:
    if source.random() < 0.1:
        return Faults()
    start = epoch + source.uniform(0, 20)
    outages = [(start, start + source.uniform(5, 90))] if source.random() < 0.3 else []
    chosen = {str(fault): source.uniform(0, 0.06) for fault in Fault if source.random() < 0.6}
    return Faults(outages=outages, **chosen)


def _quotas(source: random.Random) -> list[Quota]:
    quotas: list[Quota] = []
    if source.random() < 0.7:
        quotas.append(Rate(source.randint(2, 20), per=source.choice([0.5, 1.0, 5.0])))
    if source.random() < 0.3:
        quotas.append(Rate(source.randint(5, 40), per=2.0, scope=QuotaScope.PROVIDER))
    if source.random() < 0.3:
        quotas.append(Concurrency(source.randint(1, 4)))
    return quotas


def _settings(source: random.Random) -> Settings:
    return Settings(
        max_calls=source.choice([1, 3, 16, 64]),
        call_timeout=source.choice([2.0, 20.0, 60.0]),
        grace=source.choice([0.0, 1.0, 10.0]),
        retry=RetryPolicy(max_attempts=source.choice([3, 10]), max_delay=30.0),
        circuit=CircuitPolicy(min_calls=source.choice([3, 10]), open_for=source.choice([1.0, 5.0])),
    )


def _blows(source: random.Random, engines: int) -> list[Blow]:
    # The last engine is spared, so that somebody finishes the work.
    return [
        Blow(source.uniform(0.05, 15), number, source.choice(["kill", "kill", "freeze", "leave"]))
        for number in range(engines - 1)
        if source.random() < 0.7
    ]


def _submissions(source: random.Random, epoch: float) -> list[Submission]:
    records = [
        (f"c{source.randint(1, 4)}", source.choice(["contacts", "deals"]), f"k{number}")
        for number in range(source.randint(1, 12))
    ]
    operations = [operation for record in sorted(set(records)) for operation in _history(source, record, epoch)]
    operations = _interleave(source, operations)
    submissions: list[Submission] = []
    after = 0.0
    while operations:
        size = source.choice([1, 1, 3, 10, 50])
        submissions.append(Submission(after, tuple(operations[:size])))
        operations = operations[size:]
        if source.random() < 0.1:
            submissions.append(Submission(after, submissions[-1].operations))
        after += source.choice([0.0, 0.0, 0.01, 0.3, 2.0])
    return submissions


def _interleave(source: random.Random, operations: Sequence[Operation]) -> list[Operation]:
    """Shuffle over records, keeping the order of each record."""
    lines: dict[tuple[str, str | None], list[Operation]] = {}
    for operation in operations:
        lines.setdefault((operation.connection, operation.record_id or operation.id), []).append(operation)
    waiting = list(lines.values())
    merged: list[Operation] = []
    while waiting:
        line = source.choice(waiting)
        merged.append(line.pop(0))
        if not line:
            waiting.remove(line)
    return merged


def _history(source: random.Random, record: tuple[str, str, str], epoch: float) -> list[Operation]:
    """What happens to one record: a create, updates with a growing "n", perhaps a read, perhaps a delete."""
    connection, resource, record_id = record
    name = f"{connection}-{resource}-{record_id}"
    if source.random() < 0.15:
        return [Operation.create(PROVIDER, resource, {"n": 0}, connection=connection, id=f"{name}-0")]
    first = {"n": 0, "é": "ü"}
    history = [Operation.create(PROVIDER, resource, first, record_id=record_id, connection=connection, id=f"{name}-0")]
    history += [_step(source, record, n, epoch) for n in range(1, source.randint(1, 8))]
    if source.random() < 0.2:
        history.append(Operation.delete(PROVIDER, resource, record_id, connection=connection, id=f"{name}-end"))
    return history


def _step(source: random.Random, record: tuple[str, str, str], n: int, epoch: float) -> Operation:
    connection, resource, record_id = record
    identity = f"{connection}-{resource}-{record_id}-{n}"
    if source.random() < 0.1:
        return Operation.read(PROVIDER, resource, record_id, connection=connection, id=identity)
    build = source.choice([Operation.update, Operation.update, Operation.upsert])
    deadline = datetime.fromtimestamp(epoch + source.uniform(1, 60), UTC) if source.random() < 0.1 else None
    return build(
        PROVIDER,
        resource,
        record_id,
        {"n": n, f"f{n % 3}": n},
        connection=connection,
        id=identity,
        priority=source.choice([0, 0, 0, 1, -1]),
        deadline=deadline,
    )
